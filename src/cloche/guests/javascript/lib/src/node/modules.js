// The table of node modules, and what is said of those that do not exist here.

import assert, { strict } from "./assert.js";
import asyncHooks from "./async_hooks.js";
import buffer from "./buffer.js";
import crypto from "./crypto.js";
import events from "./events.js";
import fs, { promises as fsPromises } from "./fs/index.js";
import os from "./os.js";
import path from "./path.js";
import process from "./process.js";
import querystring from "./querystring.js";
import readline, { readlinePromises } from "./readline.js";
import stream, { streamPromises } from "./stream.js";
import stringDecoder from "./string_decoder.js";
import timers, { timersPromises } from "./timers.js";
import url from "./url.js";
import util, { types } from "./util.js";
import { codedError } from "./errors.js";
import { performance, PerformanceEntry } from "../web/performance.js";
import * as webStreams from "../web/streams.js";
import punycode from "punycode/punycode.es6.js";

/** Module name without `node:` to its exports; the exports are also the default export. */
export const modules = {
  assert,
  "assert/strict": strict,
  async_hooks: asyncHooks,
  buffer,
  console: globalThis.console,
  constants: { ...fs.constants, ...os.constants.signals, ...os.constants.errno },
  crypto,
  events,
  fs,
  "fs/promises": fsPromises,
  module: {},
  os,
  path,
  "path/posix": path,
  perf_hooks: { performance, PerformanceEntry },
  process,
  punycode,
  querystring,
  readline,
  "readline/promises": readlinePromises,
  stream,
  "stream/promises": streamPromises,
  "stream/web": {
    ReadableStream: webStreams.ReadableStream,
    ReadableStreamDefaultReader: webStreams.ReadableStreamDefaultReader,
    TransformStream: webStreams.TransformStream,
    WritableStream: webStreams.WritableStream,
    WritableStreamDefaultWriter: webStreams.WritableStreamDefaultWriter,
  },
  string_decoder: stringDecoder,
  sys: util,
  timers,
  "timers/promises": timersPromises,
  tty: { isatty: () => false },
  url,
  util,
  "util/types": types,
};

const NETWORK = "network access goes through fetch()";
const PROCESS = "a program is one process with one thread";
const INSIDE = "the engine offers no such interface";
const REASONS = {
  child_process: PROCESS, cluster: PROCESS, worker_threads: PROCESS,
  dgram: NETWORK, dns: NETWORK, "dns/promises": NETWORK, http: NETWORK, http2: NETWORK,
  https: NETWORK, net: NETWORK, tls: NETWORK,
  diagnostics_channel: INSIDE, domain: INSIDE, inspector: INSIDE, "inspector/promises": INSIDE,
  repl: INSIDE, sea: INSIDE, sqlite: INSIDE, "stream/consumers": INSIDE,
  test: INSIDE, trace_events: INSIDE, v8: INSIDE, vm: INSIDE, wasi: INSIDE,
  "path/win32": "paths are POSIX paths",
  zlib: "there is no compression",
};

export const unavailable = Object.keys(REASONS);
const bare = (name) => String(name).replace(/^node:/, "");

/** Whether `name` is a module that node itself has, here or not. */
export const isBuiltin = (name) => Object.hasOwn(modules, bare(name)) ||
  (Object.hasOwn(REASONS, bare(name)));

/**
 * The exports of a node module, or undefined when node has none of that name. One that node has
 * and the sandbox has not is an error that says why.
 */
export function getModule(name) {
  const key = bare(name);
  if (Object.hasOwn(modules, key)) return modules[key];
  if (Object.hasOwn(REASONS, key)) {
    throw codedError(
      Error, "ERR_MODULE_NOT_AVAILABLE",
      `node:${key} is not available in the sandbox: ${REASONS[key]}`,
    );
  }
  if (String(name).startsWith("node:")) {
    throw codedError(Error, "ERR_UNKNOWN_BUILTIN_MODULE", `No such built-in module: ${name}`);
  }
  return undefined;
}

const builtinModules = Object.keys(modules).sort();
Object.assign(modules.module, { builtinModules, isBuiltin });
process.getBuiltinModule = (name) => (
  Object.hasOwn(modules, bare(name)) ? modules[bare(name)] : undefined
);
