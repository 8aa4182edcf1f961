// Event, EventTarget, CustomEvent, AbortSignal, AbortController as in the DOM standard.
//
// There is no tree here, so an event has one target, and capturing and bubbling are the same place.
// A listener that throws does not stop the others: its error is reported as uncaught.

import { codedError, invalidType } from "../node/errors.js";
import { setTimer, reportError } from "../host.js";

const STATE = Symbol("state");
const NONE = 0;
const AT_TARGET = 2;

export class Event {
  static NONE = NONE;
  static CAPTURING_PHASE = 1;
  static AT_TARGET = AT_TARGET;
  static BUBBLING_PHASE = 3;

  constructor(type, options = {}) {
    if (arguments.length === 0) throw new TypeError("The \"type\" argument must be specified");
    const state = {
      type: String(type),
      bubbles: Boolean(options?.bubbles),
      cancelable: Boolean(options?.cancelable),
      composed: Boolean(options?.composed),
      prevented: false,
      stopped: false,
      dispatching: false,
      passive: false,
      target: null,
      timeStamp: performance.now(),
    };
    Object.defineProperty(this, STATE, { value: state });
  }

  get type() { return this[STATE].type; }
  get target() { return this[STATE].target; }
  get srcElement() { return this[STATE].target; }
  get currentTarget() { return this[STATE].dispatching ? this[STATE].target : null; }
  get eventPhase() { return this[STATE].dispatching ? AT_TARGET : NONE; }
  get bubbles() { return this[STATE].bubbles; }
  get cancelable() { return this[STATE].cancelable; }
  get composed() { return this[STATE].composed; }
  get defaultPrevented() { return this[STATE].cancelable && this[STATE].prevented; }
  get returnValue() { return !this.defaultPrevented; }
  get timeStamp() { return this[STATE].timeStamp; }
  get isTrusted() { return false; }
  get cancelBubble() { return this[STATE].stopped; }
  set cancelBubble(value) { if (value) this.stopPropagation(); }
  composedPath() { return this[STATE].dispatching ? [this[STATE].target] : []; }
  preventDefault() { if (!this[STATE].passive) this[STATE].prevented = true; }
  stopPropagation() {}
  stopImmediatePropagation() { this[STATE].stopped = true; }
  get [Symbol.toStringTag]() { return "Event"; }
}

export class CustomEvent extends Event {
  #detail;
  constructor(type, options = {}) {
    super(type, options);
    this.#detail = options?.detail ?? null;
  }
  get detail() { return this.#detail; }
  get [Symbol.toStringTag]() { return "CustomEvent"; }
}

const LISTENERS = Symbol("listeners");

export class EventTarget {
  constructor() {
    Object.defineProperty(this, LISTENERS, { value: new Map() });
  }

  addEventListener(type, callback, options) {
    if (callback === null || callback === undefined) return;
    const isUsable = typeof callback === "function" || typeof callback === "object";
    if (!isUsable) throw invalidType("listener", "an instance of EventListener", callback);
    const flags = typeof options === "object" && options !== null ? options : {};
    const capture = typeof options === "boolean" ? options : Boolean(flags.capture);
    if (flags.signal?.aborted) return;
    const key = String(type);
    const list = this[LISTENERS].get(key) ?? [];
    if (list.some((one) => one.callback === callback && one.capture === capture)) return;
    const once = Boolean(flags.once);
    const passive = Boolean(flags.passive);
    this[LISTENERS].set(key, [...list, { callback, capture, once, passive }]);
    flags.signal?.addEventListener("abort", () => {
      this.removeEventListener(key, callback, { capture });
    }, { once: true });
  }

  removeEventListener(type, callback, options) {
    const capture = typeof options === "boolean" ? options : Boolean(options?.capture);
    const list = this[LISTENERS].get(String(type));
    if (!list) return;
    const rest = list.filter((one) => one.callback !== callback || one.capture !== capture);
    if (rest.length) this[LISTENERS].set(String(type), rest);
    else this[LISTENERS].delete(String(type));
  }

