// node:process and the `process` global.
//
// Nothing of a run is kept here at image time: argv, env and the working directory are read from
// the run when a program asks.

import {
  changeDirectory, clock_ns, currentDirectory, exitNow, fileOperation, memoryUsage, readInput,
  runInfo, start_ns, uptimeSeconds, writeOutput,
} from "../host.js";
import { Buffer } from "./buffer.js";
import { systemError, nameOfWasi } from "./errno.js";
import { codedError, invalidType, requireFunction, requireString } from "./errors.js";
import { EventEmitter } from "./events.js";
import { nextTick } from "./next_tick.js";
import path from "./path.js";
import { Readable, Writable } from "./stream.js";

const NS_PER_SECOND = 1000000000n;
const NODE_VERSION = "22.0.0";
const SIGNAL_EXIT_BASE = 128;
const INPUT_CHUNK_BYTES = 1 << 16;

class OutputStream extends Writable {
  constructor(fd) {
    super({ decodeStrings: false, autoDestroy: false });
    this.fd = fd;
    this.isTTY = false;
    this._type = "pipe";
  }

  // It reaches the host before `write` returns, so nothing is ever queued and the machinery of
  // the base class, ten times as slow, is left out.
  write(chunk, encodingOrCallback, callback) {
    const done = typeof encodingOrCallback === "function" ? encodingOrCallback : callback;
    if (typeof chunk === "string") {
      const encoding = typeof encodingOrCallback === "string" ? encodingOrCallback : "utf8";
      const isUtf8 = /^utf-?8$/i.test(encoding);
      writeOutput(this.fd, isUtf8 ? chunk.toWellFormed() : Buffer.from(chunk, encoding));
    } else if (chunk instanceof Uint8Array) {
      writeOutput(this.fd, chunk);
    } else {
      const expected = "of type string or an instance of Buffer, TypedArray, or DataView";
      throw invalidType("chunk", expected, chunk);
    }
    if (done) nextTick(done);
    return true;
  }

  _write(chunk, encoding, callback) {
    this.write(chunk, encoding);
    callback();
  }

  getColorDepth() { return 1; }
  hasColors() { return false; }
  _destroy(_error, callback) { callback(); }
  destroySoon() {}
}

class InputStream extends Readable {
  constructor() {
    super({ highWaterMark: INPUT_CHUNK_BYTES, autoDestroy: false });
    this.fd = 0;
    this.isTTY = false;
  }

  _read(size) {
    const bytes = readInput(size);
    this.push(bytes.length ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : null);
  }

  setRawMode() { return this; }
  ref() { return this; }
  unref() { return this; }
}

export const process = new EventEmitter();
Object.setPrototypeOf(process, Object.create(EventEmitter.prototype, {
  constructor: { value: { process: function process() {} }.process, configurable: true },
  [Symbol.toStringTag]: { value: "process", configurable: true },
}));

const getter = (name, get, set) => {
  Object.defineProperty(process, name, { get, set, enumerable: true, configurable: true });
};

// ---- what the run gave ----

/** Make `name` when it is first asked for; what the program does to it stays for this run. */
let kept = {};
const fromRun = (name, make) => {
  getter(name, () => (kept[name] ??= make(runInfo())), (value) => { kept[name] = value; });
};
fromRun("argv", (run) => ["/usr/local/bin/node", scriptPath(run), ...run.argv.slice(1)]);
fromRun("env", (run) => makeEnvironment(run.env));

fromRun("stdin", () => new InputStream());

const scriptPath = (run) => path.resolve(run.cwd, run.argv[0] ?? "main.js");

// As in POSIX, what is stored in the environment is text.
const makeEnvironment = (given) => new Proxy({ ...given }, {
  set(target, name, value) {
    if (typeof name === "symbol" || typeof value === "symbol") {
      throw new TypeError("Cannot convert a Symbol value to a string");
    }
    target[name] = String(value);
    return true;
  },
  defineProperty(target, name, descriptor) {
    target[name] = String(descriptor.value);
    return true;
  },
});

let title = "node";
getter("title", () => title, (value) => { title = String(value); });
let exitCode;
getter("exitCode", () => exitCode, (value) => { exitCode = checkExitCode(value); });

function checkExitCode(value) {
  if (value === undefined || value === null) return undefined;
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (Number.isInteger(number)) return number;
  throw invalidType("code", "of type number", value);
}

