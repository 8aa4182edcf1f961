// createReadStream and createWriteStream, minimal: files in chunks through node's streams.

import { Readable, Writable } from "../stream.js";
import { readOptions, toPath } from "./access.js";
import * as sync from "./sync.js";
import { outOfRange } from "../errors.js";

const CHUNK_BYTES = 64 * 1024;

export class ReadStream extends Readable {
  constructor(file, options) {
    const given = readOptions(options, { flags: "r" });
    super({
      highWaterMark: given.highWaterMark ?? CHUNK_BYTES, encoding: given.encoding,
      emitClose: given.emitClose, signal: given.signal,
    });
    this.path = file === null || file === undefined ? undefined : toPath(file);
    this.fd = given.fd ?? null;
    this.flags = given.flags;
    this.bytesRead = 0;
    this.position = given.start;
    this.end = given.end ?? Infinity;
    if (given.start !== undefined && given.start > this.end) {
      throw outOfRange("start", `<= "end" (here: ${this.end})`, given.start);
    }
    if (given.end !== undefined && this.position === undefined) this.position = 0;
  }

  get pending() { return this.fd === null; }

  _construct(callback) { openInto(this, callback); }

  _read(size) {
    const left = this.position === undefined ? size : this.end - this.position + 1;
    const buffer = Buffer.alloc(Math.max(0, Math.min(size, left)));
    let count;
    try {
      count = buffer.length ? sync.readSync(this.fd, buffer, { position: this.position }) : 0;
    } catch (error) {
      this.destroy(error);
      return;
    }
    if (this.position !== undefined) this.position += count;
    this.bytesRead += count;
    this.push(count ? buffer.subarray(0, count) : null);
  }

  _destroy(error, callback) { closeFrom(this, error, callback); }
  close(callback) { closeStream(this, callback); }
}

export class WriteStream extends Writable {
  constructor(file, options) {
    const given = readOptions(options, { flags: "w", encoding: "utf8" });
    super({
      decodeStrings: true, defaultEncoding: given.encoding, emitClose: given.emitClose,
      highWaterMark: given.highWaterMark, signal: given.signal,
    });
    this.path = file === null || file === undefined ? undefined : toPath(file);
    this.fd = given.fd ?? null;
    this.flags = given.flags;
    this.bytesWritten = 0;
    this.position = given.start;
  }

  get pending() { return this.fd === null; }

  _construct(callback) { openInto(this, callback); }

  _write(chunk, _encoding, callback) {
    try {
      const count = sync.writeSync(this.fd, chunk, { position: this.position ?? null });
      this.bytesWritten += count;
      if (this.position !== undefined) this.position += count;
    } catch (error) {
      callback(error);
      return;
    }
    callback();
  }

  _destroy(error, callback) { closeFrom(this, error, callback); }

  close(callback) {
    closeStream(this, callback);
    this.end();
  }
}

function openInto(stream, callback) {
  try {
    if (stream.fd === null) stream.fd = sync.openSync(stream.path, stream.flags);
  } catch (error) {
    callback(error);
    return;
  }
  callback();
  stream.emit("open", stream.fd);
  stream.emit("ready");
}

function closeFrom(stream, error, callback) {
  let failure = error;
  try {
    if (stream.fd !== null) sync.closeSync(stream.fd);
  } catch (closeError) {
    failure ??= closeError;
  }
  stream.fd = null;
  callback(failure);
}

function closeStream(stream, callback) {
  if (callback) stream.once("close", () => callback(null));
  if (stream instanceof Readable) stream.destroy();
}

export const createReadStream = (file, options) => new ReadStream(file, options);
export const createWriteStream = (file, options) => new WriteStream(file, options);
