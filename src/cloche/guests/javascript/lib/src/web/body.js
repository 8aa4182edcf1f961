// What Request and Response share: bytes that are read once.
//
// The host hands a body over whole, so a stream is a way to read what is there in pieces. There is
// no class ReadableStream: a body has a reader and is an async iterator, and that is all.

import { Buffer } from "../node/buffer.js";
import { decodeUtf8, encodeUtf8 } from "../host.js";
import { Blob, bytesOfBlob } from "./blob.js";
import { URLSearchParams } from "./url.js";

const CHUNK_BYTES = 65536;
const READ = "Body is unusable: Body has already been read";

/** Return {bytes, text, type} of what may be a body; text is undefined where it is none. */
export function extractBody(value) {
  if (typeof value === "string") return { text: value, type: "text/plain;charset=UTF-8" };
  if (value instanceof URLSearchParams) {
    return { text: String(value), type: "application/x-www-form-urlencoded;charset=UTF-8" };
  }
  if (value instanceof Blob) {
    return { bytes: bytesOfBlob(value), type: value.type || null };
  }
  if (value instanceof ArrayBuffer) return { bytes: new Uint8Array(value).slice(), type: null };
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    return { bytes: new Uint8Array(buffer, byteOffset, byteLength).slice(), type: null };
  }
  return { text: String(value), type: "text/plain;charset=UTF-8" };
}

export const bodyBytes = ({ bytes, text }) => bytes ?? encodeUtf8(text);

/** Return a body as the args of an effect have it. */
export const bodyArgument = ({ bytes, text }) => (
  bytes === undefined ? text : { base64: Buffer.from(bytes).toString("base64") }
);

/** Return the bytes of a body as the value of an effect has it. */
export const bodyOfValue = (body) => (
  typeof body === "string" ? encodeUtf8(body) : new Uint8Array(Buffer.from(body.base64, "base64"))
);

class BodyStream {
  #owner;
  #at = 0;
  #locked = false;
  constructor(owner) { this.#owner = owner; }
  get locked() { return this.#locked; }

  #next() {
    const bytes = this.#owner.takePart(this.#at, CHUNK_BYTES);
    if (bytes === undefined) return { done: true, value: undefined };
    this.#at += bytes.length;
    return { done: false, value: bytes };
  }

  getReader() {
    if (this.#locked) throw new TypeError("The stream is locked.");
    this.#locked = true;
    let released = false;
    const check = () => { if (released) throw new TypeError("The reader was released."); };
    return {
      read: async () => { check(); return this.#next(); },
      cancel: async () => { check(); this.#at = Infinity; },
      releaseLock: () => { if (!released) { released = true; this.#locked = false; } },
      closed: Promise.resolve(undefined),
    };
  }

  async cancel() { this.#at = Infinity; }

  async* [Symbol.asyncIterator]() {
    if (this.#locked) throw new TypeError("The stream is locked.");
    this.#locked = true;
    try {
      for (let part = this.#next(); !part.done; part = this.#next()) yield part.value;
    } finally {
      this.#locked = false;
    }
  }
  values() { return this[Symbol.asyncIterator](); }
  get [Symbol.toStringTag]() { return "ReadableStream"; }
}

/** The content of a body that nobody read; and to say that somebody did. */
export let contentOf;
export let markUsed;

export class Body {
  #content; // {bytes | text, type}, or null
  #used = false;
  #stream;

  constructor(content) { this.#content = content; }

  get bodyUsed() { return this.#used; }
  get body() {
    if (this.#content === null) return null;
    return (this.#stream ??= new BodyStream({
      takePart: (at, size) => {
        this.#used = true;
        const bytes = bodyBytes(this.#content);
        return at >= bytes.length ? undefined : bytes.slice(at, at + size);
      },
    }));
  }

  #take() {
    if (this.#used || this.#stream?.locked) throw new TypeError(READ);
    if (this.#content !== null) this.#used = true;
    return this.#content ?? { text: "" };
  }

  async text() {
    const content = this.#take();
    const text = content.text?.toWellFormed() ?? decodeUtf8(content.bytes);
    return text.replace(/^\ufeff/, "");
  }
  async json() { return JSON.parse(await this.text()); }
  async bytes() { return bodyBytes(this.#take()).slice(); }
  async arrayBuffer() { return (await this.bytes()).buffer; }
  async blob() {
    const type = this.headers.get("content-type") ?? "";
    return new Blob([bodyBytes(this.#take())], { type });
  }

  static {
    contentOf = (body) => {
      if (body.#used) throw new TypeError(READ);
      return body.#content;
    };
    markUsed = (body) => { if (body.#content !== null) body.#used = true; };
  }
}
