// node:buffer: the `buffer` package, with the engine's own codecs where they are faster and the few
// things it lacks (base64url, copyBytesFrom, isUtf8, isAscii, transcode).

import * as base from "buffer/";
import { decodeUtf8, encodeUtf8, isValidUtf8 } from "../host.js";
import { Blob, File } from "../web/blob.js";
import { codedError, describe, invalidType, outOfRange } from "./errors.js";

const { Buffer } = base;
export { Buffer, Blob, File };
export const { kMaxLength, SlowBuffer, INSPECT_MAX_BYTES } = base;
export const kStringMaxLength = 0x3fffffff;
export const constants = { MAX_LENGTH: kMaxLength, MAX_STRING_LENGTH: kStringMaxLength };
export const { atob, btoa } = globalThis;

const asBuffer = (bytes) => Object.setPrototypeOf(bytes, Buffer.prototype);
const plain = (bytes) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const normal = (encoding) => String(encoding ?? "utf8").toLowerCase();

const ENCODERS = {
  utf8: encodeUtf8,
  "utf-8": encodeUtf8,
  hex: (text) => Uint8Array.fromHex(text),
  base64: (text) => Uint8Array.fromBase64(text),
  base64url: (text) => Uint8Array.fromBase64(text, { alphabet: "base64url" }),
};
const DECODERS = {
  utf8: decodeUtf8,
  "utf-8": decodeUtf8,
  hex: (bytes) => bytes.toHex(),
  base64: (bytes) => bytes.toBase64(),
  base64url: (bytes) => bytes.toBase64({ alphabet: "base64url", omitPadding: true }),
};
// What the package understands: it reads both alphabets as one.
const packageName = (encoding) => (normal(encoding) === "base64url" ? "base64" : encoding);

const fromBase = Buffer.from;
const isEncodingBase = Buffer.isEncoding;
const byteLengthBase = Buffer.byteLength;
const methods = {
  toString: Buffer.prototype.toString,
  write: Buffer.prototype.write,
  fill: Buffer.prototype.fill,
  indexOf: Buffer.prototype.indexOf,
  lastIndexOf: Buffer.prototype.lastIndexOf,
  includes: Buffer.prototype.includes,
};

const unknownEncoding = (encoding) =>
  codedError(TypeError, "ERR_UNKNOWN_ENCODING", `Unknown encoding: ${encoding}`);

function encodeText(text, encoding) {
  const name = normal(encoding);
  if (!Buffer.isEncoding(name)) {
    throw unknownEncoding(encoding);
  }
  const encoder = ENCODERS[name];
  if (!encoder) return fromBase(text, name);
  try {
    return asBuffer(encoder(text));
  } catch {
    // The engine refuses what node skips: stray characters, an odd digit, loose padding.
    return fromBase(text, packageName(name));
  }
}

const isSource = (value) => typeof value === "object" && value !== null && (
  ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer ||
  value.length !== undefined || value.type === "Buffer" || Symbol.toPrimitive in value ||
  value.valueOf() !== value);

const invalidSource = (value) => codedError(
  TypeError, "ERR_INVALID_ARG_TYPE",
  "The first argument must be of type string or an instance of Buffer, ArrayBuffer, or Array or " +
  `an Array-like Object.${describe(value)}`,
);

const checkSize = (size) => {
  if (typeof size !== "number") throw invalidType("size", "of type number", size);
  if (size >= 0 && size <= kMaxLength) return;
  throw outOfRange("size", `>= 0 && <= ${kMaxLength}`, size);
};

const statics = {
  alloc(size, fill, encoding) {
    checkSize(size);
    if (fill === undefined) return asBuffer(new Uint8Array(size));
    return Buffer.allocUnsafe(size).fill(fill, encoding);
  },
  allocUnsafe(size) {
    checkSize(size);
    return asBuffer(new Uint8Array(size));
  },
  allocUnsafeSlow(size) {
    checkSize(size);
    return asBuffer(new Uint8Array(size));
  },
  from(value, encodingOrOffset, length) {
    if (typeof value === "string") return encodeText(value, encodingOrOffset);
    if (!isSource(value)) throw invalidSource(value);
    return fromBase(value, encodingOrOffset, length);
  },
  isEncoding(encoding) {
    return typeof encoding === "string" &&
      (normal(encoding) === "base64url" || isEncodingBase(encoding));
  },
  byteLength(value, encoding) {
    if (typeof value !== "string") return byteLengthBase(value, encoding);
    return encodeText(value, Buffer.isEncoding(encoding) ? encoding : "utf8").length;
  },
  copyBytesFrom(view, offset = 0, length = view?.length - offset) {
    if (!ArrayBuffer.isView(view) || view instanceof DataView) {
      throw invalidType("view", "an instance of TypedArray", view);
    }
    const part = view.slice(offset, offset + length);
    return fromBase(part.buffer, part.byteOffset, part.byteLength);
  },
};

const instance = {
  toString(encoding, start, end) {
    const decoder = DECODERS[normal(encoding)];
    if (!decoder && !Buffer.isEncoding(normal(encoding))) throw unknownEncoding(encoding);
    if (!decoder) return methods.toString.call(this, encoding, start, end);
    const from = clamp(start, 0, this.length);
    const to = clamp(end, this.length, this.length);
    return from >= to ? "" : decoder(plain(this).subarray(from, to));
  },
  write(text, ...rest) {
    const encoding = rest.findIndex((argument) => typeof argument === "string");
    if (encoding >= 0) rest[encoding] = packageName(rest[encoding]);
    return methods.write.call(this, text, ...rest);
  },
};
for (const name of ["fill", "indexOf", "lastIndexOf", "includes"]) {
  instance[name] = function search(value, ...rest) {
    const last = rest.length - 1;
    if (typeof rest[last] === "string") rest[last] = packageName(rest[last]);
    return methods[name].call(this, value, ...rest);
  };
}

function clamp(value, missing, limit) {
  if (value === undefined) return missing;
  const number = Math.trunc(Number(value)) || 0;
  return Math.min(Math.max(number, 0), limit);
}

const install = (target, functions) => {
  for (const [name, value] of Object.entries(functions)) {
    Object.defineProperty(value, "name", { value: name, configurable: true });
    Object.defineProperty(target, name, { value, writable: true, configurable: true });
  }
};
install(Buffer, statics);
install(Buffer.prototype, instance);

// Like the methods of a class: the package leaves them enumerable, which `for in` would show.
for (const name of Object.keys(Buffer.prototype)) {
  const { configurable } = Object.getOwnPropertyDescriptor(Buffer.prototype, name);
  if (configurable) Object.defineProperty(Buffer.prototype, name, { enumerable: false });
}

const bytesOf = (input) => (ArrayBuffer.isView(input)
  ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength) : new Uint8Array(input));

export const isUtf8 = (input) => isValidUtf8(bytesOf(input));
export const isAscii = (input) => bytesOf(input).every((byte) => byte < 0x80);
export const transcode = (source, from, to) =>
  Buffer.from(Buffer.from(source).toString(from), to);

export default {
  Buffer, SlowBuffer, Blob, File, atob, btoa, constants, isAscii, isUtf8, kMaxLength,
  kStringMaxLength, INSPECT_MAX_BYTES, transcode,
};
