// Stands in for `@exodus/bytes` inside whatwg-url. A URL made from a program's text has no
// document encoding: the query is UTF-8 always, so the tables of other encodings stay out.

import { encodeUtf8 } from "../host.js";

const HEX = "0123456789ABCDEF";
const UNRESERVED_LOW = 0x20;
const UNRESERVED_HIGH = 0x7e;

/** Percent-encode `input` as UTF-8: controls, non-ASCII and the characters of `extra`. */
export function percentEncodeAfterEncoding(_encoding, input, extra, spaceAsPlus = false) {
  let result = "";
  for (const byte of encodeUtf8(input)) {
    const char = String.fromCharCode(byte);
    if (spaceAsPlus && byte === UNRESERVED_LOW) result += "+";
    else if (byte < UNRESERVED_LOW || byte > UNRESERVED_HIGH || extra.includes(char)) {
      result += `%${HEX[byte >> 4]}${HEX[byte & 15]}`;
    } else result += char;
  }
  return result;
}
