// URL and URLSearchParams: whatwg-url, the standard's own reference implementation.

import paramsWrapper from "whatwg-url/lib/URLSearchParams.js";
import machine from "whatwg-url/lib/url-state-machine.js";
import urlencoded from "whatwg-url/lib/urlencoded.js";
import utils from "whatwg-url/lib/utils.js";
import wrapper from "whatwg-url/webidl2js-wrapper.js";
import { pairsOf, partsOf, recordOf } from "./simple_url.js";
import { codedError } from "../node/errors.js";
import { inspect } from "../host.js";

// The classes call what the module exports, so this is seen by them.
const { basicURLParse } = machine;
machine.basicURLParse = (text, options = undefined) => (
  (options?.baseURL || options?.stateOverride || options?.url ? undefined : recordOf(text)) ??
    basicURLParse(text, options)
);

const { parseUrlencodedString } = urlencoded;
urlencoded.parseUrlencodedString = (text) => pairsOf(text) ?? parseUrlencodedString(text);

const realm = { Array, Object, Promise, String, TypeError };
wrapper.URL.install(realm, ["Window"]);
wrapper.URLSearchParams.install(realm, ["Window"]);
export const { URLSearchParams } = realm;

const { URL: StandardURL } = realm;

// Places in what `partsOf` returns.
const SCHEME = 0;
const HOST = 1;
const PORT = 2;
const PATH = 3;
const QUERY = 4;

const hostOf = (parts) => (parts[PORT] === "" ? parts[HOST] : `${parts[HOST]}:${parts[PORT]}`);
const hrefOf = (parts) => {
  const search = parts[QUERY] === undefined ? "" : `?${parts[QUERY]}`;
  return `${parts[SCHEME]}://${hostOf(parts)}${parts[PATH]}${search}`;
};

/** Stands for the URL of parameters until one of them is changed: then there is a whole one. */
class Unmade {
  #make;
  constructor(make) {
    this.#make = make;
    this._url = this; // where the reference implementation has the record of a URL
  }
  set query(text) { this.#make()._url.query = text; }
}

/** A plain URL is its parts; every other, and one that is changed, the reference implementation's. */
export class URL {
  #parts;
  #standard;
  #params; // those that somebody asked for while there were parts

  constructor(url, base = undefined) {
    if (base !== undefined || arguments.length === 0) {
      this.#standard = made(arguments);
      return;
    }
    const text = typeof url === "string" ? url : textOf(url);
    this.#parts = partsOf(text);
    if (this.#parts === undefined) this.#standard = made([text]);
  }

  #whole() {
    if (this.#standard === undefined) {
      this.#standard = new StandardURL(hrefOf(this.#parts));
      this.#parts = undefined;
      if (this.#params !== undefined) {
        const made = utils.implForWrapper(this.#standard);
        made._query = this.#params;
        this.#params._url = made;
      }
    }
    return this.#standard;
  }

  get href() { return this.#text(); }
  set href(value) { this.#whole().href = value; }
  get origin() {
    return this.#parts ? `${this.#parts[SCHEME]}://${hostOf(this.#parts)}` : this.#standard.origin;
  }
  get protocol() { return this.#parts ? `${this.#parts[SCHEME]}:` : this.#standard.protocol; }
  set protocol(value) { this.#whole().protocol = value; }
  get username() { return this.#parts ? "" : this.#standard.username; }
  set username(value) { this.#whole().username = value; }
  get password() { return this.#parts ? "" : this.#standard.password; }
  set password(value) { this.#whole().password = value; }
  get host() { return this.#parts ? hostOf(this.#parts) : this.#standard.host; }
  set host(value) { this.#whole().host = value; }
  get hostname() { return this.#parts ? this.#parts[HOST] : this.#standard.hostname; }
  set hostname(value) { this.#whole().hostname = value; }
  get port() { return this.#parts ? this.#parts[PORT] : this.#standard.port; }
  set port(value) { this.#whole().port = value; }
  get pathname() { return this.#parts ? this.#parts[PATH] : this.#standard.pathname; }
  set pathname(value) { this.#whole().pathname = value; }
  get search() {
    if (this.#parts === undefined) return this.#standard.search;
    return this.#parts[QUERY] ? `?${this.#parts[QUERY]}` : "";
  }
  set search(value) { this.#whole().search = value; }
  get searchParams() {
    if (this.#parts === undefined) return this.#standard.searchParams;
    if (this.#params === undefined) {
      const query = this.#parts[QUERY] ?? "";
      this.#params = paramsWrapper.createImpl(realm, [query], { doNotStripQMark: true });
      this.#params._url = new Unmade(() => utils.implForWrapper(this.#whole()));
    }
    return utils.wrapperForImpl(this.#params);
  }
  get hash() { return this.#parts ? "" : this.#standard.hash; }
  set hash(value) {
    // Nothing to take away.
    if (value !== "" || this.#parts === undefined) this.#whole().hash = value;
  }
  #text() { return this.#parts ? hrefOf(this.#parts) : this.#standard.href; }
  toString() { return this.#text(); }
  toJSON() { return this.#text(); }

  static canParse(...args) { return StandardURL.canParse(...args); }
  static parse(...args) { return URL.canParse(...args) ? new URL(...args) : null; }
}
const { prototype } = URL;
for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
  if (name !== "constructor") Object.defineProperty(prototype, name, { ...descriptor, enumerable: true });
}
for (const name of ["canParse", "parse"]) Object.defineProperty(URL, name, { enumerable: true });
Object.defineProperty(prototype, Symbol.toStringTag, { value: "URL", configurable: true });

/** What the reference implementation makes of arguments, with node's error for what is no URL. */
function made(args) {
  try {
    return new StandardURL(...args);
  } catch (error) {
    throw args.length && error instanceof TypeError ? invalidUrl(args) : error;
  }
}

function textOf(value) {
  try {
    return `${value}`;
  } catch (error) {
    throw error instanceof TypeError ? invalidUrl([value]) : error;
  }
}

function invalidUrl([input, base]) {
  const error = codedError(TypeError, "ERR_INVALID_URL", "Invalid URL");
  error.input = String(input);
  if (base !== undefined) error.base = String(base);
  return error;
}

const SHOWN = [
  "href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname",
  "search", "searchParams", "hash",
];
const custom = Symbol.for("nodejs.util.inspect.custom");
const show = (prototype, value) => {
  Object.defineProperty(prototype, custom, { value, writable: true, configurable: true });
};

show(URL.prototype, function inspectUrl(depth, options) {
  if (depth < 0) return `[${this.constructor.name}]`;
  const fields = Object.fromEntries(SHOWN.map((name) => [name, this[name]]));
  return `${this.constructor.name} ${inspect(fields, options)}`;
});

show(URLSearchParams.prototype, function inspectParams(depth, options) {
  if (depth < 0) return "[Object]";
  const pairs = [...this].map(([key, value]) => (
    `${inspect(key, options)} => ${inspect(value, options)}`
  ));
  return pairs.length ? `URLSearchParams { ${pairs.join(", ")} }` : "URLSearchParams {}";
});
