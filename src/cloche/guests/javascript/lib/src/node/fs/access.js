// The door between node's fs and the host's file operations.
//
// Every path is checked, made absolute against the working directory, and sent as text. A refusal
// becomes node's error with the path as the program wrote it.

import { fileOperation, currentDirectory } from "../../host.js";
import { Buffer } from "../buffer.js";
import { systemError, nameOfWasi } from "../errno.js";
import { codedError, invalidType, invalidValue } from "../errors.js";
import { fileURLToPath } from "../url.js";
import path from "../path.js";

const NUL = "\0";

/** Return `value` (string, Buffer or file: URL) as the text of a path. */
export function toPath(value, name = "path") {
  let text = value;
  if (value instanceof Uint8Array) text = Buffer.from(value).toString();
  else if (value instanceof URL) text = fileURLToPath(value);
  if (typeof text !== "string") {
    throw invalidType(name, "of type string or an instance of Buffer or URL", value);
  }
  if (text.includes(NUL)) {
    throw invalidValue(name, text, "must be a string, Uint8Array, or URL without null bytes");
  }
  return text;
}

/** Return the absolute path of what the program wrote. */
export const absolute = (text) => path.resolve(currentDirectory(), text);

/** Whether the path ends in a slash: then it must be a directory. */
const namesDirectory = (text) => text.length > 1 && text.endsWith("/");

/**
 * Do one file operation.
 *
 * `syscall` is the word in the error; `text` the path as written; `header` further fields; `bytes`
 * the data to write. Throws node's system error; the file system is then as it was.
 */
export function operate(f, syscall, text, header = {}, bytes = undefined) {
  if (text === "") throw systemError("ENOENT", syscall, text, header.shownTo);
  const { shownTo, ...fields } = header;
  const p = absolute(text) + (namesDirectory(text) && f === "stat" ? "/" : "");
  const reply = fileOperation({ f, p, ...fields }, bytes);
  if (typeof reply === "number") {
    throw systemError(nameOfWasi(-reply), syscall, text, shownTo);
  }
  return reply;
}

/** Like `operate`, but a refusal is the answer `undefined` and not an error. */
export function probe(f, text, header = {}) {
  if (text === "") return undefined;
  const reply = fileOperation({ f, p: absolute(text), ...header });
  return typeof reply === "number" ? undefined : reply;
}

const ENCODINGS = new Set([
  "utf8", "utf-8", "hex", "base64", "base64url", "latin1", "binary", "ascii", "ucs2", "ucs-2",
  "utf16le", "utf-16le", "buffer",
]);

/** Read `options` that may be the name of an encoding; returns an object of its own. */
export function readOptions(options, defaults) {
  if (options === undefined || options === null || typeof options === "function") {
    return { ...defaults };
  }
  const given = typeof options === "string" ? { encoding: options } : options;
  if (typeof given !== "object") {
    throw invalidType("options", "of type string or an instance of Object", options);
  }
  const result = { ...defaults, ...given };
  checkEncoding(result.encoding);
  if (result.signal?.aborted) throw abortError(result.signal);
  return result;
}

function checkEncoding(encoding) {
  if (encoding === undefined || encoding === null) return;
  if (ENCODINGS.has(String(encoding).toLowerCase())) return;
  throw invalidValue("encoding", encoding, "is invalid encoding");
}

export function abortError(signal) {
  const error = codedError(Error, "ABORT_ERR", "The operation was aborted");
  error.name = "AbortError";
  error.cause = signal.reason;
  return error;
}

/** Give bytes as the encoding asks: a Buffer, or text. */
export function encodeResult(bytes, encoding) {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return !encoding || encoding === "buffer" ? buffer : buffer.toString(encoding);
}

/** The bytes of what a program wants to write. */
export function toBytes(data, encoding = "utf8") {
  if (typeof data === "string") return Buffer.from(data, encoding === "buffer" ? "utf8" : encoding);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw invalidType(
    "data", "of type string or an instance of Buffer, TypedArray, or DataView", data,
  );
}
