// The synchronous file functions. The callback and promise forms are made from these.

import { random, readInput, writeOutput } from "../../host.js";
import { Buffer } from "../buffer.js";
import { systemError } from "../errno.js";
import { invalidType, outOfRange } from "../errors.js";
import {
  absolute, encodeResult, operate, probe, readOptions, toBytes, toPath,
} from "./access.js";
import { constants, flagBits } from "./constants.js";
import * as descriptors from "./descriptors.js";
import { makeStats } from "./stats.js";
import path from "../path.js";

const INPUT_CHUNK_BYTES = 1 << 16;

export function readFileSync(file, options) {
  const { encoding } = readOptions(options, { encoding: null });
  if (Number.isInteger(file)) return encodeResult(descriptors.readAll(file), encoding);
  const text = toPath(file);
  if (descriptors.standardStream(text) === 0) return encodeResult(readAllInput(), encoding);
  return encodeResult(readWhole(text), encoding);
}

function readWhole(text) {
  try {
    return operate("read", "open", text);
  } catch (error) {
    // A directory opens and does not read; then the path is no longer known.
    throw error.code === "EISDIR" ? systemError("EISDIR", "read") : error;
  }
}

function readAllInput() {
  const parts = [];
  for (;;) {
    const part = readInput(INPUT_CHUNK_BYTES);
    if (part.length === 0) return Buffer.concat(parts);
    parts.push(part);
  }
}

export function writeFileSync(file, data, options) {
  writeWith(file, data, readOptions(options, { encoding: "utf8", flag: "w" }));
}

export function appendFileSync(file, data, options) {
  writeWith(file, data, readOptions(options, { encoding: "utf8", flag: "a" }));
}

function writeWith(file, data, { encoding, flag }) {
  const bytes = toBytes(data, encoding);
  if (Number.isInteger(file)) {
    descriptors.write(file, bytes, null);
    return;
  }
  const text = toPath(file);
  const stream = descriptors.standardStream(text);
  if (stream) {
    writeOutput(stream, bytes);
    return;
  }
  const bits = flagBits(flag);
  const header = {
    append: (bits & constants.O_APPEND) !== 0, exclusive: (bits & constants.O_EXCL) !== 0,
  };
  if (!(bits & constants.O_CREAT)) operate("stat", "open", text, { follow: true });
  if (!(bits & (constants.O_TRUNC | constants.O_APPEND))) header.offset = 0;
  operate("write", "open", text, header, bytes);
}

function statWith(syscall, follow) {
  return (file, options) => {
    const text = toPath(file);
    const wantsThrow = options?.throwIfNoEntry !== false;
    if (!wantsThrow && !probe("stat", text, { follow })) return undefined;
    return makeStats(operate("stat", syscall, text, { follow }), options?.bigint);
  };
}
export const statSync = statWith("stat", true);
export const lstatSync = statWith("lstat", false);

export function fstatSync(fd, options) {
  if (descriptors.standardStream(descriptors.checkDescriptor(fd)) !== undefined) {
    const record = { type: "device", mode: 0o620, size: 0, ino: fd, mtime_ns: 0 };
    return makeStats(record, options?.bigint);
  }
  const text = descriptors.pathOf(fd, "fstat");
  return makeStats(operate("stat", "fstat", text, { follow: true }), options?.bigint);
}

export function existsSync(file) {
  try {
    return probe("stat", toPath(file), { follow: true }) !== undefined;
  } catch {
    return false;
  }
}

export function accessSync(file, mode = constants.F_OK) {
  const text = toPath(file);
  const { mode: bits } = operate("stat", "access", text, { follow: true });
  const wanted = mode & 7;
  if (((bits >> 6) & wanted) !== wanted) throw systemError("EACCES", "access", text);
}

export function unlinkSync(file) { operate("unlink", "unlink", toPath(file)); }
export function rmdirSync(file) { operate("rmdir", "rmdir", toPath(file)); }

export function renameSync(from, to) {
  const target = toPath(to, "newPath");
  operate("rename", "rename", toPath(from, "oldPath"), { to: absolute(target), shownTo: target });
}

export function copyFileSync(from, to, mode = 0) {
  const source = toPath(from, "src");
  const target = toPath(to, "dest");
  const words = { shownTo: target };
  const record = operate("stat", "copyfile", source, { follow: true, ...words });
  if (record.type === "directory") throw systemError("EISDIR", "copyfile", source, target);
  if (mode & constants.COPYFILE_EXCL && existsSync(target)) {
    throw systemError("EEXIST", "copyfile", source, target);
  }
  const bytes = operate("read", "copyfile", source, words);
  if (absolute(source) !== absolute(target)) operate("write", "copyfile", target, {}, bytes);
}

export function truncateSync(file, size = 0) {
  if (typeof file === "number") return ftruncateSync(file, size);
  return void operate("truncate", "open", toPath(file), { size: checkSize(size) });
}

export function ftruncateSync(fd, size = 0) { descriptors.truncate(fd, checkSize(size)); }

function checkSize(size) {
  if (typeof size !== "number") throw invalidType("len", "of type number", size);
  if (!Number.isInteger(size)) throw outOfRange("len", "an integer", size);
  return Math.max(0, size);
}

// A number is seconds since 1970, as everywhere in POSIX.
const toNs = (time) => {
  const seconds = time instanceof Date ? time.getTime() / 1000 : Number(time);
  if (!Number.isFinite(seconds)) throw invalidType("time", "an instance of Date or a number", time);
  return Math.trunc(seconds * 1e6) * 1000;
};

