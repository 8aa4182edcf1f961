// Values as they are sent: bytes, files, options of runs, parts of paths. Pure, but for Blobs.

import { unusable } from "./errors.js";

const PIECE_BYTES = 0x8000; // of one call: engines limit how many arguments a call takes

/** Return content as bytes; takes a string, bytes, a buffer or a Blob (so a File). */
export async function bytesOf(content) {
  if (typeof content === "string") return new TextEncoder().encode(content);
  if (content instanceof Uint8Array) return content;
  if (content instanceof ArrayBuffer) return new Uint8Array(content);
  if (ArrayBuffer.isView(content)) {
    return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  }
  if (content instanceof Blob) return new Uint8Array(await content.arrayBuffer());
  throw unusable("content", "is a string, bytes, an ArrayBuffer or a Blob");
}

function base64Of(bytes) {
  let text = "";
  for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
    text += String.fromCharCode(...bytes.subarray(start, start + PIECE_BYTES));
  }
  return btoa(text);
}

/** Return a file as the server takes it: a File, or `{name, content}`. */
async function fileOf(file) {
  const { name, content } = contentOf(file);
  if (typeof content === "string") return { name, content };
  return { name, content: base64Of(await bytesOf(content)), encoding: "base64" };
}

/** Return name and content of a File, or of `{name, content}`. */
export function contentOf(file) {
  const content = file instanceof Blob ? file : file.content;
  return { name: file.name, content };
}

/** Return options of a run or a session as a body; undefined ones are left out. */
export async function bodyOf(options) {
  const body = { ...options };
  for (const name of ["files", "modules"]) {
    if (body[name]) body[name] = await Promise.all(Array.from(body[name], fileOf));
  }
  if (body.stdin !== undefined && typeof body.stdin !== "string") {
    body.stdin = base64Of(await bytesOf(body.stdin));
    body.stdin_encoding = "base64";
  }
  return body;
}

/** Return an object as JSON; its own BigInts are written as the integers that they are. */
export function jsonOf(body) {
  const entries = Object.entries(body);
  const rest = entries.filter(([, value]) => typeof value !== "bigint");
  const text = JSON.stringify(Object.fromEntries(rest));
  const integers = entries
    .filter(([, value]) => typeof value === "bigint")
    .map(([name, value]) => `${JSON.stringify(name)}:${value}`);
  if (!integers.length) return text;
  const separator = text === "{}" ? "" : ",";
  return `${text.slice(0, -1)}${separator}${integers.join(",")}}`;
}

/**
 * Return a name as one part of a path.
 *
 * `fetch` takes ".." out of an address before it is sent, also when it is percent-encoded: such a
 * name would ask for something else than what it says.
 */
export function part(name) {
  const text = String(name);
  if (text === "" || text === "." || text === "..") {
    throw unusable("name", `${JSON.stringify(text)} is no name that can be sent`);
  }
  return encodeURIComponent(text);
}

/** Return the path of a file as parts of an address. */
export function fileParts(path) {
  const parts = path.split("/").filter((each) => each !== "" && each !== ".");
  if (!parts.length || parts.includes("..")) {
    throw unusable("path", `${JSON.stringify(path)} names no file; ".." is not taken`);
  }
  return parts.map(part).join("/");
}

/** Return the media type of an archive; what begins as none is for the server to refuse. */
export function archiveType(bytes) {
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) return "application/zip";
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? "application/gzip" : "application/x-tar";
}

/** Return the lines of JSON Lines. */
export function linesOf(bytes) {
  return new TextDecoder().decode(bytes).split("\n").filter((line) => line !== "");
}

/** Return a query; what is undefined or null is left out. */
export function queryOf(values) {
  const known = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(known.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}
