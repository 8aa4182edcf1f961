// What an app is sent, as the host writes it: X7RQ, with the fields as X7HT.

import { fieldLines, latin1 } from "../host.js";

const METHODS = [, "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
const METHOD_AT = 5;
const TARGET_AT = 8;
const LENGTH_BYTES = 4; // before target, fields and body

const numberAt = (bytes, at) => (
  bytes[at] + bytes[at + 1] * 0x100 + bytes[at + 2] * 0x10000 + bytes[at + 3] * 0x1000000
);

const endAt = (bytes, at) => at + LENGTH_BYTES + numberAt(bytes, at);

export const methodOf = (bytes) => METHODS[bytes[METHOD_AT]];

/** Path and query. */
export const targetOf = (bytes) => latin1(bytes, TARGET_AT + LENGTH_BYTES, endAt(bytes, TARGET_AT));

/** The fields: [name, value, name, …], in order of arrival. */
export const linesOf = (bytes) => {
  const at = endAt(bytes, TARGET_AT);
  return fieldLines(bytes, at + LENGTH_BYTES, endAt(bytes, at));
};

/** The body; undefined for none. */
export const contentOfBytes = (bytes) => {
  const at = endAt(bytes, endAt(bytes, TARGET_AT)) + LENGTH_BYTES;
  return bytes.length > at ? bytes.subarray(at) : undefined;
};
