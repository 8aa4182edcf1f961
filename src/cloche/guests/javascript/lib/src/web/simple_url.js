// Plain URLs and queries, taken apart by one expression instead of letter by letter.
//
// Owns a shortcut, no rule: what `partsOf`, `recordOf` and `pairsOf` return is what the standard's own
// algorithm returns, and whatever could be changed by that algorithm is left to it (capital letters in
// a host, dots as a segment, letters to be escaped, an address that is not written in full).

import { plainUrl as nativePlainUrl } from "../host.js";

const HOST = "(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?";
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const PATH = "[A-Za-z0-9\\-_~!$&'()*+,;=:@%./]*";
const QUERY = "[A-Za-z0-9\\-_~!$&()*+,;=:@%./?]*";
const PLAIN = new RegExp(
  `^(https?)://(?:(${HOST})|(${BYTE}\\.${BYTE}\\.${BYTE}\\.${BYTE}))(?::([1-9]\\d{0,4}))?(/${PATH})?(?:\\?(${QUERY}))?$`,
);
const ADDRESS = /^[\d.]+$/;
const PORTS = { http: "80", https: "443" };
const PORT_MAX = 65535;
const LENGTH_MAX = 4096; // longer ones are rare, and the expression may be slow on what does not match
const CHANGED = /\/\.|\/%2e/i; // a segment that begins with a dot
const PUNYCODE = /(?:^|\.)(?:xn--|..--)/; // these labels are checked

// The URL of a request is parsed more than once.
let lastText;
let lastParts;

/** [scheme, host, port ("" for the usual one), path, query] of a plain URL; undefined for others. */
export function partsOf(text) {
  if (text === lastText) return lastParts;
  const parts = plainUrl(text);
  lastText = text;
  lastParts = parts;
  return parts;
}

const plainUrl = nativePlainUrl ?? ((text) => {
  if (text.length > LENGTH_MAX) return undefined;
  const match = PLAIN.exec(text);
  if (match === null) return undefined;
  const [, scheme, name, address, given = "", path = "/", query] = match;
  if (CHANGED.test(path) || (name !== undefined && PUNYCODE.test(name))) return undefined;
  if (Number(given) > PORT_MAX) return undefined;
  return [scheme, name ?? address, given === PORTS[scheme] ? "" : given, path, query];
});

/** The record of a plain URL, as url-state-machine.js makes it; undefined for every other. */
export function recordOf(text) {
  const parts = partsOf(text);
  if (parts === undefined) return undefined;
  const [scheme, host, port, path, query] = parts;
  return {
    scheme, username: "", password: "", host: ADDRESS.test(host) ? addressOf(host) : host,
    port: port === "" ? null : Number(port), path: path.slice(1).split("/"), query: query ?? null,
    fragment: null,
  };
}

const addressOf = (text) => text.split(".").reduce((number, part) => number * 256 + Number(part), 0);

const PLAIN_PAIRS = /^[!-~]*$/;
const decode = decodeURIComponent; // programs replace it

/** The pairs of a query of visible ASCII in which what is escaped is UTF-8; undefined for others. */
export function pairsOf(text) {
  if (text === "") return [];
  if (text.length > LENGTH_MAX || !PLAIN_PAIRS.test(text)) return undefined;
  const plain = text.includes("+") ? text.replaceAll("+", " ") : text;
  const decoded = text.includes("%") ? decode : (part) => part;
  const pairs = [];
  try {
    for (const part of plain.split("&")) {
      if (part === "") continue;
      const at = part.indexOf("=");
      pairs.push(at < 0 ? [decoded(part), ""] : [decoded(part.slice(0, at)), decoded(part.slice(at + 1))]);
    }
  } catch {
    return undefined; // no UTF-8, or a percent sign that escapes nothing
  }
  return pairs;
}
