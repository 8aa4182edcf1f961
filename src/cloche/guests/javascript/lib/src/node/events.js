// node:events: the `events` package, plus `on`, `getEventListeners` and the names around them.

import EventEmitter from "events/";
import { inspect } from "../host.js";
import { codedError, invalidType } from "./errors.js";
import { EventTarget } from "../web/event.js";

const abortError = (signal) => {
  const error = codedError(Error, "ABORT_ERR", "The operation was aborted");
  error.name = "AbortError";
  error.cause = signal.reason;
  return error;
};

/** A promise of the next `name`; an "error" event before it rejects. */
export function once(emitter, name, { signal } = {}) {
  if (signal?.aborted) return Promise.reject(abortError(signal));
  return new Promise((resolve, reject) => {
    const isTarget = emitter instanceof EventTarget;
    const listen = (type, listener) => {
      if (isTarget) emitter.addEventListener(type, listener, { once: true });
      else emitter.once(type, listener);
    };
    const ignore = (type, listener) => {
      if (isTarget) emitter.removeEventListener(type, listener);
      else emitter.removeListener(type, listener);
    };
    const end = (settle) => (...values) => {
      ignore(name, onEvent);
      ignore("error", onError);
      signal?.removeEventListener("abort", onAbort);
      settle(values);
    };
    const onEvent = end(resolve);
    const onError = end(([error]) => reject(error));
    const onAbort = end(() => reject(abortError(signal)));
    listen(name, onEvent);
    if (name !== "error" && !isTarget) listen("error", onError);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** An async iterator over the argument lists of every `name`; it ends at an event of `close`. */
export function on(emitter, name, { signal, close = [] } = {}) {
  if (signal?.aborted) throw abortError(signal);
  const waiting = [];
  const ready = [];
  let failure;
  let isOver = false;
  const onEvent = (...args) => {
    if (waiting.length) waiting.shift().resolve({ value: args, done: false });
    else ready.push(args);
  };
  const onError = (error) => {
    if (waiting.length) waiting.shift().reject(error);
    else failure = { error };
    finish();
  };
  const onAbort = () => onError(abortError(signal));
  const finish = () => {
    isOver = true;
    emitter.removeListener(name, onEvent);
    emitter.removeListener("error", onError);
    for (const type of close) emitter.removeListener(type, finish);
    signal?.removeEventListener("abort", onAbort);
    for (const { resolve } of waiting.splice(0)) resolve({ value: undefined, done: true });
  };
  emitter.on(name, onEvent);
  if (name !== "error") emitter.on("error", onError);
  for (const type of close) emitter.on(type, finish);
  signal?.addEventListener("abort", onAbort, { once: true });
  return {
    next() {
      if (ready.length) return Promise.resolve({ value: ready.shift(), done: false });
      if (failure) {
        const { error } = failure;
        failure = undefined;
        return Promise.reject(error);
      }
      if (isOver) return Promise.resolve({ value: undefined, done: true });
      const next = Promise.withResolvers();
      waiting.push(next);
      return next.promise;
    },
    return() {
      finish();
      return Promise.resolve({ value: undefined, done: true });
    },
    throw(error) {
      onError(error);
      return Promise.resolve({ value: undefined, done: true });
    },
    [Symbol.asyncIterator]() { return this; },
  };
}

export const getEventListeners = (emitter, name) => emitter.listeners?.(name) ?? [];
export const getMaxListeners = (emitter) => emitter.getMaxListeners?.() ?? 0;
export const listenerCount = (emitter, name) => emitter.listenerCount(name);
export const errorMonitor = Symbol("events.errorMonitor");
export const captureRejectionSymbol = Symbol.for("nodejs.rejection");

export function setMaxListeners(count = EventEmitter.defaultMaxListeners, ...targets) {
  if (typeof count !== "number" || count < 0) {
    throw invalidType("n", "a non-negative number", count);
  }
  for (const target of targets) target.setMaxListeners?.(count);
}

export function addAbortListener(signal, listener) {
  if (signal.aborted) queueMicrotask(() => listener());
  else signal.addEventListener("abort", listener, { once: true });
  return { [Symbol.dispose]() { signal.removeEventListener("abort", listener); } };
}

const emit = EventEmitter.prototype.emit;

function unhandled(value) {
  const message = `Unhandled error. (${inspect(value)})`;
  const error = codedError(Error, "ERR_UNHANDLED_ERROR", message);
  error.context = value;
  return error;
}

// The package predates errorMonitor: its listeners see an error before, and do not handle it.
EventEmitter.prototype.emit = function emitEvent(name, ...args) {
  if (name === "error") {
    if (this._events?.[errorMonitor]) emit.call(this, errorMonitor, ...args);
    if (!this._events?.error && !Error.isError(args[0])) throw unhandled(args[0]);
  }
  return emit.call(this, name, ...args);
};
Object.defineProperty(EventEmitter.prototype.emit, "name", { value: "emit" });

export const defaultMaxListeners = EventEmitter.defaultMaxListeners;

Object.assign(EventEmitter, {
  EventEmitter, once, on, getEventListeners, getMaxListeners, listenerCount, errorMonitor,
  captureRejectionSymbol, setMaxListeners, addAbortListener, captureRejections: false,
});

export { EventEmitter };
export default EventEmitter;
