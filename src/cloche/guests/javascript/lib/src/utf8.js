// UTF-8 in JavaScript, for a core that offers no codec of the engine. Follows the Encoding
// standard: one U+FFFD for each maximal invalid part.

const CHUNK_UNITS = 4096;
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

function decode(bytes) {
  let text = "";
  let units = [];
  let hasErrors = false;
  for (let index = 0; index < bytes.length;) {
    const [point, size] = readPoint(bytes, index);
    hasErrors ||= point < 0;
    index += size;
    if (point > 0xffff) {
      units.push(0xd7c0 + (point >> 10), 0xdc00 | (point & 0x3ff));
    } else {
      units.push(point < 0 ? REPLACEMENT : point);
    }
    if (units.length >= CHUNK_UNITS) {
      text += String.fromCharCode(...units);
      units = [];
    }
  }
  return { text: text + String.fromCharCode(...units), hasErrors };
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