export function utimesSync(file, _atime, mtime) {
  operate("utimes", "utime", toPath(file), { mtime_ns: toNs(mtime) });
}
export function futimesSync(fd, _atime, mtime) {
  operate("utimes", "futime", descriptors.pathOf(fd, "futime"), { mtime_ns: toNs(mtime) });
}

export function symlinkSync(target, file) {
  const shown = toPath(target, "target");
  const text = toPath(file);
  try {
    operate("symlink", "symlink", text, { target: shown });
  } catch (error) {
    throw error.code && error.syscall ? systemError(error.code, "symlink", shown, text) : error;
  }
}

export function readlinkSync(file, options) {
  const { encoding } = readOptions(options, { encoding: "utf8" });
  const reply = operate("readlink", "readlink", toPath(file));
  const target = typeof reply === "string" ? reply : reply.target;
  return encoding === "buffer" ? Buffer.from(target) : target;
}

const LINKS_MAX = 40;

export function realpathSync(file) {
  const text = toPath(file);
  let links = 0;
  let rest = absolute(text).split("/").filter(Boolean);
  let known = "/";
  while (rest.length) {
    const next = path.join(known, rest.shift());
    const record = operate("stat", "lstat", next, { follow: false });
    if (record.type !== "symlink") {
      known = next;
      continue;
    }
    links += 1;
    if (links > LINKS_MAX) throw systemError("ELOOP", "stat", text);
    const target = path.resolve(known, readlinkSync(next));
    rest = [...target.split("/").filter(Boolean), ...rest];
    known = "/";
  }
  return known;
}
realpathSync.native = realpathSync;

const SUFFIX = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SUFFIX_LENGTH = 6;

export function mkdtempSync(prefix) {
  const text = toPath(prefix, "prefix");
  for (;;) {
    const letters = Array.from(random(SUFFIX_LENGTH), (byte) => SUFFIX[byte % SUFFIX.length]);
    const made = text + letters.join("");
    if (existsSync(made)) continue;
    try {
      operate("mkdir", "mkdtemp", made);
    } catch (error) {
      throw error.code ? systemError(error.code, "mkdtemp", `${text}XXXXXX`) : error;
    }
    return made;
  }
}

export function openSync(file, flags = "r") { return descriptors.open(toPath(file), flags); }
export function closeSync(fd) { descriptors.close(fd); }
export function fsyncSync(fd) { descriptors.checkDescriptor(fd); }
export const fdatasyncSync = fsyncSync;

/** Read into a buffer: (fd, buffer, offset, length, position) or (fd, buffer, options). */
export function readSync(fd, buffer, offsetOrOptions, length, position) {
  if (!ArrayBuffer.isView(buffer)) {
    throw invalidType("buffer", "an instance of Buffer, TypedArray, or DataView", buffer);
  }
  const isObject = typeof offsetOrOptions === "object" && offsetOrOptions !== null;
  const given = isObject ? offsetOrOptions : { offset: offsetOrOptions, length, position };
  const offset = given.offset ?? 0;
  const count = given.length ?? buffer.byteLength - offset;
  if (offset < 0 || offset > buffer.byteLength) {
    throw outOfRange("offset", `>= 0 && <= ${buffer.byteLength}`, offset);
  }
  if (count < 0 || count > buffer.byteLength - offset) {
    throw outOfRange("length", `>= 0 && <= ${buffer.byteLength - offset}`, count);
  }
  const at = given.position === -1 ? null : given.position ?? null;
  const bytes = descriptors.read(fd, count, at);
  new Uint8Array(buffer.buffer, buffer.byteOffset + offset, count).set(bytes);
  return bytes.length;
}

/** Write: (fd, buffer, offset, length, position), (fd, buffer, options) or
 * (fd, text, position, encoding). */
export function writeSync(fd, data, offsetOrOptions, length, position) {
  if (typeof data === "string") {
    return descriptors.write(fd, toBytes(data, length ?? "utf8"), offsetOrOptions ?? null);
  }
  const bytes = toBytes(data);
  const isObject = typeof offsetOrOptions === "object" && offsetOrOptions !== null;
  const given = isObject ? offsetOrOptions : { offset: offsetOrOptions, length, position };
  const offset = given.offset ?? 0;
  const end = offset + (given.length ?? bytes.length - offset);
  if (offset < 0 || end > bytes.length) {
    throw outOfRange("length", `<= ${bytes.length - offset}`, given.length);
  }
  return descriptors.write(fd, bytes.subarray(offset, end), given.position ?? null);
}

export function readvSync(fd, buffers, position = null) {
  let total = 0;
  for (const buffer of buffers) {
    const count = readSync(fd, buffer, { position: position === null ? null : position + total });
    total += count;
    if (count < buffer.byteLength) break;
  }
  return total;
}

export function writevSync(fd, buffers, position = null) {
  let total = 0;
  for (const buffer of buffers) {
    total += writeSync(fd, buffer, { position: position === null ? null : position + total });
  }
  return total;
}

// The virtual file system keeps no owners and no permissions: these only check that the file is.
const checkOnly = (syscall, follow = true) => (file) => {
  operate("stat", syscall, toPath(file), { follow });
};
export const chmodSync = checkOnly("chmod");
export const chownSync = checkOnly("chown");
export const lchownSync = checkOnly("lchown", false);
export const lutimesSync = (file) => checkOnly("lutime", false)(file);
export const fchmodSync = fsyncSync;
export const fchownSync = fsyncSync;

export function linkSync(from, to) {
  throw systemError("EPERM", "link", toPath(from, "existingPath"), toPath(to, "newPath"));
}
