// node:fs and node:fs/promises: the three forms of every function.
//
// The work is done at the call, in all three. A callback runs in a later turn of the event loop, as
// (error, value); what it throws is an uncaught exception. A promise settles at once.

import { codedError, invalidType } from "../errors.js";
import { toPath } from "./access.js";
import { constants } from "./constants.js";
import { FileHandle } from "./handle.js";
import { BigIntStats, Dirent, Stats } from "./stats.js";
import * as streams from "./streams.js";
import * as sync from "./sync.js";
import * as tree from "./tree.js";

const NAMES = [
  "access", "appendFile", "chmod", "chown", "close", "copyFile", "cp", "fchmod", "fchown",
  "fdatasync", "fstat", "fsync", "ftruncate", "futimes", "lchown", "link", "lstat", "lutimes",
  "mkdir", "mkdtemp", "open", "opendir", "readFile", "readdir", "readlink", "realpath", "rename",
  "rm", "rmdir", "stat", "symlink", "truncate", "unlink", "utimes", "writeFile",
];
// Their callback takes a second value: (error, count, data).
const WITH_DATA = ["read", "write", "readv", "writev"];
const PROMISED = new Set([
  "access", "appendFile", "chmod", "chown", "copyFile", "cp", "lchown", "link", "lstat",
  "lutimes", "mkdir", "mkdtemp", "opendir", "readFile", "readdir", "readlink", "realpath",
  "rename", "rm", "rmdir", "stat", "symlink", "truncate", "unlink", "utimes", "writeFile",
]);
const VALIDATION = /^ERR_/;

const functions = { ...sync, ...tree };
const fs = { constants, Dirent, Stats, BigIntStats, ...streams };
const promises = { constants };

for (const name of [...NAMES, ...WITH_DATA]) {
  fs[`${name}Sync`] = functions[`${name}Sync`];
  fs[name] = callbackForm(name, functions[`${name}Sync`]);
  if (PROMISED.has(name)) promises[name] = promiseForm(name, functions[`${name}Sync`]);
}
fs.realpath.native = fs.realpath;
fs.Dir = tree.Dir;
fs.existsSync = sync.existsSync;
fs.FileReadStream = streams.ReadStream;
fs.FileWriteStream = streams.WriteStream;

function callbackForm(name, operation) {
  const isCounted = WITH_DATA.includes(name);
  const form = (...args) => {
    const callback = args.findLast((argument) => typeof argument === "function");
    const isLast = args.at(-1) === callback || name === "cp";
    if (!callback || !isLast) {
      throw invalidType("cb", "of type function", args.length > 1 ? args.at(-1) : undefined);
    }
    args.splice(args.lastIndexOf(callback), 1);
    let outcome;
    try {
      outcome = [null, operation(...args)];
    } catch (error) {
      // Misuse is thrown at the caller; only what the file system says goes to the callback.
      if (VALIDATION.test(error.code) && !error.syscall) throw error;
      outcome = [error];
    }
    if (isCounted && !outcome[0]) outcome.push(args[1]);
    if (outcome[1] === undefined) outcome.length = 1;
    setImmediate(() => callback(...outcome));
  };
  return Object.defineProperty(form, "name", { value: name, configurable: true });
}

function promiseForm(name, operation) {
  const form = async (...args) => {
    if (args[0] instanceof FileHandle) args[0] = args[0].fd;
    return operation(...args);
  };
  return Object.defineProperty(form, "name", { value: name, configurable: true });
}

promises.open = async function open(file, flags, mode) {
  return new FileHandle(sync.openSync(file, flags, mode));
};

// The one callback of fs that is not (error, value).
fs.exists = function exists(file, callback) {
  const found = sync.existsSync(file);
  setImmediate(() => callback(found));
};
Object.defineProperty(fs.exists, Symbol.for("nodejs.util.promisify.custom"), {
  value: async (file) => sync.existsSync(file),
});
for (const [name, key] of [["read", "bytesRead"], ["write", "bytesWritten"]]) {
  Object.defineProperty(fs[name], Symbol.for("nodejs.util.promisify.custom"), {
    value: async (fd, buffer, ...rest) => (
      { [key]: fs[`${name}Sync`](fd, buffer, ...rest), buffer }
    ),
  });
}

for (const name of ["watch", "watchFile", "unwatchFile"]) {
  fs[name] = (file) => {
    toPath(file, "filename");
    throw codedError(
      Error, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
      `fs.${name} is not available in the sandbox: only this program changes its files`,
    );
  };
}

fs.promises = promises;
export { promises };
export default fs;
