// Open files. The host knows paths only, so a descriptor is a path, a position and flags.
//
// What follows from it: a file that is renamed or removed while open is no longer reached through
// its descriptor (ENOENT), where POSIX would keep it.

import { readInput, writeOutput } from "../../host.js";
import { systemError } from "../errno.js";
import { invalidType, invalidValue, outOfRange } from "../errors.js";
import { absolute, operate, probe, toBytes } from "./access.js";
import { constants, flagBits } from "./constants.js";

const OPEN_MAX = 256;
const FIRST = 3;
const STREAMS = { "/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/0": 0 };
const files = new Map();

const accessOf = (bits) => bits & 3;
const canRead = (file) => accessOf(file.bits) !== constants.O_WRONLY;
const canWrite = (file) => accessOf(file.bits) !== constants.O_RDONLY;

/** The standard stream a path or descriptor means, or undefined. */
export const standardStream = (file) =>
  (typeof file === "number" ? (file >= 0 && file < FIRST ? file : undefined) : STREAMS[file]);

export function checkDescriptor(fd) {
  if (typeof fd !== "number") throw invalidType("fd", "of type number", fd);
  if (!Number.isInteger(fd)) throw outOfRange("fd", "an integer", fd);
  if (fd < 0) throw outOfRange("fd", ">= 0 && <= 2147483647", fd);
  return fd;
}

function fileOf(fd, syscall) {
  const file = files.get(checkDescriptor(fd));
  if (!file) throw systemError("EBADF", syscall);
  return file;
}

export function open(text, flags) {
  const bits = flagBits(flags);
  if (bits === undefined) throw invalidValue("flags", flags);
  if (STREAMS[text] !== undefined) return STREAMS[text];
  if (files.size >= OPEN_MAX) throw systemError("EMFILE", "open", text);
  const known = probe("stat", text, { follow: true });
  checkOpen(text, bits, known);
  const wantsCreate = (bits & constants.O_CREAT) !== 0;
  if (!known && wantsCreate) operate("write", "open", text, { exclusive: true }, new Uint8Array(0));
  else if (!known) operate("stat", "open", text, { follow: true });
  else if (bits & constants.O_TRUNC && accessOf(bits)) {
    operate("truncate", "open", text, { size: 0 });
  }
  let fd = FIRST;
  while (files.has(fd)) fd += 1;
  files.set(fd, { text: absolute(text), bits, position: 0 });
  return fd;
}

function checkOpen(text, bits, known) {
  if (!known) return;
  const exclusive = constants.O_CREAT | constants.O_EXCL;
  if ((bits & exclusive) === exclusive) throw systemError("EEXIST", "open", text);
  if (known.type === "directory" && accessOf(bits)) throw systemError("EISDIR", "open", text);
  if (bits & constants.O_DIRECTORY && known.type !== "directory") {
    throw systemError("ENOTDIR", "open", text);
  }
}

export function close(fd) {
  if (standardStream(checkDescriptor(fd)) !== undefined) return;
  if (!files.delete(fd)) throw systemError("EBADF", "close");
}

/** Read up to `length` bytes; `position` null means the file's own, which then moves on. */
export function read(fd, length, position) {
  if (standardStream(fd) === 0) return readInput(length);
  const file = fileOf(fd, "read");
  if (!canRead(file)) throw systemError("EBADF", "read");
  const offset = position ?? file.position;
  const bytes = operate("read", "read", file.text, { offset: Number(offset), length });
  if (position === null || position === undefined) file.position += bytes.length;
  return bytes;
}

export function write(fd, bytes, position) {
  const stream = standardStream(fd);
  if (stream) return writeOutput(stream, bytes);
  const file = fileOf(fd, "write");
  if (!canWrite(file)) throw systemError("EBADF", "write");
  const appends = (file.bits & constants.O_APPEND) !== 0;
  const offset = position ?? file.position;
  const header = appends ? { append: true } : { offset: Number(offset) };
  operate("write", "write", file.text, header, bytes);
  if (position === null || position === undefined) file.position += bytes.length;
  return bytes.length;
}

export const pathOf = (fd, syscall) => fileOf(fd, syscall).text;

export function truncate(fd, size) {
  const file = fileOf(fd, "ftruncate");
  if (!canWrite(file)) throw systemError("EINVAL", "ftruncate");
  operate("truncate", "ftruncate", file.text, { size });
}

/** Write all of `data` at once, for writeFile and appendFile on a descriptor. */
export const writeAll = (fd, data, encoding) => write(fd, toBytes(data, encoding), null);

/** Read to the end from where the descriptor stands. */
export function readAll(fd) {
  const CHUNK_BYTES = 1 << 16;
  const parts = [];
  let size = 0;
  for (;;) {
    const part = read(fd, CHUNK_BYTES, null);
    if (part.length === 0) break;
    parts.push(part);
    size += part.length;
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