// ---- end of the run ----

let isExiting = false;

/** Forget what the run before left: called at the start of every run of a session. */
export function beginProcess() {
  kept = {};
  exitCode = undefined;
  isExiting = false;
  if (process._eventsCount) process.removeAllListeners();
}

/** Emit "beforeExit": the loop is empty, a listener may fill it again. False where none listens. */
export const emitBeforeExit = () =>
  process._eventsCount > 0 && process.emit("beforeExit", exitCode ?? 0);

/** Emit "exit" once and return the exit code that stands afterwards. */
export function emitExit(code) {
  exitCode = code ?? exitCode ?? 0;
  if (isExiting) return exitCode;
  isExiting = true;
  if (process._eventsCount) process.emit("exit", exitCode);
  return exitCode ?? 0;
}

const functions = {
  abort() { exitNow(SIGNAL_EXIT_BASE + 6); },
  chdir(directory) {
    const target = path.resolve(currentDirectory(), requireString(directory, "directory"));
    const known = fileOperation({ f: "stat", p: target, follow: true });
    const failure = typeof known === "number" ? nameOfWasi(-known)
      : known.type === "directory" ? undefined : "ENOTDIR";
    if (failure) throw systemError(failure, "chdir", currentDirectory(), directory);
    changeDirectory(target);
  },
  cpuUsage(previous) {
    const user = Math.trunc(Number(clock_ns() - start_ns()) / 1000);
    return { user: user - (previous?.user ?? 0), system: 0 };
  },
  cwd: () => currentDirectory(),
  emitWarning(warning, typeOrOptions, code) {
    const isOptions = typeof typeOrOptions === "object" && typeOrOptions !== null;
    const given = isOptions ? typeOrOptions : { type: typeOrOptions, code };
    const error = Error.isError(warning) ? warning : new Error(String(warning));
    if (error !== warning) error.name = given.type ?? "Warning";
    if (given.code) error.code = given.code;
    nextTick(() => {
      const label = error.code ? `[${error.code}] ` : "";
      if (!process.noDeprecation || error.name !== "DeprecationWarning") {
        writeOutput(2, Buffer.from(`(node:1) ${label}${error.name}: ${error.message}\n`));
      }
      process.emit("warning", error);
    });
  },
  exit(code) {
    const checked = checkExitCode(code);
    exitNow(emitExit(checked));
  },
  getegid: () => 0,
  geteuid: () => 0,
  getgid: () => 0,
  getuid: () => 0,
  hrtime: Object.assign((previous) => {
    const elapsed = clock_ns();
    const base = Array.isArray(previous)
      ? BigInt(previous[0]) * NS_PER_SECOND + BigInt(previous[1]) : 0n;
    const difference = elapsed - base;
    return [Number(difference / NS_PER_SECOND), Number(difference % NS_PER_SECOND)];
  }, { bigint: () => clock_ns() }),
  kill(_pid, signal = "SIGTERM") {
    throw codedError(
      Error, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
      `process.kill is not available in the sandbox: there are no other processes (${signal})`,
    );
  },
  memoryUsage: Object.assign(() => memoryUsage(), { rss: () => memoryUsage().rss }),
  nextTick,
  umask: () => 0o22,
  uptime: () => uptimeSeconds(),
};

for (const [name, value] of Object.entries(functions)) {
  Object.defineProperty(value, "name", { value: name, configurable: true });
  process[name] = value;
}

Object.assign(process, {
  arch: "wasm32",
  argv0: "node",
  config: { target_defaults: {}, variables: {} },
  debugPort: 0,
  execArgv: [],
  execPath: "/usr/local/bin/node",
  features: { inspector: false, ipv6: false, tls: false, typescript: "strip" },
  pid: 1,
  platform: "wasi",
  ppid: 0,
  release: { name: "node" },
  stderr: new OutputStream(2),
  stdout: new OutputStream(1),
  version: `v${NODE_VERSION}`,
  versions: { node: NODE_VERSION, quickjs: "0.17.0" },
});

for (const name of ["binding", "dlopen", "setuid", "setgid", "initgroups"]) {
  process[name] = () => {
    throw codedError(
      Error, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
      `process.${name} is not available in the sandbox`,
    );
  };
}

export default process;
