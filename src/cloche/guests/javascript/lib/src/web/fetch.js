// fetch, Request and Response of the Fetch standard, and net.fetch, which waits inside the turn.
//
// Both ask the host for an effect of kind http.fetch. Invariants: nothing here decides where a
// program may go, the host does; the target of the effect is what the URL says, else the host
// refuses; a failure has the host's code.

import { abandonable, callEffect, decodeUtf8, inspect } from "../host.js";
import {
  Body, bodyArgument, bodyOfValue, contentOf, copyContent, extractBody, markUsed, wholeContent,
} from "./body.js";
import { Headers, headerLines } from "./headers.js";
import { recordOf } from "./simple_url.js";
import { URL } from "./url.js";

const KIND = "http.fetch";
const USUAL_METHODS = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]);
const NO_BODY = new Set([101, 103, 204, 205, 304]);
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const custom = Symbol.for("nodejs.util.inspect.custom");

const canonicalMethod = (method) => {
  const text = String(method);
  const upper = text.toUpperCase();
  return USUAL_METHODS.has(upper) ? upper : text;
};

const parseUrl = (input) => {
  const url = new URL(String(input));
  url.hash = "";
  return url;
};

// As the host names it: no final dot, no usual port, no user.
const targetOf = (method, url) => {
  const host = url.hostname.replace(/\.$/, "");
  return `${method} ${url.protocol}//${host}${url.port ? `:${url.port}` : ""}`;
};

/** The effect that a request asks for: [target, args]; of a stream the content that was read. */
let effectOf;
const INCOMING = Symbol("incoming");

/** The request that an app got: its URL is parsed when somebody asks for it. */
export const incomingRequest = (parts) => new Request(INCOMING, parts);

export class Request extends Body {
  #method; #url; #headers; #signal; #redirect; #options;

