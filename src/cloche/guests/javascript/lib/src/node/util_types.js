// node:util/types: what a value is by its inner slots, not by its prototype.

const tagGetter = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag,
).get;
const typedArrayName = (value) => {
  try {
    return tagGetter.call(value);
  } catch {
    return undefined;
  }
};

/** Build a test that calls a method which only accepts objects with the right slot. */
const bySlot = (method) => (value) => {
  if (typeof value !== "object" || value === null) return false;
  try {
    method.call(value);
    return true;
  } catch {
    return false;
  }
};
const getter = (prototype, name) => Object.getOwnPropertyDescriptor(prototype, name).get;
const byInstance = (type) => (value) => value instanceof type;
const byTag = (tag) => (value) => Object.prototype.toString.call(value) === `[object ${tag}]`;
const isObject = (value) => typeof value === "object" && value !== null;

const isArrayBuffer = bySlot(getter(ArrayBuffer.prototype, "byteLength"));
const isSharedArrayBuffer = bySlot(getter(SharedArrayBuffer.prototype, "byteLength"));
const isNumberObject = bySlot(Number.prototype.valueOf);
const isStringObject = bySlot(String.prototype.valueOf);
const isBooleanObject = bySlot(Boolean.prototype.valueOf);
const isBigIntObject = bySlot(BigInt.prototype.valueOf);
const isSymbolObject = bySlot(Symbol.prototype.valueOf);
const isAsyncFunction = byTag("AsyncFunction");

const types = {
  isAnyArrayBuffer: (value) => isArrayBuffer(value) || isSharedArrayBuffer(value),
  isArgumentsObject: (value) => isObject(value) && byTag("Arguments")(value),
  isArrayBuffer,
  isArrayBufferView: ArrayBuffer.isView,
  isAsyncFunction: (value) => isAsyncFunction(value) || byTag("AsyncGeneratorFunction")(value),
  isBigIntObject,
  isBooleanObject,
  isBoxedPrimitive: (value) => isNumberObject(value) || isStringObject(value) ||
    isBooleanObject(value) || isBigIntObject(value) || isSymbolObject(value),
  isDataView: (value) => ArrayBuffer.isView(value) && typedArrayName(value) === undefined,
  isDate: bySlot(Date.prototype.getTime),
  isExternal: () => false,
  isGeneratorFunction: (value) => typeof value === "function" &&
    (byTag("GeneratorFunction")(value) || byTag("AsyncGeneratorFunction")(value)),
  isGeneratorObject: (value) => isObject(value) &&
    (byTag("Generator")(value) || byTag("AsyncGenerator")(value)),
  isMap: bySlot(getter(Map.prototype, "size")),
  isMapIterator: byTag("Map Iterator"),
  isModuleNamespaceObject: byTag("Module"),
  isNativeError: (value) => Error.isError(value),
  isNumberObject,
  isPromise: byInstance(Promise),
  isProxy: () => false,
  isRegExp: (value) => isObject(value) && value instanceof RegExp,
  isSet: bySlot(getter(Set.prototype, "size")),
  isSetIterator: byTag("Set Iterator"),
  isSharedArrayBuffer,
  isStringObject,
  isSymbolObject,
  isTypedArray: (value) => typedArrayName(value) !== undefined,
  isWeakMap: bySlot(function has() { WeakMap.prototype.has.call(this, {}); }),
  isWeakSet: bySlot(function has() { WeakSet.prototype.has.call(this, {}); }),
};

const TYPED_ARRAYS = [
  "BigInt64Array", "BigUint64Array", "Float16Array", "Float32Array", "Float64Array", "Int8Array",
  "Int16Array", "Int32Array", "Uint8Array", "Uint8ClampedArray", "Uint16Array", "Uint32Array",
];
for (const name of TYPED_ARRAYS) types[`is${name}`] = (value) => typedArrayName(value) === name;

export default types;
