// TextEncoder and TextDecoder for UTF-8, UTF-16 and windows-1252 (the standard's "latin1").

import { invalidType } from "../node/errors.js";
import { decodeUtf8, encodeUtf8, isValidUtf8 } from "../host.js";

const LABELS = {
  "utf-8": [
    "utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8",
  ],
  "utf-16le": [
    "utf-16le", "utf-16", "ucs-2", "unicode", "csunicode", "iso-10646-ucs-2", "unicodefeff",
  ],
  "utf-16be": ["utf-16be", "unicodefffe"],
  "windows-1252": [
    "windows-1252", "latin1", "ascii", "us-ascii", "iso-8859-1", "iso8859-1", "iso88591", "l1",
    "cp1252", "x-cp1252", "iso_8859-1", "cp819", "ibm819", "csisolatin1", "ansi_x3.4-1968",
  ],
};
const encodingOf = (label) =>
  Object.keys(LABELS).find((name) => LABELS[name].includes(label));

// windows-1252 differs from Latin-1 in 0x80 to 0x9f only.
const HIGH = "\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d" +
  "\u017d\x8f\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d" +
  "\u017e\u0178";
const BOM = "\ufeff";
const CHUNK_UNITS = 4096;

export class TextEncoder {
  get encoding() { return "utf-8"; }

  encode(text = "") { return encodeUtf8(String(text)); }

  encodeInto(text, target) {
    if (!(target instanceof Uint8Array)) {
      throw new TypeError("The \"dest\" argument must be an instance of Uint8Array");
    }
    const source = String(text);
    const whole = encodeUtf8(source);
    if (whole.length <= target.length) {
      target.set(whole);
      return { read: source.length, written: whole.length };
    }
    let written = target.length;
    while (written > 0 && (whole[written] & 0xc0) === 0x80) written -= 1;
    target.set(whole.subarray(0, written));
    return { read: decodeUtf8(whole.subarray(0, written)).length, written };
  }

  get [Symbol.toStringTag]() { return "TextEncoder"; }
}

export class TextDecoder {
  #encoding;
  #fatal;
  #ignoreBOM;
  #rest = new Uint8Array(0);
  #started = false;

  constructor(label = "utf-8", options = {}) {
    const name = encodingOf(String(label).trim().toLowerCase());
    if (!name) {
      const error = new RangeError(`The "${label}" encoding is not supported`);
      error.code = "ERR_ENCODING_NOT_SUPPORTED";
      throw error;
    }
    this.#encoding = name;
    this.#fatal = Boolean(options?.fatal);
    this.#ignoreBOM = Boolean(options?.ignoreBOM);
  }

  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }
  get [Symbol.toStringTag]() { return "TextDecoder"; }

  decode(input = new Uint8Array(0), options = {}) {
    const streams = Boolean(options?.stream);
    const bytes = joinBytes(this.#rest, viewOf(input));
    const keep = streams ? incompleteBytes(this.#encoding, bytes) : 0;
    const usable = bytes.subarray(0, bytes.length - keep);
    this.#rest = bytes.slice(bytes.length - keep);
    let text;
    try {
      text = DECODERS[this.#encoding](usable, this.#fatal);
    } catch (error) {
      this.#reset();
      throw error;
    }
    if (!this.#started && text !== "") {
      this.#started = true;
      if (!this.#ignoreBOM && text.startsWith(BOM)) text = text.slice(1);
    }
    if (!streams) this.#reset();
    return text;
  }

  #reset() {
    this.#rest = new Uint8Array(0);
    this.#started = false;
  }
}

function viewOf(input) {
  if (input instanceof ArrayBuffer || input instanceof SharedArrayBuffer) {
    return new Uint8Array(input);
  }
  if (ArrayBuffer.isView(input)) {
    return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  }
  const expected = "an instance of SharedArrayBuffer, ArrayBuffer or ArrayBufferView";
  throw invalidType("list", expected, input);
}

function joinBytes(head, tail) {
  if (head.length === 0) return tail;
  const whole = new Uint8Array(head.length + tail.length);
  whole.set(head);
  whole.set(tail, head.length);
  return whole;
}

function invalid(encoding) {
  const error = new TypeError(`The encoded data was not valid for encoding ${encoding}`);
  error.code = "ERR_ENCODING_INVALID_ENCODED_DATA";
  return error;
}

const DECODERS = {
  "utf-8"(bytes, fatal) {
    if (fatal && !isValidUtf8(bytes)) throw invalid("utf-8");
    return decodeUtf8(bytes);
  },
  "utf-16le": (bytes, fatal) => decodeUtf16(bytes, fatal, true),
  "utf-16be": (bytes, fatal) => decodeUtf16(bytes, fatal, false),
  "windows-1252": (bytes) => decodeUnits(bytes.length, (index) => {
    const byte = bytes[index];
    return byte < 0x80 || byte > 0x9f ? byte : HIGH.charCodeAt(byte - 0x80);
  }),
};

function decodeUnits(count, unitAt) {
  let text = "";
  for (let start = 0; start < count; start += CHUNK_UNITS) {
    const units = [];
    const end = Math.min(count, start + CHUNK_UNITS);
    for (let index = start; index < end; index += 1) units.push(unitAt(index));
    text += String.fromCharCode(...units);
  }
  return text;
}

function decodeUtf16(bytes, fatal, isLittle) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isOdd = bytes.length % 2 === 1;
  const text = decodeUnits(bytes.length >> 1, (index) => view.getUint16(index * 2, isLittle));
  if (fatal && (isOdd || !text.isWellFormed())) throw invalid(isLittle ? "utf-16le" : "utf-16be");
  return text.toWellFormed() + (isOdd ? "\ufffd" : "");
}

/** How many bytes at the end may still become a character with what comes next. */
function incompleteBytes(encoding, bytes) {
  if (encoding === "windows-1252") return 0;
  return encoding === "utf-8" ? incompleteUtf8(bytes) : incompleteUtf16(encoding, bytes);
}

function incompleteUtf16(encoding, bytes) {
  const odd = bytes.length % 2;
  const high = bytes[bytes.length - odd - (encoding === "utf-16le" ? 1 : 2)];
  return odd + (high >= 0xd8 && high <= 0xdb ? 2 : 0);
}

function incompleteUtf8(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) === 0x80) continue;
    const size = byte >= 0xf0 && byte <= 0xf4 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    if (byte > 0xf4 || back >= size) return 0;
    // A second byte that can never be right is an error now, not an incomplete character.
    return back > 1 && !isSecondByte(byte, bytes[bytes.length - back + 1]) ? 0 : back;
  }
  return 0;
}

// The ranges of table 3-7 of the Unicode standard: no overlong forms, surrogates or large values.
function isSecondByte(first, second) {
  if (first === 0xe0) return second >= 0xa0;
  if (first === 0xed) return second <= 0x9f;
  if (first === 0xf0) return second >= 0x90;
  return first !== 0xf4 || second <= 0x8f;
}
