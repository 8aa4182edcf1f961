// Deep equality as node's assert.deepStrictEqual and assert.deepEqual define it.
//
// Strict: same prototype, same brand, Object.is on leaves, own enumerable properties and symbols.
// Loose: `==` on leaves (NaN equals NaN), prototypes ignored. Cycles compare by the pair seen.

const tagOf = (value) => Object.prototype.toString.call(value);
const isObject = (value) => typeof value === "object" && value !== null;

export const isDeepStrictEqual = (left, right) => compare(left, right, true, new Map());
export const isDeepLooseEqual = (left, right) => compare(left, right, false, new Map());

function compare(left, right, strict, seen) {
  if (Object.is(left, right)) return true;
  if (!isObject(left) || !isObject(right)) return compareLeaves(left, right, strict);
  if (strict && Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return false;
  if (tagOf(left) !== tagOf(right)) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  if (seen.get(left) === right) return true;
  const before = seen.get(left);
  seen.set(left, right);
  const equal = compareBrands(left, right, strict, seen) && compareKeys(left, right, strict, seen);
  if (before === undefined) seen.delete(left);
  else seen.set(left, before);
  return equal;
}

function compareLeaves(left, right, strict) {
  if (strict) return false;
  if (isObject(left) || isObject(right)) return false;
  if (typeof left === "function" || typeof right === "function") return false;
  return left == right || (left !== left && right !== right);
}

function compareBrands(left, right, strict, seen) {
  if (left instanceof Date) return Object.is(left.getTime(), right.getTime());
  if (left instanceof RegExp) {
    return left.source === right.source && left.flags === right.flags &&
      left.lastIndex === right.lastIndex;
  }
  if (Error.isError(left)) return compareErrors(left, right, strict, seen);
  if (ArrayBuffer.isView(left)) return compareViews(left, right, strict);
  if (left instanceof ArrayBuffer) {
    return compareViews(new Uint8Array(left), new Uint8Array(right), strict);
  }
  if (left instanceof Set) return compareSets(left, right, strict, seen);
  if (left instanceof Map) return compareMaps(left, right, strict, seen);
  for (const type of [Number, String, Boolean, Symbol, BigInt]) {
    if (left instanceof type) {
      return right instanceof type && Object.is(left.valueOf(), right.valueOf());
    }
  }
  if (left instanceof WeakMap || left instanceof WeakSet || left instanceof Promise) return false;
  return true;
}

function compareErrors(left, right, strict, seen) {
  if (!Error.isError(right)) return false;
  if (left.message !== right.message || left.name !== right.name) return false;
  if (Object.hasOwn(left, "cause") !== Object.hasOwn(right, "cause")) return false;
  return compare(left.cause, right.cause, strict, seen) &&
    compare(left.errors, right.errors, strict, seen);
}

function compareViews(left, right, strict) {
  if (left instanceof DataView) {
    return compareViews(bytesOf(left), bytesOf(right), strict);
  }
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index += 1) {
    const equal = strict ? Object.is(left[index], right[index]) : left[index] == right[index];
    if (!equal && !(left[index] !== left[index] && right[index] !== right[index])) return false;
  }
  return true;
}

const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function compareSets(left, right, strict, seen) {
  if (left.size !== right.size) return false;
  const rest = new Set(right);
  for (const item of left) {
    if (rest.delete(item)) continue;
    const match = findMatch(rest, (other) => compare(item, other, strict, seen));
    if (match === undefined) return false;
    rest.delete(match.value);
  }
  return true;
}

function compareMaps(left, right, strict, seen) {
  if (left.size !== right.size) return false;
  const rest = new Map(right);
  for (const [key, value] of left) {
    if (rest.has(key) && compare(value, rest.get(key), strict, seen)) {
      rest.delete(key);
      continue;
    }
    const match = findMatch(rest, ([otherKey, other]) =>
      compare(key, otherKey, strict, seen) && compare(value, other, strict, seen));
    if (match === undefined) return false;
    rest.delete(match.value[0]);
  }
  return true;
}

function findMatch(items, test) {
  for (const value of items) if (test(value)) return { value };
  return undefined;
}

function compareKeys(left, right, strict, seen) {
  // The elements of a typed array are compared already; naming them all again costs much.
  if (ArrayBuffer.isView(left)) return true;
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  if (Array.isArray(left) && left.length !== right.length) return false;
  for (const key of keys) {
    if (!Object.hasOwn(right, key)) return false;
    if (!compare(left[key], right[key], strict, seen)) return false;
  }
  return !strict || compareSymbols(left, right, seen);
}

function compareSymbols(left, right, seen) {
  const shown = (object) => Object.getOwnPropertySymbols(object)
    .filter((key) => Object.prototype.propertyIsEnumerable.call(object, key));
  const keys = shown(left);
  if (keys.length !== shown(right).length) return false;
  return keys.every((key) => Object.prototype.propertyIsEnumerable.call(right, key) &&
    compare(left[key], right[key], true, seen));
}
