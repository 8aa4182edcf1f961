// Plain URLs and queries, taken apart by one expression instead of letter by letter.
//
// Owns a shortcut, no rule: what `recordOf` and `pairsOf` return is what the standard's own algorithm returns,
// and whatever could be changed by that algorithm is left to it (capital letters in a host, dots as
// a segment, letters to be escaped, an address that is not written in full).

const HOST = "(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?";
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const PATH = "[A-Za-z0-9\\-_~!$&'()*+,;=:@%./]*";
const QUERY = "[A-Za-z0-9\\-_~!$&()*+,;=:@%./?]*";
const PLAIN = new RegExp(
  `^(https?)://(?:(${HOST})|(${BYTE}\\.${BYTE}\\.${BYTE}\\.${BYTE}))(?::([1-9]\\d{0,4}))?(/${PATH})?(?:\\?(${QUERY}))?$`,
);
const PORTS = { http: 80, https: 443 };
const PORT_MAX = 65535;
const LENGTH_MAX = 4096; // longer ones are rare, and the expression may be slow on what does not match
const CHANGED = /\/\.|\/%2e/i; // a segment that begins with a dot
const PUNYCODE = /(?:^|\.)(?:xn--|..--)/; // these labels are checked

/** The record of a plain URL, as url-state-machine.js makes it; undefined for every other. */
export function recordOf(text) {
  if (text.length > LENGTH_MAX) return undefined;
  const match = PLAIN.exec(text);
  if (match === null) return undefined;
  const [, scheme, name, address, portText, path = "/", query = null] = match;
  if (CHANGED.test(path) || (name !== undefined && PUNYCODE.test(name))) return undefined;
  const port = portText === undefined ? null : Number(portText);
  if (port > PORT_MAX) return undefined;
  const host = name ?? address.split(".").reduce((number, part) => number * 256 + Number(part), 0);
  return {
    scheme, username: "", password: "", host, port: port === PORTS[scheme] ? null : port,
    path: path.slice(1).split("/"), query, fragment: null,
  };
}

const PLAIN_PAIRS = /^[!-$&-*,-~]*$/; // no percent sign, no plus

/** The pairs of a query in which nothing is escaped; undefined for every other. */
export function pairsOf(text) {
  if (text === "") return [];
  if (text.length > LENGTH_MAX || !PLAIN_PAIRS.test(text)) return undefined;
  const pairs = [];
  for (const part of text.split("&")) {
    if (part === "") continue;
    const at = part.indexOf("=");
    pairs.push(at < 0 ? [part, ""] : [part.slice(0, at), part.slice(at + 1)]);
  }
  return pairs;
}
