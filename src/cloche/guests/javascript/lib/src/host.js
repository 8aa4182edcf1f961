// The only file that touches the seam to the core prelude and through it the host.
//
// `globalThis.__cloche` is the core's `internal` object; it is there while this library is
// evaluated, at image time, and removed afterwards. Used of it:
//   call(op, payload) -> Uint8Array | negative errno    payload: Uint8Array or string (as UTF-8)
//   encodeUtf8(text), decodeUtf8(bytes), isValidUtf8(bytes)   the engine's codecs, if it has them
//   fieldName(text), fieldValue(text)                   of headers; the same
//   plainUrl(text)                                      see web/simple_url.js; the same
//   latin1(bytes, start, end), fieldLines(bytes, start, end)   what an app is sent
//   inspect, format, formatWithOptions                  console's formatting
//   run() -> {argv, env, cwd, filename}                 the input of the current run
//   reportError(error)                                  an error nobody catches
//   effect(kind, target, args), abandonable(kind, target, args)   what the host is asked for
//   effectOf(head, text), effectHead(kind, target)      the same of args that are JSON already
//   encode(value), quote(text)                          JSON that the host takes
//   promiseState(promise), promiseResult(promise)
//   changeDirectory(path), memoryUsage()                if the core wants to know, or knows
// setTimeout, setImmediate and console are globals already.
//
// Given back as `internal.library`:
//   beginRun()                 to call at the start of each run, before code of the program
//   emitBeforeExit(), emitExit(code) -> exit code       the events of `process`
//   getModule(name) -> exports, or undefined when node has no such module; throws when node has it
//       and the sandbox has not
//   isBuiltin(name), modules, unavailable, process
//   app: {register(exports) -> names, answer(origin, isLarge, env), ask(document, env, jobOf)}   see
//       web/app.js
//
// Invariants: the clock is read only by op 18 and randomness only by op 19, at the time of use,
// never at image time.

import * as codec from "./utf8.js";
import * as fields from "./web/fields.js";

const internal = globalThis.__cloche;
const OP = {
  STDOUT: 16, STDERR: 17, CLOCK: 18, RANDOM: 19, STDIN: 21, EXIT: 22, FS: 32,
};
const RANDOM_BYTES_MAX = 65536;
const NOTHING = new Uint8Array(0);
const RAW_REPLIES = new Set(["read"]);
const PATHS = ["p", "to", "target"]; // the fields of a file operation that name files

// The engine writes a lone surrogate as three bytes; the standard wants U+FFFD.
export const encodeUtf8 = internal.encodeUtf8
  ? (text) => internal.encodeUtf8(text.toWellFormed()) : codec.encodeUtf8;
export const decodeUtf8 = internal.decodeUtf8 ?? codec.decodeUtf8;
export const isValidUtf8 = internal.isValidUtf8 ?? codec.isValidUtf8;
export const { inspect, format, formatWithOptions } = internal;
export const fieldName = internal.fieldName ?? fields.fieldName;
export const fieldValue = internal.fieldValue ?? fields.fieldValue;
export const { fieldLines, latin1, plainUrl, promiseResult, promiseState } = internal;

export const reportError = (error) => internal.reportError(error);
export const setTimer = (callback, delay_ms) => globalThis.setTimeout(callback, delay_ms);

/** Ask for an effect and wait for it; its value, or the error that is thrown. */
export const callEffect = (kind, target, args) => internal.effect(kind, target, args);

/** The same with arguments that are JSON already; what comes before them is made once. */
export const callEffectOf = (head, text) => internal.effectOf(head, text);
export const effectHead = (kind, target) => internal.effectHead?.(kind, target);
/** JSON of plain data, and of a text. */
export const encodeJson = internal.encode ?? JSON.stringify;
export const quote = (text) => internal.quote?.(text) ?? encodeJson(text);

/** Ask for an effect: {promise, abandon}. What is abandoned is cancelled at the host. */
export const abandonable = (kind, target, args) => internal.abandonable(kind, target, args);

const payload4 = (number) => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number, true);
  return bytes;
};

/** The virtual clock, in nanoseconds since 1970, as a BigInt. */
export function clock_ns() {
  const reply = internal.call(OP.CLOCK, NOTHING);
  return new DataView(reply.buffer, reply.byteOffset, 8).getBigUint64(0, true);
}
export const now_ms = () => Math.trunc(Number(clock_ns()) / 1e6);

let started_ns;

/** The time this run began. */
export const start_ns = () => (started_ns ??= BigInt(runInfo().now_ns));

/** Called by the core at the start of a run, before any code of the program. */
export function beginRun() {
  started_ns = undefined;
  directory = undefined;
}
export const uptimeSeconds = () => Number(clock_ns() - start_ns()) / 1e9;

/** `count` bytes (at most 65536) of the run's seeded generator. */
export function random(count) {
  if (count > RANDOM_BYTES_MAX) throw new RangeError(`at most ${RANDOM_BYTES_MAX} random bytes`);
  return count === 0 ? new Uint8Array(0) : internal.call(OP.RANDOM, payload4(count));
}

export function writeOutput(fd, bytes) {
  internal.call(fd === 2 ? OP.STDERR : OP.STDOUT, bytes);
  return bytes.length;
}

const ALL = payload4(0x7fffffff);
/** What is left of standard input. */
export const readAllInput = () => internal.call(OP.STDIN, ALL);

/** Up to `count` bytes of standard input; empty at its end. */
export const readInput = (count) => internal.call(OP.STDIN, payload4(count));

/** Stop the program; never returns. */
export const exitNow = (code) => internal.exit(code & 0xff);

/** One file operation: bytes for `read`, a JSON value for the rest, a negative errno if refused. */
export function fileOperation(header, bytes) {
  for (const name of PATHS) {
    // Half a surrogate pair is no UTF-8; node replaces it too.
    if (name in header) header[name] = header[name].toWellFormed();
  }
  const reply = internal.call(OP.FS, bytes ? joinPayload(header, bytes) : JSON.stringify(header));
  if (typeof reply === "number" || RAW_REPLIES.has(header.f)) return reply;
  return reply.length ? JSON.parse(decodeUtf8(reply)) : undefined;
}

function joinPayload(header, bytes) {
  const head = encodeUtf8(JSON.stringify(header));
  const whole = new Uint8Array(head.length + 1 + bytes.length);
  whole.set(head);
  whole.set(bytes, head.length + 1);
  return whole;
}

// ---- the run ----

export const runInfo = () => internal.run();

let directory;
export const currentDirectory = () => (directory ??= runInfo().cwd ?? "/");
export const changeDirectory = (target) => {
  directory = target;
  internal.changeDirectory?.(target);
};

export const memoryUsage = () => internal.memoryUsage?.() ??
  { rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 };

/** Hand the finished library to the core. */
export const publish = (library) => { internal.library = library; };
