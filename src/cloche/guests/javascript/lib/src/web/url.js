// URL and URLSearchParams: whatwg-url, the standard's own reference implementation.

import machine from "whatwg-url/lib/url-state-machine.js";
import urlencoded from "whatwg-url/lib/urlencoded.js";
import wrapper from "whatwg-url/webidl2js-wrapper.js";
import { pairsOf, recordOf } from "./simple_url.js";
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

/** The standard class, with node's error for what is not a URL. */
export class URL extends realm.URL {
  constructor(...args) {
    try {
      super(...args);
    } catch (error) {
      throw args.length && error instanceof TypeError ? invalidUrl(args) : error;
    }
  }

  static parse(...args) { return URL.canParse(...args) ? new URL(...args) : null; }
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
