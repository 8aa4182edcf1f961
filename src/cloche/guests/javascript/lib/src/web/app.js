// Hosted apps: a request of the host becomes a Request, the Response of the app becomes effects of
// kind "app". Stands between the host's words (docs/apps.md) and the handler that a module exports.
//
// Invariants: a request is answered at most once; what is written last is written before the run
// ends; a client that left ends the stream that was meant for it, and nothing else.

import { Buffer } from "../node/buffer.js";
import {
  abandonable, callEffect, callEffectOf, effectHead, encodeJson, promiseResult, promiseState, quote,
  readAllInput,
} from "../host.js";
import { bodyBytes, contentOf, markUsed } from "./body.js";
import { Response, incomingRequest, linesText } from "./fetch.js";
import { Headers, headerLines } from "./headers.js";
import { contentOfBytes, methodOf, targetOf } from "./incoming.js";
import { ReadableStream } from "./streams.js";
import { URL } from "./url.js";

const KIND = "app";
// A piece of a response; the host takes effects of a megabyte, and base64 is a third longer.
const PIECE_BYTES = 512 * 1024;
const PIECE_LETTERS = 128 * 1024; // in JSON each may become six bytes
const FULFILLED = 1;
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

/** A body that is too large to be given at once. */
const largeBody = () => new ReadableStream({
  pull(controller) {
    const piece = callEffect(KIND, "request.read", {});
    if (piece === null) controller.close();
    else controller.enqueue(new Uint8Array(Buffer.from(piece.b64, "base64")));
  },
}, { highWaterMark: 0 });

const requestOf = (origin, isLarge) => {
  const bytes = readAllInput();
  const target = targetOf(bytes);
  const body = isLarge ? undefined : contentOfBytes(bytes);
  let content = null;
  if (isLarge) content = { stream: largeBody(), type: null };
  else if (body !== undefined) content = { bytes: body, type: null };
  return incomingRequest({
    method: methodOf(bytes), url: target === "*" ? `${origin}/` : origin + target, headers: bytes,
    signal: null, redirect: "follow", timeout: undefined, auth: undefined,
  }, content);
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
  if (content === null) return respondWhole(status, response, '""');
  const { bytes, text } = content;
  if (text !== undefined && text.length <= PIECE_LETTERS) {
    return respondWhole(status, response, quote(text));
  }
  if (bytes !== undefined && bytes.length <= PIECE_BYTES) {
    return respondWhole(status, response, encodeJson(asArgument(bytes)));
  }
  callEffect(KIND, "respond.start", { status, headers: headerLines(response.headers) });
  if (content.stream) return stream(content.stream);
  if (write(text ?? bodyBytes(content))) callEffect(KIND, "respond.end", {});
  return undefined;
};

const RESPOND = effectHead(KIND, "respond");
const respondWhole = (status, response, body) => {
  const headers = linesText(response);
  callEffectOf(RESPOND, `{"status":${status},"headers":${headers},"body":${body}}`);
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

const passThroughOnException = () => {};

const handlerOf = (name) => {
  const handler = handlers?.[name];
  if (handler === undefined) throw new TypeError(`the app has no handler ${name}`);
  return handler;
};

const contextOf = (waiting) => ({
  waitUntil(promise) { waiting.push(promise); }, passThroughOnException,
});

const call = (name, event, env) => {
  const waiting = [];
  return { result: handlerOf(name)(event, env, contextOf(waiting)), waiting };
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

/** A promise of the end of what is not over when the handler has returned. */
const answered = async (result, waiting, hasResponse) => {
  try {
    const writing = hasResponse ? result : respond(await result);
    if (writing !== undefined) await writing;
    if (waiting.length) await wait(waiting);
  } catch (error) {
    fail(error);
  }
};

/** Whether a handler's result is there already: most handlers wait for nothing. */
const isThere = (result) => result instanceof Response || promiseState(result) === FULFILLED;

/**
 * One of each thing that requests are answered with. While these are there, so is what the engine
 * knows of their form, which a fresh instance would find out again.
 */
export function specimens() {
  const request = incomingRequest({
    method: "GET", url: "http://a.example/", headers: new Headers({ a: "b" }),
    signal: null, redirect: "follow", timeout: undefined, auth: undefined,
  }, { bytes: new Uint8Array(1), type: null });
  const responses = [
    new Response("a"), new Response("a", { status: 201, headers: { a: "b" } }), Response.json({}),
  ];
  for (const response of responses) {
    linesText(response);
    markUsed(response);
  }
  const url = new URL("http://a.example/a?b=c");
  return [request, ...responses, url, `${url.pathname}${request.headers.get("a")}`, contextOf([])];
}

/** Answer a request; a promise of when it is done, unless it is. */
export function answer(origin, isLarge, env) {
  const waiting = [];
  let result;
  try {
    result = handlerOf("fetch")(requestOf(origin, isLarge), env, contextOf(waiting));
  } catch (error) {
    fail(error);
  }
  if (!isThere(result)) return answered(result, waiting, false);
  let writing;
  try {
    writing = respond(result instanceof Response ? result : promiseResult(result));
  } catch (error) {
    return answered(Promise.reject(error), waiting, false);
  }
  if (writing === undefined && waiting.length === 0) return undefined;
  return answered(writing, waiting, true);
}

/** Ask for anything but a response; a promise of when it is done. */
export function ask(document, env, jobOf) {
  const name = document.do;
  if (name === "websocket") {
    const { result, waiting } = call(name, new AppSocket(requestOf(document.origin, false)), env);
    return Promise.resolve(result).then(() => wait(waiting));
  }
  const event = name === "job" ? jobOf(document.event) : document.event;
  const { result, waiting } = call(name, event, env);
  return Promise.resolve(result).then((value) => {
    callEffect(KIND, "return", { value: value === undefined ? null : value });
    return wait(waiting);
  });
}

