// Stats and Dirent: what a file is.

import { constants } from "./constants.js";

const TYPE_BITS = {
  file: constants.S_IFREG, directory: constants.S_IFDIR, symlink: constants.S_IFLNK,
};
const BLOCK_BYTES = 4096;
const SECTOR_BYTES = 512;
const NS_PER_MS = 1e6;

const kindMethods = (typeOf) => ({
  isFile() { return typeOf(this) === "file"; },
  isDirectory() { return typeOf(this) === "directory"; },
  isSymbolicLink() { return typeOf(this) === "symlink"; },
  isBlockDevice() { return false; },
  isCharacterDevice() { return typeOf(this) === "device"; },
  isFIFO() { return false; },
  isSocket() { return false; },
});

const addKinds = (type, typeOf) => {
  for (const [name, value] of Object.entries(kindMethods(typeOf))) {
    Object.defineProperty(type.prototype, name, { value, writable: true, configurable: true });
  }
};

const typeOfMode = (stats) => {
  const bits = Number(stats.mode) & constants.S_IFMT;
  return Object.keys(TYPE_BITS).find((name) => TYPE_BITS[name] === bits) ?? "device";
};

export class Stats {}
export class BigIntStats {}
addKinds(Stats, typeOfMode);
addKinds(BigIntStats, typeOfMode);

/** Turn the host's record into node's Stats; times are those of the virtual clock. */
export function makeStats(record, wantsBigInt = false) {
  const permissions = record.mode & 0o7777;
  const time_ns = BigInt(Math.trunc(record.mtime_ns));
  const fields = {
    dev: 1,
    mode: (TYPE_BITS[record.type] ?? constants.S_IFCHR) | permissions,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: BLOCK_BYTES,
    ino: record.ino,
    size: record.size,
    blocks: Math.ceil(record.size / SECTOR_BYTES),
  };
  const stats = wantsBigInt ? new BigIntStats() : new Stats();
  for (const [name, value] of Object.entries(fields)) {
    stats[name] = wantsBigInt ? BigInt(value) : value;
  }
  for (const name of ["atime", "mtime", "ctime", "birthtime"]) {
    stats[`${name}Ms`] = wantsBigInt ? time_ns / 1000000n : Number(time_ns) / NS_PER_MS;
    if (wantsBigInt) stats[`${name}Ns`] = time_ns;
  }
  for (const name of ["atime", "mtime", "ctime", "birthtime"]) {
    stats[name] = new Date(Number(time_ns) / NS_PER_MS);
  }
  return stats;
}

export class Dirent {
  constructor(name, path, type) {
    this.name = name;
    this.parentPath = path;
    this.path = path;
    Object.defineProperty(this, "kind", { value: type });
  }
}
addKinds(Dirent, (entry) => entry.kind);
