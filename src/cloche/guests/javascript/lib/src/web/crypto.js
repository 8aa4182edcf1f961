// The crypto global: random values from the host's seeded generator, and SHA digests.

import { sha1 } from "@noble/hashes/legacy.js";
import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { random } from "../host.js";

const VALUES_BYTES_MAX = 65536;
const DIGESTS = { "SHA-1": sha1, "SHA-256": sha256, "SHA-384": sha384, "SHA-512": sha512 };

const bytesOf = (data) => {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw new TypeError("The \"data\" argument must be an ArrayBuffer, TypedArray or DataView");
};

export class SubtleCrypto {
  async digest(algorithm, data) {
    const name = String(algorithm?.name ?? algorithm).toUpperCase();
    const digest = DIGESTS[name];
    if (!digest) throw new DOMException("Unrecognized algorithm name", "NotSupportedError");
    return digest(bytesOf(data).slice()).buffer;
  }
  get [Symbol.toStringTag]() { return "SubtleCrypto"; }
}

for (const name of [
  "encrypt", "decrypt", "sign", "verify", "generateKey", "deriveKey", "deriveBits", "importKey",
  "exportKey", "wrapKey", "unwrapKey",
]) {
  Object.defineProperty(SubtleCrypto.prototype, name, {
    writable: true,
    configurable: true,
    async value() {
      const message = `crypto.subtle.${name} is not available in the sandbox: use crypto.subtle.` +
        "digest, or createHash and createHmac of node:crypto";
      throw new DOMException(message, "NotSupportedError");
    },
  });
}

const subtle = new SubtleCrypto();

export class Crypto {
  get subtle() { return subtle; }

  getRandomValues(view) {
    const isInteger = ArrayBuffer.isView(view) && /^(Big)?(Ui|I)nt/.test(view[Symbol.toStringTag]);
    if (!isInteger) {
      throw new DOMException(
        "The data argument must be an integer-type TypedArray", "TypeMismatchError",
      );
    }
    if (view.byteLength > VALUES_BYTES_MAX) {
      throw new DOMException(
        `The requested length exceeds 65,536 bytes`, "QuotaExceededError",
      );
    }
    bytesOf(view).set(random(view.byteLength));
    return view;
  }

  randomUUID() {
    const bytes = random(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  get [Symbol.toStringTag]() { return "Crypto"; }
}

export const crypto = new Crypto();
