// node:util on top of the core's inspect and format.

import { inspect, format, formatWithOptions } from "../host.js";
import { TextDecoder, TextEncoder } from "../web/encoding.js";
import { AbortController } from "../web/event.js";
import { isDeepStrictEqual } from "./deep_equal.js";
import { codedError, invalidType, requireFunction } from "./errors.js";
import { codeOfErrno, nameOfErrno } from "./errno.js";
import { parseArgs } from "./parse_args.js";
import types from "./util_types.js";

export { inspect, format, formatWithOptions, isDeepStrictEqual, types, parseArgs };
export { TextDecoder, TextEncoder };

const CUSTOM = Symbol.for("nodejs.util.promisify.custom");

export function promisify(original) {
  requireFunction(original, "original");
  const custom = original[CUSTOM];
  if (custom) {
    requireFunction(custom, "util.promisify.custom");
    return Object.defineProperty(custom, CUSTOM, { value: custom, configurable: true });
  }
  function promisified(...args) {
    return new Promise((resolve, reject) => {
      Reflect.apply(original, this, [...args, (error, value) => {
        if (error) reject(error);
        else resolve(value);
      }]);
    });
  }
  Object.setPrototypeOf(promisified, Object.getPrototypeOf(original));
  Object.defineProperty(promisified, CUSTOM, { value: promisified, configurable: true });
  return Object.defineProperties(promisified, Object.getOwnPropertyDescriptors(original));
}
promisify.custom = CUSTOM;

export function callbackify(original) {
  requireFunction(original, "original");
  function callbackified(...args) {
    const callback = requireFunction(args.pop(), "last argument");
    const settle = (...values) => queueMicrotask(() => callback.apply(this, values));
    Reflect.apply(original, this, args).then(
      (value) => settle(null, value),
      (reason) => settle(reason || falsyRejection(reason)),
    );
  }
  const shape = Object.getOwnPropertyDescriptors(original);
  if (typeof shape.length?.value === "number") shape.length.value += 1;
  if (typeof shape.name?.value === "string") shape.name.value += "Callbackified";
  return Object.defineProperties(callbackified, shape);
}

function falsyRejection(reason) {
  const message = "Promise was rejected with falsy value";
  const error = codedError(Error, "ERR_FALSY_VALUE_REJECTION", message);
  error.reason = reason;
  return error;
}

export function inherits(constructor, parent) {
  requireFunction(constructor, "ctor");
  requireFunction(parent, "superCtor");
  if (parent.prototype === undefined) {
    throw invalidType("superCtor.prototype", "of type object", parent.prototype);
  }
  Object.defineProperty(constructor, "super_", {
    value: parent, writable: true, configurable: true,
  });
  Object.setPrototypeOf(constructor.prototype, parent.prototype);
}

const warned = new Set();

export function deprecate(original, message, code) {
  requireFunction(original, "fn");
  let done = false;
  function deprecated(...args) {
    if (!done) {
      done = true;
      if (code === undefined || !warned.has(code)) {
        if (code !== undefined) warned.add(code);
        globalThis.process?.emitWarning(message, "DeprecationWarning", code);
      }
    }
    if (new.target) return Reflect.construct(original, args, new.target);
    return Reflect.apply(original, this, args);
  }
  Object.setPrototypeOf(deprecated, original);
  if (original.prototype) deprecated.prototype = original.prototype;
  return deprecated;
}

export function debuglog(section) {
  const names = String(globalThis.process?.env?.NODE_DEBUG ?? "").toUpperCase().split(",");
  const log = (...args) => {
    if (!log.enabled) return;
    globalThis.process.stderr.write(`${section.toUpperCase()} 1: ${format(...args)}\n`);
  };
  log.enabled = names.includes(section.toUpperCase());
  return log;
}
export const debug = debuglog;

// The patterns of terminal control sequences: CSI with parameters, and OSC up to its end.
const CONTROL = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]/g;

export function stripVTControlCharacters(text) {
  if (typeof text !== "string") throw invalidType("str", "of type string", text);
  return text.replace(CONTROL, "");
}

export function styleText(style, text) {
  const styles = Array.isArray(style) ? style : [style];
  let result = text;
  for (const name of styles.toReversed()) {
    const codes = inspect.colors?.[name];
    if (!codes) throw invalidType("format", "the name of a known style", name);
    result = `\x1b[${codes[0]}m${result}\x1b[${codes[1]}m`;
  }
  return result;
}

export const toUSVString = (text) => String(text).toWellFormed();
export const isArray = Array.isArray;
export const getSystemErrorName = (errno) => nameOfErrno(errno);
export const getSystemErrorMap = () => new Map(codeOfErrno());
export const aborted = (signal) => new Promise((resolve) => {
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
});
export const transferableAbortController = () => new AbortController();

export default {
  TextDecoder, TextEncoder, aborted, callbackify, debug, debuglog, deprecate, format,
  formatWithOptions, getSystemErrorMap, getSystemErrorName, inherits, inspect, isArray,
  isDeepStrictEqual, parseArgs, promisify, stripVTControlCharacters, styleText, toUSVString, types,
};
