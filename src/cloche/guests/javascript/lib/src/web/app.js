// Hosted apps: a request of the host becomes a Request, the Response of the app becomes effects of
// kind "app". Stands between the host's words (docs/apps.md) and the handler that a module exports.
//
// Invariants: a request is answered at most once; what is written last is written before the run
// ends; a client that left ends the stream that was meant for it, and nothing else.

import { Buffer } from "../node/buffer.js";
import { abandonable, callEffect, readInput } from "../host.js";
import { bodyBytes, contentOf, markUsed } from "./body.js";
import { Response, incomingRequest } from "./fetch.js";
import { headerLines, knownHeaders } from "./headers.js";
import { ReadableStream } from "./streams.js";

const KIND = "app";
const INPUT_BYTES_MAX = 0x7fffffff;
const METHODS = [, "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]; // of X7RQ
const HEAD_BYTES = 8; // of X7RQ, and of X7HT
const ROW_BYTES = 16;
const TEXT_PIECE = 4096; // letters made at once
// A piece of a response; the host takes effects of a megabyte, and base64 is a third longer.
const PIECE_BYTES = 512 * 1024;
const PIECE_LETTERS = 128 * 1024; // in JSON each may become six bytes
const HANDLERS = ["fetch", "scheduled", "job", "websocket"];

// ---- the module ----

let handlers; // {fetch, scheduled, job}, bound to what the module exports

const nameOf = (value) => (value === null ? "null" : Array.isArray(value) ? "an array" : typeof value);

/** Take the default export of an app's module; the names of what it handles. */
export function register(exported) {
  if (typeof exported === "function") handlers = { fetch: exported };
  else if (typeof exported === "object" && exported !== null) {
    handlers = {};
    for (const name of HANDLERS) {
      const handler = exported[name];
      if (handler === undefined) continue;
      if (typeof handler !== "function") {
        throw new TypeError(`the default export's ${name} is ${nameOf(handler)}, not a function`);
      }
      handlers[name] = handler.bind(exported);
    }
  } else {
    handlers = {};
  }
  return Object.keys(handlers);
}

// ---- requests ----

const lettersOf = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += TEXT_PIECE) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + TEXT_PIECE));
  }
  return text;
};

/** Values by name of an X7HT table, which lies in `bytes` from `start` to `end`. */
const valuesOf = (bytes, view, start, end) => {
  const count = view.getUint16(start + 6, true);
  const payload = lettersOf(bytes.subarray(start + HEAD_BYTES + ROW_BYTES * count, end));
  const values = new Map();
  let row = start + HEAD_BYTES;
  for (let index = 0; index < count; index += 1, row += ROW_BYTES) {
    const nameAt = view.getUint32(row, true);
    const valueAt = view.getUint32(row + 8, true);
    const name = payload.slice(nameAt, nameAt + view.getUint32(row + 4, true));
    const value = payload.slice(valueAt, valueAt + view.getUint32(row + 12, true));
    const known = values.get(name);
    if (known) known.push(value);
    else values.set(name, [value]);
  }
  return values;
};

/** A body that is too large to be given at once. */
const largeBody = () => new ReadableStream({
  pull(controller) {
    const piece = callEffect(KIND, "request.read", {});
    if (piece === null) controller.close();
    else controller.enqueue(new Uint8Array(Buffer.from(piece.b64, "base64")));
  },
}, { highWaterMark: 0 });

const requestOf = ({ origin, large }) => {
  const bytes = readInput(INPUT_BYTES_MAX);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const targetEnd = HEAD_BYTES + 4 + view.getUint32(HEAD_BYTES, true);
  const target = lettersOf(bytes.subarray(HEAD_BYTES + 4, targetEnd));
  const headersEnd = targetEnd + 4 + view.getUint32(targetEnd, true);
  let content = null;
  if (large) content = { stream: largeBody(), type: null };
  else if (bytes.length > headersEnd + 4) content = { bytes: bytes.subarray(headersEnd + 4), type: null };
  return incomingRequest({
    method: METHODS[bytes[5]],
    href: origin + (target === "*" ? "/" : target),
    headers: knownHeaders(() => valuesOf(bytes, view, targetEnd + 4, headersEnd)),
    content,
  });
};

// ---- responses ----