  dispatchEvent(event) {
    if (!(event instanceof Event)) {
      throw invalidType("event", "an instance of Event", event);
    }
    const state = event[STATE];
    if (state.dispatching) {
      throw new DOMException("The event is already being dispatched.", "InvalidStateError");
    }
    state.dispatching = true;
    state.target = this;
    this.#callListeners(event, state);
    state.dispatching = false;
    return !event.defaultPrevented;
  }

  #callListeners(event, state) {
    // A listener added while an event is under way does not see it; one removed is not called.
    for (const one of this[LISTENERS].get(state.type) ?? []) {
      if (!(this[LISTENERS].get(state.type) ?? []).includes(one)) continue;
      if (one.once) this.removeEventListener(state.type, one.callback, one);
      state.passive = one.passive;
      try {
        if (typeof one.callback === "function") one.callback.call(this, event);
        else one.callback.handleEvent(event);
      } catch (error) {
        reportError(error);
      }
      state.passive = false;
      if (state.stopped) return;
    }
  }

  get [Symbol.toStringTag]() { return "EventTarget"; }
}

/** Define the `onNAME` attribute of an event target class. */
function defineHandler(prototype, name) {
  const slot = Symbol(name);
  Object.defineProperty(prototype, `on${name}`, {
    configurable: true,
    enumerable: true,
    get() { return this[slot]?.handler ?? null; },
    set(handler) {
      if (this[slot]) this.removeEventListener(name, this[slot].listener);
      this[slot] = undefined;
      if (typeof handler !== "function") return;
      const listener = (event) => handler.call(this, event);
      Object.defineProperty(this, slot, {
        value: { handler, listener }, writable: true, configurable: true,
      });
      this.addEventListener(name, listener);
    },
  });
}

const INTERNAL = Symbol("internal");
const abortError = () => new DOMException("This operation was aborted", "AbortError");
let abortSignal;

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  #followers = new Set();

  constructor(key) {
    if (key !== INTERNAL) {
      throw codedError(TypeError, "ERR_ILLEGAL_CONSTRUCTOR", "Illegal constructor");
    }
    super();
  }

  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }
  get [Symbol.toStringTag]() { return "AbortSignal"; }

  static abort(reason = abortError()) {
    const signal = new AbortSignal(INTERNAL);
    signal.#aborted = true;
    signal.#reason = reason;
    return signal;
  }

  static timeout(delay_ms) {
    const number = Number(delay_ms);
    if (!(number >= 0 && number <= Number.MAX_SAFE_INTEGER)) {
      throw new RangeError(`The delay must be 0 to 2^53 - 1 milliseconds, found ${delay_ms}`);
    }
    const signal = new AbortSignal(INTERNAL);
    const timer = setTimer(() => {
      const message = "The operation was aborted due to timeout";
      abortSignal(signal, new DOMException(message, "TimeoutError"));
    }, number);
    timer?.unref?.();
    return signal;
  }

  static any(signals) {
    const result = new AbortSignal(INTERNAL);
    const sources = [...signals];
    for (const source of sources) {
      if (!(source instanceof AbortSignal)) throw new TypeError("Each item must be an AbortSignal");
    }
    const ended = sources.find((source) => source.aborted);
    if (ended) abortSignal(result, ended.reason);
    else for (const source of sources) source.#followers.add(result);
    return result;
  }

  static {
    abortSignal = (signal, reason) => {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason === undefined ? abortError() : reason;
      const followers = [...signal.#followers].filter((one) => !one.#aborted);
      signal.#followers.clear();
      signal.dispatchEvent(new Event("abort"));
      for (const follower of followers) abortSignal(follower, signal.#reason);
    };
  }
}
defineHandler(AbortSignal.prototype, "abort");

export class AbortController {
  #signal = new AbortSignal(INTERNAL);
  get signal() { return this.#signal; }
  abort(reason) { abortSignal(this.#signal, reason); }
  get [Symbol.toStringTag]() { return "AbortController"; }
}
