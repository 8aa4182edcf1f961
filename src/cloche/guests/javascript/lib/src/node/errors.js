// node's error objects: a `code` on the instance, the code in the stack line, stable messages.

import { inspect } from "../host.js";

/** Make `new Type(message)` with `code`, shown as node does: `TypeError [CODE]: message`. */
export function codedError(Type, code, message) {
  const error = new Type(message);
  Object.defineProperty(error, "code", {
    value: code, writable: true, enumerable: true, configurable: true,
  });
  const head = `${error.name} [${code}]: ${message}\n`;
  const stack = String(error.stack ?? "");
  Object.defineProperty(error, "stack", {
    value: head + stack.replace(/^[A-Za-z]*Error[^\n]*\n(?=\s+at )/, ""),
    writable: true,
    configurable: true,
  });
  return error;
}

const SHOWN_MAX = 28;

/** Say what an argument was, in node's words: `Received undefined`, `Received type number (3)`. */
export function describe(value) {
  if (value === null || value === undefined) return ` Received ${value}`;
  if (typeof value === "function") return ` Received function ${value.name}`;
  if (typeof value === "object") {
    const name = value.constructor?.name;
    return name ? ` Received an instance of ${name}` : " Received [Object: null prototype] {}";
  }
  let shown = typeof value === "bigint" ? `${value}n` : String(value);
  if (typeof value === "string") {
    shown = `'${shown.length > SHOWN_MAX ? `${shown.slice(0, SHOWN_MAX - 3)}...` : shown}'`;
  }
  return ` Received type ${typeof value} (${shown})`;
}

/** The TypeError for an argument of the wrong type; `expected` as in "of type string". */
export function invalidType(name, expected, value) {
  const kind = name.includes(".") ? "property" : "argument";
  const message = `The "${name}" ${kind} must be ${expected}.${describe(value)}`;
  return codedError(TypeError, "ERR_INVALID_ARG_TYPE", message);
}

/** The RangeError for a number outside its range. */
export function outOfRange(name, range, value) {
  const message = `The value of "${name}" is out of range. It must be ${range}. Received ${value}`;
  return codedError(RangeError, "ERR_OUT_OF_RANGE", message);
}

/** The TypeError for a value that is not one of those allowed. */
export function invalidValue(name, value, reason = "is invalid") {
  const kind = name.includes(".") ? "property" : "argument";
  const message = `The ${kind} '${name}' ${reason}. Received ${inspect(value)}`;
  return codedError(TypeError, "ERR_INVALID_ARG_VALUE", message);
}

export function requireFunction(value, name) {
  if (typeof value !== "function") throw invalidType(name, "of type function", value);
  return value;
}

export function requireString(value, name) {
  if (typeof value !== "string") throw invalidType(name, "of type string", value);
  return value;
}