const asArgument = (piece) => {
  if (typeof piece === "string") return piece;
  const bytes = piece instanceof ArrayBuffer ? new Uint8Array(piece) : piece;
  if (!ArrayBuffer.isView(bytes)) {
    throw new TypeError(`a piece of a response is bytes or a text, not ${nameOf(piece)}`);
  }
  return { b64: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64") };
};

const piecesOf = function* (content) {
  if (typeof content === "string") {
    for (let at = 0; at < content.length;) {
      let end = at + PIECE_LETTERS;
      // A pair of surrogates is one letter.
      if (/[\ud800-\udbff]/.test(content[end - 1] ?? "")) end += 1;
      yield content.slice(at, end);
      at = end;
    }
    return;
  }
  const bytes = content instanceof ArrayBuffer ? new Uint8Array(content) : content;
  if (!ArrayBuffer.isView(bytes)) { yield content; return; }
  const { buffer, byteOffset, byteLength } = bytes;
  for (let at = 0; at < byteLength; at += PIECE_BYTES) {
    yield new Uint8Array(buffer, byteOffset + at, Math.min(PIECE_BYTES, byteLength - at));
  }
};

/** Write pieces; false once the client is gone. */
const write = (content) => {
  for (const piece of piecesOf(content)) {
    try {
      callEffect(KIND, "respond.write", { data: asArgument(piece) });
    } catch (error) {
      if (error?.code === "CLIENT_GONE") return false;
      throw error;
    }
  }
  return true;
};

const stream = async (body) => {
  const reader = body.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    if (!write(value)) {
      await reader.cancel(new DOMException("the client is gone", "AbortError"));
      return;
    }
  }
  callEffect(KIND, "respond.end", {});
};

const respond = (response) => {
  if (!(response instanceof Response)) {
    throw new TypeError(`the handler returned ${nameOf(response)}; it must return a Response`);
  }
  const { status } = response;
  if (status === 0) throw new TypeError("the handler returned Response.error()");
  const content = contentOf(response);
  markUsed(response);
  const headers = headerLines(response.headers);
  if (content === null) return callEffect(KIND, "respond", { status, headers, body: "" });
  const { bytes, text } = content;
  if (text !== undefined && text.length <= PIECE_LETTERS) {
    return callEffect(KIND, "respond", { status, headers, body: text });
  }
  if (bytes !== undefined && bytes.length <= PIECE_BYTES) {
    return callEffect(KIND, "respond", { status, headers, body: asArgument(bytes) });
  }
  callEffect(KIND, "respond.start", { status, headers });
  if (content.stream) return stream(content.stream);
  if (write(text ?? bodyBytes(content))) callEffect(KIND, "respond.end", {});
  return undefined;
};

// ---- WebSockets ----

/** What a handler of WebSockets gets: `accept`, then messages by `receive` or by iterating. */
class AppSocket {
  #isAccepted = false;
  constructor(request) { this.request = request; }

  accept({ protocol } = {}) {
    callEffect(KIND, "socket.accept", protocol === undefined ? {} : { protocol });
    this.#isAccepted = true;
  }

  /** Send a text or bytes; false once the client is gone. */
  send(data) {
    try {
      callEffect(KIND, "socket.send", { data: asArgument(data) });
      return true;
    } catch (error) {
      if (error?.code === "CLIENT_GONE") return false;
      throw error;
    }
  }

  /** The next message: a text or a Uint8Array; null once the WebSocket is closed. */
  async receive() {
    const message = await abandonable(KIND, "socket.receive", {}).promise;
    if (message === null) return null;
    return message.text ?? new Uint8Array(Buffer.from(message.b64, "base64"));
  }

  close(code = 1000, reason = "") { callEffect(KIND, "socket.close", { code, reason }); }

  async* [Symbol.asyncIterator]() {
    if (!this.#isAccepted) this.accept();
    for (let message = await this.receive(); message !== null; message = await this.receive()) {
      yield message;
    }
  }
}

// ---- what is asked ----

const call = (name, event, env) => {
  const handler = handlers?.[name];
  if (handler === undefined) throw new TypeError(`the app has no handler ${name}`);
  const waiting = [];
  const ctx = {
    waitUntil(promise) { waiting.push(promise); },
    passThroughOnException() {},
  };
  return { result: handler(event, env, ctx), waiting };
};

/** All of what `waitUntil` was given, and what was added meanwhile. */
const wait = async (waiting) => {
  for (let index = 0; index < waiting.length; index += 1) await waiting[index];
};

/** Tell the host that it may be asked again, where that is what an error says; throw it on. */
const fail = (error) => {
  if (error?.retryable === true) {
    const retry_after_ms = error.retryAfterMs ?? error.retryAfter * 1000;
    callEffect(KIND, "retry", Number.isFinite(retry_after_ms) ? { retry_after_ms } : {});
  }
  throw error;
};

const answer = (document, env) => {
  const { result, waiting } = call("fetch", requestOf(document), env);
  return Promise.resolve(result).then(respond)
    .then(() => (waiting.length ? wait(waiting) : undefined));
};

/** Ask the app; a promise of when it is done. */
export function ask(document, env, jobOf) {
  const name = document.do;
  if (name === "fetch") {
    let done;
    try { done = answer(document, env); } catch (error) { fail(error); }
    return done.catch(fail);
  }
  if (name === "websocket") {
    const { result, waiting } = call(name, new AppSocket(requestOf(document)), env);
    return Promise.resolve(result).then(() => wait(waiting));
  }
  const event = name === "job" ? jobOf(document.event) : document.event;
  const { result, waiting } = call(name, event, env);
  return Promise.resolve(result).then((value) => {
    callEffect(KIND, "return", { value: value === undefined ? null : value });
    return wait(waiting);
  });
}

