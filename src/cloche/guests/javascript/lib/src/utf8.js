// UTF-8 in JavaScript, for a core that offers no codec of the engine. Follows the Encoding
// standard: one U+FFFD for each maximal invalid part.

const CHUNK_BYTES = 4096;
const ASCII = /^[\x00-\x7f]*$/;
const REPLACEMENT = 0xfffd;

export function encodeUtf8(text) {
  const bytes = new Uint8Array(text.length * 3);
  let at = 0;
  for (let index = 0; index < text.length; index += 1) {
    let point = text.charCodeAt(index);
    if (point < 0x80) {
      bytes[at++] = point;
      continue;
    }
    if (point >= 0xd800 && point <= 0xdfff) {
      point = text.codePointAt(index);
      if (point > 0xffff) index += 1;
      else point = REPLACEMENT;
    }
    if (point < 0x800) {
      bytes[at++] = 0xc0 | (point >> 6);
    } else {
      if (point < 0x10000) {
        bytes[at++] = 0xe0 | (point >> 12);
      } else {
        bytes[at++] = 0xf0 | (point >> 18);
        bytes[at++] = 0x80 | ((point >> 12) & 0x3f);
      }
      bytes[at++] = 0x80 | ((point >> 6) & 0x3f);
    }
    bytes[at++] = 0x80 | (point & 0x3f);
  }
  return bytes.slice(0, at);
}

export const decodeUtf8 = (bytes) => decode(bytes).text;
export const isValidUtf8 = (bytes) => !decode(bytes).hasErrors;

// In chunks, each by what is fastest for it: the engine turns bytes into a Latin-1 string and has
// a strict UTF-8 decoder in decodeURIComponent; only what that refuses is read byte by byte.
function decode(bytes) {
  let text = "";
  let hasErrors = false;
  for (let start = 0; start < bytes.length;) {
    const end = chunkEnd(bytes, start);
    const part = bytes.subarray(start, end);
    const latin = String.fromCharCode.apply(null, part);
    start = end;
    if (ASCII.test(latin)) {
      text += latin;
      continue;
    }
    try {
      text += decodeURIComponent(escape(latin));
    } catch {
      hasErrors = true;
      text += decodeLoosely(part);
    }
  }
  return { text, hasErrors };
}

// Not inside a character; a character has at most three continuation bytes.
function chunkEnd(bytes, start) {
  let end = start + CHUNK_BYTES;
  if (end >= bytes.length) return bytes.length;
  for (let back = 0; back < 3 && (bytes[end] & 0xc0) === 0x80; back += 1) end -= 1;
  return end;
}

function decodeLoosely(bytes) {
  let text = "";
  for (let index = 0; index < bytes.length;) {
    const [point, size] = readPoint(bytes, index);
    text += String.fromCodePoint(point < 0 ? REPLACEMENT : point);
    index += size;
  }
  return text;
}

/** The code point at `index` and its length; -1 and the length of the maximal invalid part. */
function readPoint(bytes, index) {
  const first = bytes[index];
  if (first < 0x80) return [first, 1];
  if (first < 0xc2 || first > 0xf4) return [-1, 1];
  const count = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
  let low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  let high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  let point = first & (0x3f >> count);
  for (let step = 1; step <= count; step += 1) {
    const next = bytes[index + step];
    if (next === undefined || next < low || next > high) return [-1, step];
    point = (point << 6) | (next & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  return [point, count + 1];
}