  constructor(input, init = {}) {
    if (input === INCOMING) {
      super(init.content);
      this.#method = init.method;
      this.#url = init.href;
      this.#headers = init.headers;
      this.#signal = null;
      this.#redirect = "follow";
      this.#options = {};
      return;
    }
    const base = input instanceof Request ? input : undefined;
    const url = base ? base.#parsed() : parseUrl(input);
    if (url.username || url.password) {
      throw new TypeError("Request cannot be constructed from a URL that includes credentials");
    }
    const method = canonicalMethod(init.method ?? base?.#method ?? "GET");
    const given = init.body ?? null;
    if (given !== null && (method === "GET" || method === "HEAD")) {
      throw new TypeError("Request with GET/HEAD method cannot have body.");
    }
    let content = null;
    if (given !== null) content = extractBody(given);
    else if (base && init.body === undefined) content = contentOf(base);
    super(content);
    if (base && init.body === undefined) markUsed(base);
    this.#method = method;
    this.#url = url;
    this.#headers = new Headers(init.headers ?? (base ? headerLines(base.#headers) : undefined));
    nameType(this.#headers, content);
    this.#signal = init.signal ?? base?.#signal ?? null;
    this.#redirect = init.redirect ?? base?.#redirect ?? "follow";
    this.#options = {
      timeout: init.timeout ?? base?.#options.timeout, auth: init.auth ?? base?.#options.auth,
    };
  }

  get method() { return this.#method; }
  #parsed() {
    if (typeof this.#url === "string") this.#url = parseUrl(this.#url);
    return this.#url;
  }
  get url() {
    // What is plain is written already as it would be after it was parsed.
    if (typeof this.#url === "string" && recordOf(this.#url)) return this.#url;
    return this.#parsed().href;
  }
  get headers() { return this.#headers; }
  get signal() { return this.#signal; }
  get redirect() { return this.#redirect; }
  clone() {
    return new Request(this.url, {
      ...this.#options, method: this.#method, headers: headerLines(this.#headers),
      signal: this.#signal, redirect: this.#redirect, body: copyContent(this),
    });
  }
  get [Symbol.toStringTag]() { return "Request"; }
  [custom](depth, options) {
    const { method, url, headers } = this;
    return `Request ${inspect({ method, url, headers }, options)}`;
  }

  static {
    effectOf = (request, content) => {
      markUsed(request);
      const { timeout, auth } = request.#options;
      const method = request.#method;
      const args = { url: request.url, method, headers: headerLines(request.#headers) };
      if (content !== null) args.body = bodyArgument(content);
      if (timeout !== undefined && timeout !== null && timeout !== Infinity) {
        // JSON has no NaN; what is no number goes as text, and the host refuses it.
        args.timeout_ms = Number.isFinite(+timeout) ? +timeout : String(timeout);
      }
      if (auth !== undefined && auth !== null) args.auth = String(auth);
      if (request.#redirect !== "follow") args.redirect = String(request.#redirect);
      return [targetOf(method, request.#parsed()), args];
    };
  }
}

const nameType = (headers, content) => {
  if (content?.type && !headers.has("content-type")) headers.set("content-type", content.type);
};

/** The response that an effect's value stands for. */
let responseOf;

export class Response extends Body {
  #status; #statusText; #headers; #url; #redirected; #type;

  constructor(body = null, init = {}) {
    const status = init.status === undefined ? 200 : Number(init.status);
    if (!(status >= 200 && status <= 599)) {
      throw new RangeError("The status of a Response is in the range [200, 599].");
    }
    const content = body === null || body === undefined ? null : extractBody(body);
    if (content !== null && NO_BODY.has(status)) {
      throw new TypeError("Response with null body status cannot have body");
    }
    super(content);
    this.#status = Math.trunc(status);
    this.#statusText = String(init.statusText ?? "");
    this.#headers = new Headers(init.headers);
    nameType(this.#headers, content);
    this.#url = "";
    this.#redirected = false;
    this.#type = "default";
  }

  get status() { return this.#status; }
  get statusText() { return this.#statusText; }
  get ok() { return this.#status >= 200 && this.#status <= 299; }
  get headers() { return this.#headers; }
  get url() { return this.#url; }
  get redirected() { return this.#redirected; }
  get type() { return this.#type; }
  clone() {
    const copy = new Response(copyContent(this), {
      statusText: this.#statusText, headers: headerLines(this.#headers),
    });
    copy.#status = this.#status;
    copy.#url = this.#url;
    copy.#redirected = this.#redirected;
    copy.#type = this.#type;
    return copy;
  }
  get [Symbol.toStringTag]() { return "Response"; }
  [custom](depth, options) {
    const { status, statusText, ok, url, redirected, headers } = this;
    return `Response ${inspect({ status, statusText, ok, url, redirected, headers }, options)}`;
  }

  static json(value, init = {}) {
    const headers = new Headers(init.headers);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
    return new Response(JSON.stringify(value), { ...init, headers: headerLines(headers) });
  }
  static error() {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
    return response;
  }
  static redirect(url, status = 302) {
    if (!REDIRECTS.has(status)) throw new RangeError("Failed to execute 'redirect': Invalid status code");
    return new Response(null, { status, headers: { location: parseUrl(url).href } });
  }

  static {
    responseOf = (value) => {
      const body = NO_BODY.has(value.status) ? null : bodyOfValue(value.body);
      const response = new Response(body, { statusText: value.reason });
      response.#status = value.status;
      response.#url = value.url;
      response.#redirected = value.redirected;
      response.#type = "basic";
      for (const [name, text] of value.headers) response.#headers.append(name, text);
      return response;
    };
  }
}

const nameNetError = (error) => (
  Object.defineProperty(error, "name", { value: "NetError", configurable: true })
);

/** The error for a call that failed: code, retryable, retryAfter (seconds) as the host gave them. */
function failure(error, Type) {
  if (error?.name !== "EffectError") return error;
  let { code } = error;
  let message = error.message.slice(code.length + 2);
  // Without rules of outbound HTTP the gate refuses before anybody looks at hosts.
  if (code === "POLICY_DENIED") {
    code = "NET_BLOCKED";
    message = `outbound HTTP is not allowed here: ${message}`;
  }
  const result = new Type(`${code}: ${message}`);
  if (Type === Error) nameNetError(result);
  result.code = code;
  result.retryable = error.retryable;
  if (error.retryAfterMs !== undefined) result.retryAfter = error.retryAfterMs / 1000;
  return result;
}

export async function fetch(input, init = undefined) {
  const request = new Request(input, init ?? {});
  const { signal } = request;
  signal?.throwIfAborted();
  let content = contentOf(request);
  if (content?.stream) content = await wholeContent(content);
  const [target, args] = effectOf(request, content);
  const { promise, abandon } = abandonable(KIND, target, args);
  const answer = promise.then(responseOf, (error) => { throw failure(error, TypeError); });
  if (!signal) return answer;
  return new Promise((resolve, reject) => {
    const onAbort = () => { abandon(); reject(signal.reason); };
    signal.addEventListener("abort", onAbort, { once: true });
    const settle = (how) => (value) => {
      signal.removeEventListener("abort", onAbort);
      how(value);
    };
    answer.then(settle(resolve), settle(reject));
  });
}

// Names in any case, as properties and by the methods of Headers.
const headersView = (headers) => new Proxy(headers, {
  get(target, name) {
    const own = Reflect.get(target, name, target);
    if (typeof own === "function") return own.bind(target);
    if (own !== undefined || typeof name !== "string" || !/^[\w-]+$/.test(name)) return own;
    return target.get(name) ?? undefined;
  },
  has: (target, name) => name in target || (typeof name === "string" && target.has(name)),
  ownKeys: (target) => [...target.keys()],
  getOwnPropertyDescriptor: (target, name) => (
    typeof name === "string" && target.has(name)
      ? { value: target.get(name), enumerable: true, configurable: true } : undefined
  ),
});

class NetResponse {
  #text;
  #bytes;
  constructor(value) {
    const headers = new Headers();
    for (const [name, text] of value.headers) headers.append(name, text);
    this.status = value.status;
    this.ok = value.status >= 200 && value.status <= 299;
    this.headers = headersView(headers);
    this.url = value.url;
    this.redirected = value.redirected;
    if (typeof value.body === "string") this.#text = value.body;
    else this.#bytes = bodyOfValue(value.body);
  }
  text() { return (this.#text ??= decodeUtf8(this.#bytes)); }
  bytes() { return (this.#bytes ??= bodyOfValue(this.#text)).slice(); }
  json() {
    try {
      return JSON.parse(this.text());
    } catch (error) {
      throw new SyntaxError(`invalid JSON: ${error.message}`);
    }
  }
}

export const net = Object.freeze({
  /** A call that is answered before it returns. */
  fetch(url, options = {}) {
    let effect;
    try {
      const request = new Request(url, options ?? {});
      const content = contentOf(request);
      if (content?.stream) throw new TypeError("a stream is sent with fetch(), which can wait for it");
      effect = effectOf(request, content);
    } catch (error) {
      const blocked = new Error(`NET_BLOCKED: ${error.message}`);
      nameNetError(blocked);
      throw Object.assign(blocked, { code: "NET_BLOCKED", retryable: false });
    }
    try {
      return new NetResponse(callEffect(KIND, ...effect));
    } catch (error) {
      throw failure(error, Error);
    }
  },
});
