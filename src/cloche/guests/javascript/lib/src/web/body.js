// What Request and Response share: bytes that are read once, or a stream of them.
//
// What fetch gets comes whole from the host; its body is then a stream of what is there. An app's
// request and response may be streams that nobody holds as a whole.

import { Buffer } from "../node/buffer.js";
import { decodeUtf8, encodeUtf8 } from "../host.js";
import { Blob, bytesOfBlob } from "./blob.js";
import { ReadableStream, isDisturbed, onDisturbed } from "./streams.js";
import { URLSearchParams } from "./url.js";

const CHUNK_BYTES = 65536;
const TEXT_TYPE = "text/plain;charset=UTF-8";
const READ = "Body is unusable: Body has already been read";

/** A text whose type is known. */
export class TypedText {
  constructor(text, type) {
    this.text = text;
    this.type = type;
  }
}

/** Return {bytes | text | stream, type} of what may be a body. */
export function extractBody(value) {
  if (typeof value === "string") return { text: value, type: TEXT_TYPE };
  if (value instanceof TypedText) return value;
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
  if (value instanceof ReadableStream) {
    if (value.locked || isDisturbed(value)) throw new TypeError(READ);
    return { stream: value, type: null };
  }
  if (typeof value === "object" && typeof value[Symbol.asyncIterator] === "function") {
    return { stream: ReadableStream.from(value), type: null };
  }
  return { text: String(value), type: TEXT_TYPE };
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

/** A stream of bytes that are there. */
function streamOf(content) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      const bytes = bodyBytes(content);
      if (at < bytes.length) controller.enqueue(bytes.slice(at, at + CHUNK_BYTES));
      at += CHUNK_BYTES;
      if (at >= bytes.length) controller.close();
    },
  }, { highWaterMark: 0 });
}

const asBytes = (piece) => {
  if (typeof piece === "string") return encodeUtf8(piece);
  if (piece instanceof Uint8Array) return piece;
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
  throw new TypeError("a body is made of bytes or texts");
};

/** All bytes of a stream. */
async function bytesOfStream(stream) {
  const pieces = [];
  let size = 0;
  for await (const piece of stream) {
    const bytes = asBytes(piece);
    pieces.push(bytes);
    size += bytes.length;
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const bytes of pieces) {
    whole.set(bytes, at);
    at += bytes.length;
  }
  return whole;
}

/** Return a content without a stream. */
export const wholeContent = async (content) => (
  content?.stream ? { bytes: await bytesOfStream(content.stream), type: content.type } : content
);

/** The content that a body was made with. */
export let contentMade;
/** The content of a body that nobody read; and to say that somebody did. */
export let contentOf;
export let markUsed;
/** What a clone has for its body; a stream is then two. */
export let copyContent;

export class Body {
  #content; // {bytes | text | stream, type}, or null
  #state; // {isUsed, stream}, of a body that something was done to

  constructor(content) {
    this.#content = content;
    if (content?.stream) this.#watch(content.stream);
  }

  #watch(stream) {
    const state = { isUsed: this.#state?.isUsed ?? false, stream };
    this.#state = state;
    onDisturbed(stream, () => { state.isUsed = true; });
  }

  get bodyUsed() { return this.#state?.isUsed ?? false; }
  get body() {
    if (this.#content === null) return null;
    if (this.#state?.stream === undefined) this.#watch(streamOf(this.#content));
    return this.#state.stream;
  }

  #isUnusable() {
    const state = this.#state;
    return state !== undefined && (state.isUsed || state.stream?.locked === true);
  }
  #use() {
    if (this.#state === undefined) this.#state = { isUsed: true, stream: undefined };
    else this.#state.isUsed = true;
  }
  #take() {
    if (this.#isUnusable()) throw new TypeError(READ);
    if (this.#content !== null) this.#use();
    return this.#content ?? { text: "" };
  }
  #whole() { return wholeContent(this.#take()); }

  async text() {
    const taken = this.#take();
    const content = taken.stream ? await wholeContent(taken) : taken;
    const text = content.text?.toWellFormed() ?? decodeUtf8(content.bytes);
    return text.replace(/^\ufeff/, "");
  }
  async json() { return JSON.parse(await this.text()); }
  async bytes() { return bodyBytes(await this.#whole()).slice(); }
  async arrayBuffer() { return (await this.bytes()).buffer; }
  async blob() {
    const type = this.headers.get("content-type") ?? "";
    return new Blob([bodyBytes(await this.#whole())], { type });
  }

  static {
    contentMade = (body) => body.#content;
    contentOf = (body) => {
      if (body.#state !== undefined && body.#isUnusable()) throw new TypeError(READ);
      return body.#content;
    };
    markUsed = (body) => { if (body.#content !== null) body.#use(); };
    copyContent = (body) => {
      const content = contentOf(body);
      if (content === null) return null;
      if (content.stream === undefined) return content.bytes?.slice() ?? content.text;
      const [one, other] = content.stream.tee();
      body.#content = { ...content, stream: one };
      body.#watch(one);
      return other;
    };
  }
}
