// node:crypto in the parts people use: random values, hashes, HMAC, pbkdf2, timingSafeEqual.
// The hashes are @noble/hashes.

import { hmac } from "@noble/hashes/hmac.js";
import { md5, ripemd160, sha1 } from "@noble/hashes/legacy.js";
import { pbkdf2 as derive } from "@noble/hashes/pbkdf2.js";
import { sha224, sha256, sha384, sha512, sha512_256 } from "@noble/hashes/sha2.js";
import { sha3_256, sha3_384, sha3_512 } from "@noble/hashes/sha3.js";
import { random } from "../host.js";
import { crypto as webcrypto } from "../web/crypto.js";
import { Buffer } from "./buffer.js";
import { codedError, invalidType, outOfRange } from "./errors.js";
import { Transform } from "./stream.js";

const HASHES = {
  md5, ripemd160, sha1, sha224, sha256, sha384, sha512, "sha512-256": sha512_256,
  "sha3-256": sha3_256, "sha3-384": sha3_384, "sha3-512": sha3_512,
};
const RANDOM_BYTES_MAX = 65536;
const INTEGER_RANGE_MAX = 2 ** 48;

const hashOf = (name) => {
  if (typeof name !== "string") throw invalidType("algorithm", "of type string", name);
  const hash = HASHES[name.toLowerCase().replace(/^sha-(?=\d)|^rsa-/, (head) => (
    head === "rsa-" ? "" : "sha"
  ))];
  if (!hash) throw new Error("Digest method not supported");
  return hash;
};

const bytesOf = (data, encoding, name = "data") => {
  if (typeof data === "string") return new Uint8Array(Buffer.from(data, encoding));
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw invalidType(
    name, "of type string or an instance of Buffer, TypedArray, or DataView", data,
  );
};

class Digest extends Transform {
  #state;
  #isDone = false;

  constructor(state) {
    super();
    this.#state = state;
  }

  update(data, encoding) {
    if (this.#isDone) throw finalized();
    this.#state.update(bytesOf(data, encoding));
    return this;
  }

  digest(encoding) {
    if (this.#isDone) throw finalized();
    this.#isDone = true;
    const result = Buffer.from(this.#state.digest());
    return encoding && encoding !== "buffer" ? result.toString(encoding) : result;
  }

  copy() {
    if (this.#isDone) throw finalized();
    return new this.constructor(this.#state.clone());
  }

  _transform(chunk, encoding, callback) {
    this.update(chunk, encoding);
    callback();
  }

  _flush(callback) {
    this.push(this.digest());
    callback();
  }
}

const finalized = () =>
  codedError(Error, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called");

export class Hash extends Digest {}
export class Hmac extends Digest {}

export const createHash = (algorithm) => new Hash(hashOf(algorithm).create());
export const createHmac = (algorithm, key) =>
  new Hmac(hmac.create(hashOf(algorithm), bytesOf(key, "utf8", "key")));
export const getHashes = () => Object.keys(HASHES);

export function hash(algorithm, data, encoding = "hex") {
  return createHash(algorithm).update(data).digest(encoding);
}

export function randomFillSync(target, offset = 0, size = target.byteLength - offset) {
  const bytes = bytesOf(target).subarray(offset, offset + size);
  for (let at = 0; at < bytes.length; at += RANDOM_BYTES_MAX) {
    const count = Math.min(RANDOM_BYTES_MAX, bytes.length - at);
    bytes.set(random(count), at);
  }
  return target;
}

export function randomBytes(size, callback) {
  if (typeof size !== "number") throw invalidType("size", "of type number", size);
  if (!(size >= 0 && size <= 2147483647)) throw outOfRange("size", ">= 0 && <= 2147483647", size);
  const bytes = randomFillSync(Buffer.alloc(size));
  if (callback) setImmediate(() => callback(null, bytes));
  return callback ? undefined : bytes;
}

export function randomFill(target, ...rest) {
  const callback = rest.pop();
  randomFillSync(target, ...rest);
  setImmediate(() => callback(null, target));
}

export function randomInt(first, second, callback) {
  const isOne = second === undefined || typeof second === "function";
  const [low, high] = isOne ? [0, first] : [first, second];
  const done = isOne ? second : callback;
  if (!Number.isSafeInteger(low)) throw invalidType("min", "a safe integer", low);
  if (!Number.isSafeInteger(high)) throw invalidType("max", "a safe integer", high);
  const range = high - low;
  if (range <= 0) throw outOfRange("max", `greater than the value of "min" (${low})`, high);
  if (range > INTEGER_RANGE_MAX) throw outOfRange("max - min", "<= 281474976710655", range);
  // Rejection keeps each value equally likely.
  const limit = INTEGER_RANGE_MAX - (INTEGER_RANGE_MAX % range);
  let drawn;
  do drawn = Buffer.from(random(6)).readUIntBE(0, 6); while (drawn >= limit);
  const value = low + (drawn % range);
  if (done) setImmediate(() => done(null, value));
  return done ? undefined : value;
}

export function timingSafeEqual(left, right) {
  const [first, second] = [bytesOf(left, "utf8", "buf1"), bytesOf(right, "utf8", "buf2")];
  if (first.length !== second.length) {
    const message = "Input buffers must have the same byte length";
    throw codedError(RangeError, "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH", message);
  }
  let difference = 0;
  for (let index = 0; index < first.length; index += 1) difference |= first[index] ^ second[index];
  return difference === 0;
}

export function pbkdf2Sync(password, salt, iterations, length, algorithm) {
  const options = { c: iterations, dkLen: length };
  return Buffer.from(derive(hashOf(algorithm), bytesOf(password), bytesOf(salt), options));
}

export function pbkdf2(...args) {
  const callback = args.pop();
  const key = pbkdf2Sync(...args);
  setImmediate(() => callback(null, key));
}

export const randomUUID = () => webcrypto.randomUUID();
export const getRandomValues = (view) => webcrypto.getRandomValues(view);

const crypto = {
  Hash, Hmac, createHash, createHmac, getHashes, getRandomValues, hash, pbkdf2, pbkdf2Sync,
  randomBytes, randomFill, randomFillSync, randomInt, randomUUID, subtle: webcrypto.subtle,
  timingSafeEqual, webcrypto,
};

for (const name of [
  "createCipheriv", "createDecipheriv", "createSign", "createVerify", "generateKeyPair",
  "generateKeyPairSync", "scrypt", "scryptSync", "createPrivateKey", "createPublicKey",
  "createSecretKey", "createDiffieHellman", "createECDH", "sign", "verify", "hkdf", "hkdfSync",
]) {
  crypto[name] = () => {
    throw codedError(
      Error, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
      `crypto.${name} is not available in the sandbox: there are hashes, HMAC, pbkdf2 and random ` +
      "values, no ciphers and no keys",
    );
  };
}

export default crypto;
