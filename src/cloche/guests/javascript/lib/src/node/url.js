// node:url: the standard URL, file URLs, and the older parse/format/resolve in a minimal form.

import { URL, URLSearchParams } from "../web/url.js";
import { toASCII as punycodeToAscii, toUnicode } from "punycode/punycode.es6.js";
import { codedError, invalidType, requireString } from "./errors.js";
import { currentDirectory } from "../host.js";
import path from "./path.js";
import querystring from "./querystring.js";

export { URL, URLSearchParams };

export function fileURLToPath(value) {
  const url = typeof value === "string" ? new URL(value) : value;
  if (!(url instanceof URL)) {
    throw invalidType("path", "of type string or an instance of URL", value);
  }
  if (url.protocol !== "file:") {
    throw codedError(TypeError, "ERR_INVALID_URL_SCHEME", "The URL must be of scheme file");
  }
  if (url.hostname !== "") {
    const message = "File URL host must be \"localhost\" or empty on wasi";
    throw codedError(TypeError, "ERR_INVALID_FILE_URL_HOST", message);
  }
  if (/%2f/i.test(url.pathname)) {
    const message = "File URL path must not include encoded / characters";
    throw codedError(TypeError, "ERR_INVALID_FILE_URL_PATH", message);
  }
  return decodeURIComponent(url.pathname);
}

export function pathToFileURL(text) {
  requireString(text, "path");
  const resolved = path.resolve(currentDirectory(), text);
  const slash = text.endsWith("/") && resolved !== "/" ? "/" : "";
  const escaped = (resolved + slash).replace(/[%\\\n\r\t?#]/g, encodeURIComponent);
  return new URL(`file://${escaped}`);
}

export function domainToASCII(domain) {
  try {
    return new URL(`ws://${domain}`).hostname;
  } catch {
    return "";
  }
}
export const domainToUnicode = (domain) => toUnicode(domainToASCII(domain) || punycodeToAscii(""));

export function urlToHttpOptions(url) {
  const options = {
    protocol: url.protocol, hostname: url.hostname.replace(/^\[|\]$/g, ""), hash: url.hash,
    search: url.search, pathname: url.pathname, path: `${url.pathname}${url.search}`,
    href: url.href,
  };
  if (url.port !== "") options.port = Number(url.port);
  if (url.username || url.password) {
    options.auth = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  }
  return options;
}

// ---- the older interface ----

// scheme, slashes, authority, path, query, fragment: the expression of RFC 3986, appendix B.
const PARTS = /^([a-zA-Z][a-zA-Z0-9+.-]*:)?(\/\/([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?$/s;
const SLASHED = new Set(["http:", "https:", "ftp:", "file:", "ws:", "wss:"]);

export class Url {
  protocol = null;
  slashes = null;
  auth = null;
  host = null;
  port = null;
  hostname = null;
  hash = null;
  search = null;
  query = null;
  pathname = null;
  path = null;
  href = "";
}

export function parse(text, wantsQuery = false, hostFollowsSlashes = false) {
  if (text instanceof Url) return text;
  const clean = requireString(text, "url").trim().replaceAll(" ", "%20");
  const [, scheme, slashes, authority, pathname, search, hash] = PARTS.exec(clean);
  const url = new Url();
  url.protocol = scheme?.toLowerCase() ?? null;
  const hasHost = slashes !== undefined && (scheme || hostFollowsSlashes);
  if (hasHost) readAuthority(url, authority);
  const rest = hasHost ? pathname : `${slashes ?? ""}${pathname}`;
  url.pathname = rest || (hasHost && SLASHED.has(url.protocol) ? "/" : null);
  url.search = search ?? (wantsQuery ? "" : null);
  url.query = wantsQuery ? querystring.parse(search?.slice(1) ?? "") : search?.slice(1) ?? null;
  url.hash = hash ?? null;
  url.path = url.pathname || search ? `${url.pathname ?? ""}${search ?? ""}` : null;
  url.href = format(url);
  return url;
}

function readAuthority(url, authority) {
  url.slashes = true;
  const at = authority.lastIndexOf("@");
  if (at >= 0) url.auth = decodeURIComponent(authority.slice(0, at));
  const host = authority.slice(at + 1);
  const port = /:(\d*)$/.exec(host);
  url.port = port?.[1] || null;
  const name = port ? host.slice(0, port.index) : host;
  url.hostname = (name.startsWith("[") ? name.slice(1, -1) : punycodeToAscii(name)).toLowerCase();
  const shown = url.hostname.includes(":") ? `[${url.hostname}]` : url.hostname;
  url.host = url.port ? `${shown}:${url.port}` : shown;
}

export function format(value, options = {}) {
  if (typeof value === "string") return parse(value).href;
  if (value instanceof URL) return formatStandard(value, options);
  if (typeof value !== "object" || value === null) {
    throw invalidType("urlObject", "of type string or an instance of Object", value);
  }
  const protocol = value.protocol ? `${value.protocol}`.replace(/:?$/, ":") : "";
  const auth = value.auth ? `${encodeURIComponent(value.auth).replace(/%3A/i, ":")}@` : "";
  const name = value.hostname?.includes(":") ? `[${value.hostname}]` : value.hostname;
  let host = value.host ?? (name ? name + (value.port ? `:${value.port}` : "") : "");
  if (host) host = auth + host;
  let pathname = value.pathname ?? "";
  const hasSlashes = value.slashes || (SLASHED.has(protocol) && host);
  if (hasSlashes && pathname && !pathname.startsWith("/")) pathname = `/${pathname}`;
  let search = value.search;
  if (!search && typeof value.query === "object" && value.query !== null) {
    search = querystring.stringify(value.query);
  }
  if (search && !search.startsWith("?")) search = `?${search}`;
  let hash = value.hash ?? "";
  if (hash && !hash.startsWith("#")) hash = `#${hash}`;
  const encoded = pathname.replace(/[?#]/g, encodeURIComponent);
  return protocol + (hasSlashes ? `//${host}` : host) + encoded +
    (search ?? "").replaceAll("#", "%23") + hash;
}

function formatStandard(url, options) {
  const copy = new URL(url.href);
  if (options.fragment === false) copy.hash = "";
  if (options.search === false) copy.search = "";
  if (options.auth === false) copy.username = copy.password = "";
  const { href, host, hostname } = copy;
  return options.unicode ? href.replace(host, host.replace(hostname, toUnicode(hostname))) : href;
}

/** Resolve as a browser resolves a link; `from` may be a path alone. */
export function resolve(from, to) {
  const BASE = "resolve://base/";
  const result = new URL(to, new URL(from, BASE));
  if (result.protocol !== "resolve:") return result.href;
  const { pathname, search, hash } = result;
  const isRooted = from.startsWith("/") || to.startsWith("/");
  return (isRooted ? pathname : pathname.slice(1)) + search + hash;
}
export const resolveObject = (from, to) => parse(resolve(from, to));

export default {
  URL, URLSearchParams, Url, domainToASCII, domainToUnicode, fileURLToPath, format, parse,
  pathToFileURL, resolve, resolveObject, urlToHttpOptions,
};
