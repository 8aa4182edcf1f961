// node:querystring: `a=1&b=2` to an object and back.

import { Buffer } from "./buffer.js";

const KEYS_MAX = 1000;

export function unescapeBuffer(text) {
  const bytes = [];
  for (let index = 0; index < text.length; index += 1) {
    const hex = text.slice(index + 1, index + 3);
    if (text[index] === "%" && /^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      index += 2;
    } else {
      bytes.push(text.charCodeAt(index) & 0xff);
    }
  }
  return Buffer.from(bytes);
}

export function unescape(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return unescapeBuffer(text).toString();
  }
}

// As encodeURIComponent, with a lone surrogate refused in node's words.
export function escape(value) {
  const text = typeof value === "object" ? String(value) : `${value}`;
  return encodeURIComponent(text);
}

const primitive = (value) => {
  if (typeof value === "string") return value;
  if (typeof value === "number") return Number.isFinite(value) ? `${value}` : "";
  return typeof value === "bigint" || typeof value === "boolean" ? `${value}` : "";
};

export function stringify(object, separator = "&", equals = "=", options = {}) {
  if (typeof object !== "object" || object === null) return "";
  const encode = options?.encodeURIComponent ?? querystring.escape;
  const parts = [];
  for (const [key, value] of Object.entries(object)) {
    const name = encode(primitive(key));
    for (const item of Array.isArray(value) ? value : [value]) {
      parts.push(`${name}${equals ?? "="}${encode(primitive(item))}`);
    }
  }
  return parts.join(separator ?? "&");
}

export function parse(text, separator = "&", equals = "=", options = {}) {
  const result = { __proto__: null };
  if (typeof text !== "string" || text === "") return result;
  const decode = options?.decodeURIComponent ?? querystring.unescape;
  const keyLimit = options?.maxKeys ?? KEYS_MAX;
  let parts = text.split(separator || "&");
  if (keyLimit > 0) parts = parts.slice(0, keyLimit);
  for (const part of parts) {
    if (part === "") continue;
    const cut = part.indexOf(equals || "=");
    const read = (piece) => safely(decode, piece.replaceAll("+", " "));
    const key = read(cut < 0 ? part : part.slice(0, cut));
    const value = cut < 0 ? "" : read(part.slice(cut + (equals || "=").length));
    if (!(key in result)) result[key] = value;
    else if (Array.isArray(result[key])) result[key].push(value);
    else result[key] = [result[key], value];
  }
  return result;
}

function safely(decode, text) {
  try {
    return decode(text);
  } catch {
    return unescape(text);
  }
}

const querystring = {
  parse, stringify, escape, unescape, unescapeBuffer, decode: parse, encode: stringify,
};
export default querystring;
