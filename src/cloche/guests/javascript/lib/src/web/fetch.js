// fetch, Request and Response of the Fetch standard, and net.fetch, which waits inside the turn.
//
// Both ask the host for an effect of kind http.fetch. Invariants: nothing here decides where a
// program may go, the host does; the target of the effect is what the URL says, else the host
// refuses; a failure has the host's code.

import { abandonable, callEffect, decodeUtf8, inspect, quote } from "../host.js";
import {
  Body, TypedText, bodyArgument, bodyOfValue, contentMade, contentOf, copyContent, extractBody, markUsed, wholeContent,
} from "./body.js";
import {
  Headers, addLine, hasLine, headerLines, headerLinesText, knownHeaders,
} from "./headers.js";
import { linesOf } from "./incoming.js";
import { partsOf } from "./simple_url.js";
import { URL } from "./url.js";

const KIND = "http.fetch";
const TYPE = "content-type";
const JSON_TYPE = "application/json";
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

/** The request that an app got: its URL and headers are read when somebody asks for them. */
export const incomingRequest = (parts, content) => new Request(INCOMING, parts, content);

export class Request extends Body {
  // {method, url, headers, signal, redirect, timeout, auth}; `url` is a text until it is parsed, and
  // `headers` the bytes of a whole request until they are read
  #parts;

  constructor(input, init = {}, incoming = null) {
    if (input === INCOMING) {
      super(incoming);
      this.#parts = init;
      return;
    }
    const base = input instanceof Request ? input : undefined;
    const url = base ? base.#parsed() : parseUrl(input);
    if (url.username || url.password) {
      throw new TypeError("Request cannot be constructed from a URL that includes credentials");
    }
    const before = base?.#parts;
    const method = canonicalMethod(init.method ?? before?.method ?? "GET");
    const given = init.body ?? null;
    if (given !== null && (method === "GET" || method === "HEAD")) {
      throw new TypeError("Request with GET/HEAD method cannot have body.");
    }
    let content = null;
    if (given !== null) content = extractBody(given);
    else if (base && init.body === undefined) content = contentOf(base);
    super(content);
    if (base && init.body === undefined) markUsed(base);
    const headers = new Headers(init.headers ?? (base ? headerLines(base.headers) : undefined));
    nameType(headers, content);
    this.#parts = {
      method, url, headers, signal: init.signal ?? before?.signal ?? null,
      redirect: init.redirect ?? before?.redirect ?? "follow",
      timeout: init.timeout ?? before?.timeout, auth: init.auth ?? before?.auth,
    };
  }

  get method() { return this.#parts.method; }
  #parsed() {
    const parts = this.#parts;
    if (typeof parts.url === "string") parts.url = parseUrl(parts.url);
    return parts.url;
  }
  get url() {
    const { url } = this.#parts;
    // What is plain is written already as it would be after it was parsed.
    if (typeof url === "string" && partsOf(url)) return url;
    return this.#parsed().href;
  }
  get headers() {
    const parts = this.#parts;
    if (parts.headers instanceof Uint8Array) parts.headers = knownHeaders(linesOf(parts.headers));
    return parts.headers;
  }
  get signal() { return this.#parts.signal; }
  get redirect() { return this.#parts.redirect; }
  clone() {
    const { method, signal, redirect, timeout, auth } = this.#parts;
    return new Request(this.url, {
      timeout, auth, method, headers: headerLines(this.headers), signal, redirect,
      body: copyContent(this),
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
      const { method, timeout, auth, redirect } = request.#parts;
      const args = { url: request.url, method, headers: headerLines(request.headers) };
      if (content !== null) args.body = bodyArgument(content);
      if (timeout !== undefined && timeout !== null && timeout !== Infinity) {
        // JSON has no NaN; what is no number goes as text, and the host refuses it.
        args.timeout_ms = Number.isFinite(+timeout) ? +timeout : String(timeout);
      }
      if (auth !== undefined && auth !== null) args.auth = String(auth);
      if (redirect !== "follow") args.redirect = String(redirect);
      return [targetOf(method, request.#parsed()), args];
    };
  }
}

const nameType = (headers, content) => {
  if (content?.type && !hasLine(headers, TYPE)) addLine(headers, TYPE, content.type);
};

const checkStatus = (status) => {
  if (status >= 200 && status <= 599) return status;
  throw new RangeError("The status of a Response is in the range [200, 599].");
};

/** The response that an effect's value stands for. */
let responseOf;
/** The lines of a response as JSON: a list of pairs. */
export let linesText;
const NOTHING_MORE = { statusText: "", url: "", redirected: false, type: "default" };

export class Response extends Body {
  #status;
  #headers; // those that were given, else made when somebody asks for them
  #more = NOTHING_MORE; // what only few responses have

  constructor(body = null, init = undefined) {
    let status = 200;
    let headers, statusText;
    if (init !== undefined) {
      ({ headers, statusText } = init);
      if (init.status !== undefined) status = Math.trunc(checkStatus(Number(init.status)));
    }
    const content = body === null || body === undefined ? null : extractBody(body);
    if (content !== null && status !== 200 && NO_BODY.has(status)) {
      throw new TypeError("Response with null body status cannot have body");
    }
    super(content);
    this.#status = status;
    if (headers !== undefined && headers !== null) {
      this.#headers = new Headers(headers);
      nameType(this.#headers, content);
    }
    if (statusText !== undefined && statusText !== null) {
      this.#more = { ...NOTHING_MORE, statusText: String(statusText) };
    }
  }

  get status() { return this.#status; }
  get statusText() { return this.#more.statusText; }
  get ok() { return this.#status >= 200 && this.#status <= 299; }
  get headers() {
    if (this.#headers === undefined) {
      this.#headers = new Headers();
      nameType(this.#headers, contentMade(this));
    }
    return this.#headers;
  }
  get url() { return this.#more.url; }
  get redirected() { return this.#more.redirected; }
  get type() { return this.#more.type; }
  clone() {
    const copy = new Response(copyContent(this), { headers: headerLines(this.headers) });
    copy.#status = this.#status;
    copy.#more = this.#more;
    return copy;
  }
  get [Symbol.toStringTag]() { return "Response"; }
  [custom](depth, options) {
    const { status, statusText, ok, url, redirected, headers } = this;
    return `Response ${inspect({ status, statusText, ok, url, redirected, headers }, options)}`;
  }

  static json(value, init = {}) {
    const text = JSON.stringify(value);
    const response = new Response(text === undefined ? null : new TypedText(text, JSON_TYPE), init);
    // Without a content there is none that names its type.
    if (text === undefined) nameType(response.headers, { type: JSON_TYPE });
    return response;
  }
  static error() {
    const response = new Response();
    response.#status = 0;
    response.#more = { ...NOTHING_MORE, type: "error" };
    return response;
  }
  static redirect(url, status = 302) {
    if (!REDIRECTS.has(status)) throw new RangeError("Failed to execute 'redirect': Invalid status code");
    return new Response(null, { status, headers: { location: parseUrl(url).href } });
  }

  static {
    linesText = (response) => {
      if (response.#headers !== undefined) return headerLinesText(response.#headers);
      const type = contentMade(response)?.type;
      return type ? `[["content-type",${quote(type)}]]` : "[]";
    };
    responseOf = (value) => {
      const body = NO_BODY.has(value.status) ? null : bodyOfValue(value.body);
      const response = new Response(body);
      response.#status = value.status;
      response.#more = {
        statusText: String(value.reason ?? ""), url: value.url, redirected: value.redirected,
        type: "basic",
      };
      for (const [name, text] of value.headers) response.headers.append(name, text);
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
