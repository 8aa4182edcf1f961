// Directories and whole trees: readdir, opendir, mkdir, rm, cp.

import { Buffer } from "../buffer.js";
import { systemError } from "../errno.js";
import { codedError } from "../errors.js";
import { absolute, operate, probe, readOptions, toPath } from "./access.js";
import { copyFileSync, readlinkSync, symlinkSync } from "./sync.js";
import { Dirent } from "./stats.js";
import path from "../path.js";

export function readdirSync(directory, options) {
  const given = readOptions(options, { encoding: "utf8" });
  const top = toPath(directory);
  const found = [];
  // Breadth first, as node lists a tree.
  for (const queue = [""]; queue.length;) {
    const below = queue.shift();
    const at = below ? path.join(top, below) : top;
    for (const { name, type } of operate("readdir", "scandir", at)) {
      const relative = below ? `${below}/${name}` : name;
      if (given.recursive && type === "directory") queue.push(relative);
      if (given.withFileTypes) found.push(new Dirent(name, at, type));
      else found.push(given.encoding === "buffer" ? Buffer.from(relative) : relative);
    }
  }
  return found;
}

export class Dir {
  #entries;
  #open = true;

  constructor(text, options) {
    this.path = text;
    const entries = readdirSync(text, { ...options, withFileTypes: true });
    this.#entries = entries.values();
  }

  readSync() {
    if (!this.#open) throw codedError(Error, "ERR_DIR_CLOSED", "Directory handle was closed");
    return this.#entries.next().value ?? null;
  }

  closeSync() {
    if (!this.#open) throw codedError(Error, "ERR_DIR_CLOSED", "Directory handle was closed");
    this.#open = false;
  }

  read(callback) {
    if (!callback) return Promise.try(() => this.readSync());
    return void setImmediate(() => callback(null, this.readSync()));
  }

  close(callback) {
    if (!callback) return Promise.try(() => this.closeSync());
    return void setImmediate(() => callback(this.closeSync() ?? null));
  }

  async* entries() {
    try {
      for (let entry = this.readSync(); entry; entry = this.readSync()) yield entry;
    } finally {
      this.closeSync();
    }
  }

  [Symbol.asyncIterator]() { return this.entries(); }
}

export function opendirSync(directory, options) {
  const text = toPath(directory);
  const known = operate("stat", "opendir", text, { follow: true });
  if (known.type !== "directory") throw systemError("ENOTDIR", "opendir", text);
  return new Dir(text, options);
}

/** Make a directory; with `recursive`, the answer is the first one that had to be made. */
export function mkdirSync(directory, options) {
  const text = toPath(directory);
  const isRecursive = typeof options === "object" && options !== null && options.recursive;
  if (!isRecursive) return void operate("mkdir", "mkdir", text);
  const first = firstMissing(text);
  operate("mkdir", "mkdir", text, { recursive: true });
  return first;
}

function firstMissing(target) {
  let missing;
  let at = target.replace(/(.)\/+$/, "$1");
  while (at !== "/" && at !== "." && !probe("stat", at, { follow: true })) {
    missing = at;
    at = path.dirname(at);
  }
  return missing;
}

export function rmSync(target, options = {}) {
  const text = toPath(target);
  const known = probe("stat", text, { follow: false });
  if (!known) {
    if (options?.force) return;
    operate("stat", "lstat", text, { follow: false });
  }
  if (known.type !== "directory") {
    operate("unlink", "rm", text);
  } else if (options?.recursive) {
    removeTree(text);
  } else {
    const error = codedError(
      Error, "ERR_FS_EISDIR", `Path is a directory: rm returned EISDIR (is a directory) ${text}`,
    );
    error.name = "SystemError";
    Object.assign(error, { errno: 21, syscall: "rm", path: text });
    throw error;
  }
}

// Iterative: the depth of a tree must not become the depth of the stack.
function removeTree(top) {
  const directories = [top];
  for (let index = 0; index < directories.length; index += 1) {
    for (const { name, type } of operate("readdir", "rm", directories[index])) {
      const at = path.join(directories[index], name);
      if (type === "directory") directories.push(at);
      else operate("unlink", "rm", at);
    }
  }
  for (const directory of directories.toReversed()) operate("rmdir", "rm", directory);
}

export function cpSync(from, to, options = {}) {
  const source = toPath(from, "src");
  const target = toPath(to, "dest");
  const known = operate("stat", "cp", source, { follow: Boolean(options.dereference) });
  if (known.type === "directory" && !options.recursive) {
    const detail = `cp returned EISDIR (${source} is a directory (not copied)) ${target}`;
    const error = codedError(Error, "ERR_FS_EISDIR", `Path is a directory: ${detail}`);
    error.name = "SystemError";
    throw error;
  }
  const inside = `${absolute(target)}/`.startsWith(`${absolute(source)}/`);
  if (known.type === "directory" && inside) {
    const message = `Cannot copy ${source} to a subdirectory of self ${target}`;
    throw codedError(Error, "ERR_FS_CP_EINVAL", message);
  }
  copyTree(source, target, options);
}

function copyTree(top, target, options) {
  const queue = [[top, target]];
  while (queue.length) {
    const [source, copy] = queue.shift();
    if (options.filter && !options.filter(source, copy)) continue;
    const { type } = operate("stat", "cp", source, { follow: Boolean(options.dereference) });
    const exists = probe("stat", copy, { follow: false }) !== undefined;
    if (type === "directory") {
      operate("mkdir", "mkdir", copy, { recursive: true });
      for (const { name } of operate("readdir", "cp", source)) {
        queue.push([path.join(source, name), path.join(copy, name)]);
      }
    } else if (!exists || options.force !== false) {
      operate("mkdir", "mkdir", path.dirname(absolute(copy)), { recursive: true });
      copyOne(type, source, copy, exists);
    } else if (options.errorOnExist) {
      throw codedError(Error, "ERR_FS_CP_EEXIST", `Target already exists: ${copy}`);
    }
  }
}

function copyOne(type, source, copy, exists) {
  if (type !== "symlink") return copyFileSync(source, copy);
  if (exists) operate("unlink", "cp", copy);
  return symlinkSync(readlinkSync(source), copy);
}
