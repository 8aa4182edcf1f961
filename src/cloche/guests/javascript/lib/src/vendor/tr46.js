// Stands in for the `tr46` package inside whatwg-url: domain to ASCII.
//
// UTS 46 mapping is NFKC case folding with a table of exceptions; the table would add a megabyte to
// every image. The engine has NFKC, so the exceptions are what differs: a few hundred symbols that
// UTS 46 forbids are accepted here. Hyphen, bidi and joiner rules are not checked (the URL standard
// turns the first off anyway).

import { toASCII as encode, decode } from "punycode/punycode.es6.js";

const LABEL_BYTES_MAX = 63;
const DOMAIN_BYTES_MAX = 253;
const IGNORED = /[\u00ad\u034f\u180b-\u180d\u180f\u200b\u2060\u2064\ufe00-\ufe0f\ufeff]/gu;
const DOTS = /[\u3002\uff0e\uff61]/gu;
const MARK_FIRST = /^\p{M}/u;
const FORBIDDEN = /[\p{Cn}\p{Cs}\p{Co}\u200e\u200f\u202a-\u202e\u2028\u2029\ufffc\ufffd]/u;

/** The ASCII form of a domain, or null when it has none. */
export function toASCII(domain, options = {}) {
  const mapped = mapDomain(domain);
  const labels = mapped.split(".");
  if (!labels.every(isValidLabel)) return null;
  const result = encode(mapped);
  if (options.verifyDNSLength) {
    const tooLong = result.length > DOMAIN_BYTES_MAX || result.length === 0;
    const isBadLabel = (label) => label.length > LABEL_BYTES_MAX || label.length === 0;
    if (tooLong || result.split(".").some(isBadLabel)) return null;
  }
  return result;
}

function mapDomain(domain) {
  const clean = domain.replace(IGNORED, "").replace(DOTS, ".");
  // Capital sharp s folds to "ss" in NFKC_Casefold, but UTS 46 keeps sharp s as itself.
  return clean.normalize("NFKC").toLowerCase().replace(/\u1e9e/gu, "ß").normalize("NFKC");
}

function isValidLabel(label) {
  if (MARK_FIRST.test(label) || FORBIDDEN.test(label)) return false;
  if (!label.startsWith("xn--")) return true;
  try {
    const text = decode(label.slice(4));
    const isAscii = /^[\x00-\x7f]*$/.test(text);
    return text !== "" && !isAscii && mapDomain(text) === text && isValidLabel(text);
  } catch {
    return false;
  }
}

export default { toASCII };
