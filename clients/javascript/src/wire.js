// How a call is sent, and sent again.
//
// Invariants: every POST has an Idempotency-Key, the same each time it is tried, so that sending it
// again is safe; what is tried again is a connection that broke and a server that said when to come
// back, nothing else; an aborted call is never tried again.

import { ClocheError, refusalOf, unreachable, unusable } from "./errors.js";

const WAIT_MS_MAX = 10_000;
const BREAK_MS = 200; // before a connection that broke is tried again; doubles each time
const BUSY = new Set([429, 503]);
const PENDING = "SERVER_IDEMPOTENCY_PENDING";

/** Return a fresh key: 32 hexadecimal digits. */
function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return after some time; throw the reason of a signal that is aborted before. */
export function pause(waitMs, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, waitMs);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Return how long to wait before the next attempt; null where there is to be none. */
export function pauseMs({ error, retryAfter }, attempt) {
  if (error.code === "CLIENT_UNREACHABLE") {
    return Math.min(BREAK_MS * 2 ** (attempt - 1), WAIT_MS_MAX);
  }
  if (!BUSY.has(error.status) && error.code !== PENDING) return null;
  const seconds = /^\d+$/.test(retryAfter ?? "") ? Number(retryAfter) : 1;
  return Math.min(seconds * 1000, WAIT_MS_MAX);
}

export class Wire {
  /**
   * @param {string|URL} url of the server.
   * @param {string} key see `cloche keys`.
   * @param {{attemptCount?: number, fetch?: typeof fetch}} options
   */
  constructor(url, key, { attemptCount = 3, fetch = globalThis.fetch } = {}) {
    if (!Number.isInteger(attemptCount) || attemptCount < 1) {
      throw new RangeError("attemptCount is a whole number from 1");
    }
    this.url = new URL(url).href.replace(/\/+$/, "");
    this.attemptCount = attemptCount;
    // White space around it is that of a file that it was read from. Else the platform's error
    // would have the key in its message.
    const shown = String(key ?? "").trim();
    if (!/^[!-~]+$/.test(shown)) throw unusable("key", "it begins with clk_ and has no white space");
    this.headers = new Headers({ authorization: `Bearer ${shown}` });
    this.fetch = (...args) => fetch(...args); // browsers want `fetch` to be called on no object
  }

  /** Return a call as it is sent, the same each time: `[address, options of fetch]`. */
  prepare(call) {
    const { method = "GET", path, body, type = "application/json", signal } = call;
    const headers = new Headers(this.headers);
    if (body !== undefined) headers.set("content-type", type);
    if (call.accept) headers.set("accept", call.accept);
    if (call.lastEventId) headers.set("last-event-id", call.lastEventId);
    if (method === "POST") {
      headers.set("idempotency-key", call.idempotencyKey ?? newIdempotencyKey());
    }
    const options = { method, headers, body, signal, redirect: "error", cache: "no-store" };
    return [this.url + path, { ...options, credentials: "omit" }];
  }

  /** Return the bytes of the answer to a call. */
  async send(call) {
    call.signal?.throwIfAborted();
    const prepared = this.prepare(call);
    for (let attempt = 1; ; attempt++) {
      const answer = await this.attempt(prepared, (response) => response.arrayBuffer());
      if (!answer.error) return new Uint8Array(answer.value);
      const waitMs = pauseMs(answer, attempt);
      if (waitMs === null || attempt >= this.attemptCount) throw answer.error;
      await pause(waitMs, call.signal);
    }
  }

  /** Return the answer to a call as JSON. */
  async json(call) {
    const text = new TextDecoder().decode(await this.send(call));
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new ClocheError(
        { code: "CLIENT_REFUSED", message: `${this.url} answers something that is no JSON` },
        { cause: error },
      );
    }
  }

  /** Send once: return `{value}` of `read`, or `{error, retryAfter}`; throw when aborted. */
  async attempt([address, options], read) {
    try {
      const response = await this.fetch(address, options);
      if (response.ok) return { value: await read(response) };
      const error = refusalOf(response.status, await response.arrayBuffer());
      return { error, retryAfter: response.headers.get("retry-after") };
    } catch (problem) {
      options.signal?.throwIfAborted();
      return { error: unreachable(this.url, problem) };
    }
  }
}
