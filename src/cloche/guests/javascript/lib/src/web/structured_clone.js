// structuredClone: the HTML "StructuredSerialize/Deserialize" pair in one walk.
//
// Keeps identity and cycles; drops prototypes, accessors and property flags, as the standard says.
// It does not copy host objects: what has inner slots that it does not know is a DataCloneError.

import { codedError } from "../node/errors.js";

const ERROR_TYPES = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

/** Extra classes that can be cloned: [test, copy]. Filled by the modules that own them. */
export const cloneable = [];

const refuse = (what) => {
  throw new DOMException(`${what} could not be cloned.`, "DataCloneError");
};

const hasSlot = (getter, value) => {
  try {
    getter.call(value);
    return true;
  } catch {
    return false;
  }
};
const slotOf = (prototype, name) => Object.getOwnPropertyDescriptor(prototype, name).get;
const mapSize = slotOf(Map.prototype, "size");
const setSize = slotOf(Set.prototype, "size");

/** Copy `value` as HTML's structuredClone does; `options.transfer` lists buffers to detach. */
export function structuredClone(value, options) {
  if (arguments.length === 0) {
    throw codedError(TypeError, "ERR_MISSING_ARGS", "The value argument must be specified");
  }
  const transfer = transferList(options);
  const copy = cloneValue(value, new Map());
  // Copied first and detached last: views on the same buffer stay readable during the walk.
  for (const buffer of transfer) buffer.transfer();
  return copy;
}

function transferList(options) {
  const list = new Set();
  for (const item of options?.transfer ?? []) {
    if (!(item instanceof ArrayBuffer) || item.detached) refuse("A value in the transfer list");
    if (list.has(item)) refuse("A value that is twice in the transfer list");
    list.add(item);
  }
  return list;
}

function cloneValue(value, seen) {
  if (typeof value === "symbol" || typeof value === "function") refuse(String(value));
  if (typeof value !== "object" || value === null) return value;
  if (seen.has(value)) return seen.get(value);
  const leaf = cloneLeaf(value);
  if (leaf !== undefined) {
    seen.set(value, leaf);
    return leaf;
  }
  if (ArrayBuffer.isView(value)) return cloneView(value, seen);
  if (hasSlot(mapSize, value)) return cloneMap(value, seen);
  if (hasSlot(setSize, value)) return cloneSet(value, seen);
  if (Error.isError(value)) return cloneError(value, seen);
  return cloneObject(value, seen);
}

function cloneLeaf(value) {
  if (value instanceof Date) return new Date(Date.prototype.getTime.call(value));
  if (value instanceof RegExp) return new RegExp(value.source, value.flags);
  if (value instanceof ArrayBuffer) return cloneBuffer(value);
  if (value instanceof SharedArrayBuffer) return value;
  for (const type of [Boolean, Number, String, BigInt]) {
    if (value instanceof type) return Object(type.prototype.valueOf.call(value));
  }
  return undefined;
}

function cloneBuffer(buffer) {
  if (buffer.detached) refuse("An ArrayBuffer is detached and");
  if (!buffer.resizable) return ArrayBuffer.prototype.slice.call(buffer, 0);
  const copy = new ArrayBuffer(buffer.byteLength, { maxByteLength: buffer.maxByteLength });
  new Uint8Array(copy).set(new Uint8Array(buffer));
  return copy;
}

function cloneView(view, seen) {
  const offset = view.byteOffset;
  const length = view instanceof DataView ? view.byteLength : view.length;
  // A Buffer's class is not part of what is cloned: it arrives as a Uint8Array.
  const Type = view instanceof DataView ? DataView : globalThis[view[Symbol.toStringTag]];
  const buffer = cloneValue(view.buffer, seen);
  const copy = new Type(buffer, offset, length);
  seen.set(view, copy);
  return copy;
}

function cloneMap(map, seen) {
  const copy = new Map();
  seen.set(map, copy);
  for (const [key, item] of [...Map.prototype.entries.call(map)]) {
    copy.set(cloneValue(key, seen), cloneValue(item, seen));
  }
  return copy;
}

function cloneSet(set, seen) {
  const copy = new Set();
  seen.set(set, copy);
  for (const item of [...Set.prototype.values.call(set)]) copy.add(cloneValue(item, seen));
  return copy;
}

function cloneError(error, seen) {
  const copy = new (ERROR_TYPES[error.name] ?? Error)();
  seen.set(error, copy);
  const hide = (name, value) => {
    Object.defineProperty(copy, name, { value, writable: true, configurable: true });
  };
  delete copy.message;
  const message = Object.getOwnPropertyDescriptor(error, "message");
  if (message && "value" in message) hide("message", String(message.value));
  hide("stack", String(error.stack ?? ""));
  if (Object.hasOwn(error, "cause")) hide("cause", cloneValue(error.cause, seen));
  return copy;
}

function cloneObject(object, seen) {
  for (const [test, copy] of cloneable) {
    if (test(object)) {
      const made = copy(object);
      seen.set(object, made);
      return made;
    }
  }
  const isArray = Array.isArray(object);
  if (!isArray && !isPlain(object)) refuse(`#<${object.constructor?.name ?? "Object"}>`);
  const copy = isArray ? new Array(object.length) : {};
  seen.set(object, copy);
  for (const key of Object.keys(object)) {
    const value = cloneValue(object[key], seen);
    Object.defineProperty(copy, key, {
      value, writable: true, enumerable: true, configurable: true,
    });
  }
  return copy;
}

// Instances of user classes are plain objects to the standard; what has inner slots is not.
const SLOTTED = [Symbol, Promise, WeakMap, WeakSet, WeakRef, FinalizationRegistry, Iterator];
const isPlain = (object) => !SLOTTED.some((type) => object instanceof type);
