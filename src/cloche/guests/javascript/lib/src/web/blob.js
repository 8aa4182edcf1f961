// Blob and File: immutable bytes with a type.

import { decodeUtf8, encodeUtf8, inspect, now_ms } from "../host.js";
import { ReadableStream } from "./streams.js";

const BYTES = Symbol("bytes");

/** The bytes themselves, which nobody may change. */
export const bytesOfBlob = (blob) => blob[BYTES];

const partBytes = (part) => {
  if (part instanceof Blob) return part[BYTES];
  if (part instanceof ArrayBuffer) return new Uint8Array(part);
  if (ArrayBuffer.isView(part)) {
    return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
  }
  return encodeUtf8(String(part));
};

const cleanType = (type) => {
  const text = String(type ?? "");
  return /[^\x20-\x7e]/.test(text) ? "" : text.toLowerCase();
};

export class Blob {
  #type;

  constructor(parts = [], options = {}) {
    if (typeof parts !== "object" || parts === null || !parts[Symbol.iterator]) {
      throw new TypeError("The \"sources\" argument must be a sequence");
    }
    const pieces = Array.from(parts, partBytes);
    const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    Object.defineProperty(this, BYTES, { value: whole });
    this.#type = cleanType(options?.type);
  }

  get size() { return this[BYTES].length; }
  get type() { return this.#type; }
  async arrayBuffer() { return this[BYTES].slice().buffer; }
  async bytes() { return this[BYTES].slice(); }
  async text() { return decodeUtf8(this[BYTES]).replace(/^\ufeff/, ""); }
  slice(start = 0, end = this.size, type = "") {
    return new Blob([this[BYTES].slice(start, end)], { type });
  }
  stream() {
    const bytes = this[BYTES];
    return new ReadableStream({
      pull(controller) {
        if (bytes.length) controller.enqueue(bytes.slice());
        controller.close();
      },
    }, { highWaterMark: 0 });
  }
  get [Symbol.toStringTag]() { return "Blob"; }

  [Symbol.for("nodejs.util.inspect.custom")](depth, options) {
    return `Blob ${inspect({ size: this.size, type: this.type }, options)}`;
  }
}

export class File extends Blob {
  #name;
  #lastModified;

  constructor(parts, name, options = {}) {
    if (arguments.length < 2) throw new TypeError("The \"fileName\" argument must be specified");
    super(parts, options);
    this.#name = String(name);
    this.#lastModified = Number(options?.lastModified ?? now_ms());
  }

  get name() { return this.#name; }
  get lastModified() { return this.#lastModified; }
  get [Symbol.toStringTag]() { return "File"; }
}
