// node:stream: readable-stream, which is node's own stream library published as a package.

import stream from "readable-stream/lib/ours/browser.js";
import * as promises from "readable-stream/lib/stream/promises.js";

export const {
  Readable, Writable, Duplex, Transform, PassThrough, pipeline, finished, addAbortSignal, compose,
  destroy, isDisturbed, isErrored, isReadable,
} = stream;
export const { setDefaultHighWaterMark, getDefaultHighWaterMark, Stream } = stream;
export const streamPromises = { pipeline: promises.pipeline, finished: promises.finished };
export default stream;
