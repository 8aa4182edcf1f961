// Puts the web platform on the global object. First of all: the bundled packages look for some of
// it when they are loaded.

import { Blob, File } from "./blob.js";
import { crypto, Crypto, SubtleCrypto } from "./crypto.js";
import { TextDecoder, TextEncoder } from "./encoding.js";
import { AbortController, AbortSignal, CustomEvent, Event, EventTarget } from "./event.js";
import { performance, Performance, PerformanceEntry } from "./performance.js";
import {
  ReadableStream, ReadableStreamDefaultReader, TransformStream, WritableStream,
  WritableStreamDefaultWriter,
} from "./streams.js";
import { cloneable, structuredClone } from "./structured_clone.js";

export const hide = (name, value) => {
  Object.defineProperty(globalThis, name, {
    value, writable: true, enumerable: false, configurable: true,
  });
};

const globals = {
  AbortController, AbortSignal, Blob, Crypto, CustomEvent, Event, EventTarget, File, Performance,
  PerformanceEntry, ReadableStream, ReadableStreamDefaultReader, SubtleCrypto, TextDecoder,
  TextEncoder, TransformStream, WritableStream, WritableStreamDefaultWriter, crypto, performance,
  structuredClone,
};
export const names = Object.keys(globals);
for (const name of names) hide(name, globals[name]);
hide("global", globalThis);

// What was made by one of these classes can be cloned; the copy shares what cannot change.
cloneable.push(
  [(value) => value instanceof File,
    (file) => new File([file], file.name, { type: file.type, lastModified: file.lastModified })],
  [(value) => value instanceof Blob, (blob) => new Blob([blob], { type: blob.type })],
  [(value) => value instanceof DOMException,
    (error) => new DOMException(error.message, error.name)],
);
