// The event loop: microtasks, immediates, timers on the virtual clock, and what the host completes.
//
// Invariants: time is read only where a timer needs it; a program that waits for nothing but timers
// never leaves its turn, virtual time is free.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const { parse, stringify } = JSON; // programs replace them
  const MS = 1000; // the clock counts microseconds

  // JSON.stringify escapes what is half a surrogate pair, and nothing else as \udxxx. The host takes
  // no such string; a replacement character stands for it, as everywhere on the web.
  const HALF_PAIR = /\\(?:ud[89a-f][0-9a-f]{2}|.)/g;
  internal.encode = (document) => {
    const text = stringify(document) ?? "null";
    if (!text.includes("\\ud")) return text;
    return text.replace(HALF_PAIR, (escape) => (escape.length === 6 ? "\\ufffd" : escape));
  };

  const TIMER_COUNT_MAX = 100000;
  const DELAY_MAX_MS = 2147483647;

  const timers = new Map(); // id -> Timeout, in order of creation
  let immediates = [];
  const effects = new Map(); // id -> {resolve, reject}
  const rejections = new Map(); // promise -> reason, as long as nobody handles it
  let nextTimer = 1;
  let nextEffect = 1;
  let hostCount = 0; // effects that the host has and that are not answered
  let held; // {id, text} of an effect that the host does not have yet
  let failure; // {error} once the run has failed

  // What the host gave the current run; the library asks for it already when the image is made.
  internal.input = { argv: ["main.js"], env: {}, cwd: "/", filename: "main.js" };
  internal.run = () => internal.input;

  internal.fail = (error) => { failure ??= { error }; };
  internal.failure = () => failure;

  const forgetEffects = () => {
    effects.clear();
    hostCount = 0;
    held = undefined;
  };

  internal.resetLoop = () => {
    timers.clear();
    forgetEffects();
    rejections.clear();
    immediates = [];
    nextTimer = 1;
    nextEffect = 1;
    failure = undefined;
  };

  /** Another run in the same heap: timers and promises stay, answers to its effects never come. */
  internal.resumeLoop = () => {
    forgetEffects();
    rejections.clear();
    failure = undefined;
  };

  // ---- traces ----

  // Frames of this prelude and the library mean nothing to a program; it never sees them.
  const HIDDEN = /^(?:prelude|lib)\//;
  internal.isHiddenFrame = (line) => /(?:\(|at )(?:prelude|lib)\/|\(native\)/.test(line);

  const frameText = (site) => {
    const file = site.getFileName();
    const place = site.isNative() ? "native" : `${file}:${site.getLineNumber()}:${site.getColumnNumber()}`;
    const name = site.getFunctionName();
    return name && name !== "<anonymous>" && name !== "<eval>" ? `    at ${name} (${place})` : `    at ${place}`;
  };

  const headOf = (error) => {
    try {
      const name = error.name === undefined ? "Error" : String(error.name);
      const message = error.message === undefined ? "" : String(error.message);
      return name && message ? `${name}: ${message}` : name || message;
    } catch {
      return "Error";
    }
  };

  // An accessor of the engine's: assigning is what installs it.
  Error.prepareStackTrace = (error, sites) => {
    const frames = [];
    for (const site of sites) {
      const file = site.getFileName();
      if (!site.isNative() && !(typeof file === "string" && HIDDEN.test(file))) {
        frames.push(frameText(site));
      }
    }
    return [headOf(error), ...frames].join("\n");
  };

  // ---- timers ----

  const requireFunction = (callback) => {
    if (typeof callback === "function") return;
    const error = new TypeError(
      'The "callback" argument must be of type function. Received ' +
        (callback === null ? "null" : typeof callback),
    );
    error.code = "ERR_INVALID_ARG_TYPE";
    throw error;
  };

  class Timeout {
    #id;
    #isReferenced = true;
    constructor(callback, delay_ms, args, repeats) {
      requireFunction(callback);
      if (timers.size >= TIMER_COUNT_MAX) {
        throw new RangeError(`more than ${TIMER_COUNT_MAX} timers are pending`);
      }
      const number = +delay_ms;
      this.#id = nextTimer++;
      const delay_us = (number >= 1 && number <= DELAY_MAX_MS ? Math.trunc(number) : 1) * MS;
      Object.defineProperty(this, "_", {
        value: { callback, args, delay_us, repeats, due_us: internal.clock() + delay_us },
      });
      timers.set(this.#id, this);
    }
    get id() { return this.#id; }
    get isReferenced() { return this.#isReferenced; }
    ref() { this.#isReferenced = true; return this; }
    unref() { this.#isReferenced = false; return this; }
    hasRef() { return this.#isReferenced; }
    refresh() {
      this._.due_us = internal.clock() + this._.delay_us;
      timers.set(this.#id, this);
      return this;
    }
    close() { timers.delete(this.#id); return this; }
    [Symbol.toPrimitive]() { return this.#id; }
    [Symbol.dispose ?? Symbol()]() { this.close(); }
  }

  class Immediate {
    #isReferenced = true;
    constructor(callback, args) {
      requireFunction(callback);
      Object.defineProperty(this, "_", { value: { callback, args, isCleared: false } });
      immediates.push(this);
    }
    ref() { this.#isReferenced = true; return this; }
    unref() { this.#isReferenced = false; return this; }
    hasRef() { return this.#isReferenced; }
  }

  const clearTimer = (timer) => {
    if (timer instanceof Timeout) timer.close();
    else if (typeof timer === "number" || typeof timer === "string") timers.delete(+timer);
  };

  internal.defineGlobal = (name, value) => Object.defineProperty(globalThis, name, {
    value, writable: true, enumerable: false, configurable: true,
  });

  const functions = {
    setTimeout: (callback, delay_ms, ...args) => new Timeout(callback, delay_ms, args, false),
    setInterval: (callback, delay_ms, ...args) => new Timeout(callback, delay_ms, args, true),
    setImmediate: (callback, ...args) => new Immediate(callback, args),
    clearTimeout: clearTimer,
    clearInterval: clearTimer,
    clearImmediate: (immediate) => {
      if (immediate instanceof Immediate) immediate._.isCleared = true;
    },
  };
  for (const [name, value] of Object.entries(functions)) internal.defineGlobal(name, value);
  internal.defineGlobal("global", globalThis);

  // ---- errors that nobody catches ----

  internal.reportError = (error) => {
    const process = internal.library?.process;
    if (process?.listenerCount("uncaughtException")) {
      try {
        process.emit("uncaughtException", error, "uncaughtException");
        return;
      } catch (second) {
        error = second;
      }
    }
    internal.fail(error);
  };

  internal.trackRejection = (promise, reason, isHandled) => {
    if (isHandled) rejections.delete(promise);
    else rejections.set(promise, reason);
  };

  /** End the program for a promise that nobody handled; return whether there was one. */
  const settleRejections = internal.settleRejections = () => {
    if (rejections.size === 0) return false;
    const pending = [...rejections];
    rejections.clear();
    const process = internal.library?.process;
    for (const [promise, reason] of pending) {
      if (internal.isProgram(promise)) {
        internal.reportError(reason);
      } else if (process?.listenerCount("unhandledRejection")) {
        run(() => process.emit("unhandledRejection", reason, promise));
      } else {
        internal.fail(reason);
      }
    }
    return true;
  };

  // ---- effects ----

  const UNNAMED = /at <(?:anonymous|eval)> \((.*)\)$/;

  /** The error that an effect failed with, and if it failed later, where it was asked for. */
  internal.effectError = (error, origin) => {
    const result = new Error(`${error.code}: ${error.message}`);
    if (origin) {
      const lines = origin.stack.split("\n").filter((line) => line && !internal.isHiddenFrame(line));
      const frames = lines.map((line) => `\n${line.replace(UNNAMED, "at $1")}`).join("");
      Object.defineProperty(result, "stack", {
        value: `EffectError: ${result.message}${frames}`, writable: true, configurable: true,
      });
    }
    Object.defineProperty(result, "name", { value: "EffectError", configurable: true });
    result.code = error.code;
    result.retryable = error.retryable;
    if (error.retry_after_ms !== undefined) result.retryAfterMs = error.retry_after_ms;
    return result;
  };

  // A loop asks for the same thing again and again: the beginning of the request is kept.
  let lastKind, lastTarget, requestHead;
  const requestText = (kind, target, args) => {
    if (kind !== lastKind || target !== lastTarget) {
      requestHead = internal.effectHead(kind, target);
      lastKind = kind;
      lastTarget = target;
    }
    return `${requestHead}${internal.encode(args === undefined ? null : args)}}`;
  };
  internal.effectHead = (kind, target) => (
    `"kind":${internal.encode(kind)},"target":${internal.encode(target)},"args":`
  );

  const VALUE = '{"value":';
  const isValue = (reply) => reply.startsWith(VALUE);
  const NOTHING = '{"value":null}';
  const valueOf = (reply) => (reply === NOTHING ? null : parse(reply.slice(VALUE.length, -1)));

  const answerTo = (text) => {
    flush();
    const reply = internal.ask(1, text);
    if (isValue(reply)) return valueOf(reply);
    throw internal.effectError(parse(reply).error);
  };

  /** Ask for an effect and wait for it, inside the turn. */
  internal.effect = (kind, target, args) => answerTo(`{${requestText(kind, target, args)}`);
  /** The same with a head made before, and arguments that are JSON already. */
  internal.effectOf = (head, args) => answerTo(`{${head}${args}}`);

  // Most effects do not fail: frames are chosen only when one has.
  // The accessor itself: the realm of scripts takes it away from `Error`.
  const traces = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace");
  const { captureStackTrace } = Error;
  /** The frames below a function of the prelude's, if one is given. */
  const whereNow = (caller) => {
    const here = {};
    const prepare = traces.get.call(Error);
    traces.set.call(Error, undefined);
    captureStackTrace(here, caller);
    traces.set.call(Error, prepare);
    return here;
  };

  const submit = ({ id, text }) => {
    hostCount += 1;
    internal.ask(2, `{"id":${id},${text}`);
  };

  /** Hand over what is held: whatever is asked for next comes behind it. */
  const flush = () => {
    if (held === undefined) return;
    const request = held;
    held = undefined;
    submit(request);
  };
  internal.flush = flush;

  /**
   * Ask for an effect that is answered by one of two functions; returns its number. Nothing was
   * asked for if it throws. If it is `alone`, and the program then does nothing but wait for it,
   * it is answered inside the turn: no other thread has to perform it.
   */
  internal.request = (kind, target, args, resolve, reject, alone, caller) => {
    const request = { id: nextEffect++, text: requestText(kind, target, args) };
    flush();
    effects.set(request.id, { resolve, reject, origin: whereNow(caller) });
    if (alone && hostCount === 0) held = request;
    else submit(request);
    return request.id;
  };

  const answerHeld = () => {
    const { id, text } = held;
    const { resolve, reject, origin } = effects.get(id);
    held = undefined;
    effects.delete(id);
    const reply = internal.ask(1, `{${text}`);
    if (isValue(reply)) resolve(valueOf(reply));
    else reject(internal.effectError(parse(reply).error, origin));
  };

  /** Keep nobody waiting for an effect; it goes on at the host. False if it is answered. */
  internal.forget = (id) => effects.delete(id);

  /** Ask for an effect that may be given up: {promise, abandon}; then it is cancelled. */
  internal.abandonable = (kind, target, args) => {
    let id;
    const promise = new Promise((resolve, reject) => {
      id = internal.request(kind, target, args, resolve, reject, false);
    });
    const abandon = () => {
      if (!effects.delete(id)) return;
      hostCount -= 1;
      internal.ask(8, `{"id":${id}}`);
    };
    return { promise, abandon };
  };

  /** Ask for an effect; its completion comes in a later turn. */
  internal.submit = (kind, target, args) => internal.abandonable(kind, target, args).promise;

  internal.deliver = (completions) => {
    hostCount -= completions.length;
    for (const { id, value, error } of completions) {
      const effect = effects.get(id);
      effects.delete(id);
      if (error === undefined) effect?.resolve(value);
      else effect?.reject(internal.effectError(error, effect.origin));
    }
  };

  // ---- the loop ----

  const run = (callback, ...args) => {
    try {
      callback(...args);
    } catch (error) {
      internal.reportError(error);
    }
  };

  const earliest = () => {
    let first;
    if (timers.size === 0) return first;
    // What keeps nobody waiting fires all the same while something else does: AbortSignal.timeout.
    for (const timer of timers.values()) {
      if ((timer.isReferenced || effects.size) && (first === undefined || timer._.due_us < first)) {
        first = timer._.due_us;
      }
    }
    return first;
  };

  const runDueTimers = (now_us) => {
    const due = [...timers.values()].filter((timer) => timer._.due_us <= now_us);
    due.sort((a, b) => a._.due_us - b._.due_us || a.id - b.id);
    for (const timer of due) {
      if (!timers.has(timer.id)) continue;
      if (timer._.repeats) timer._.due_us = Math.max(now_us, timer._.due_us) + timer._.delay_us;
      else timers.delete(timer.id);
      run(timer._.callback, ...timer._.args);
      if (!settle()) return;
    }
  };

  /** Run microtasks until none is left. False once the run has failed. */
  const settle = () => {
    internal.drain(internal.reportError);
    settleRejections();
    return failure === undefined;
  };

  /**
   * Run until nothing is ready.
   * Returns undefined when nothing will ever be, else {wake_ns} to wait for the host with.
   */
  internal.runLoop = () => {
    while (settle()) {
      if (immediates.length) {
        const batch = immediates;
        immediates = [];
        for (const { _: { callback, args, isCleared } } of batch) {
          if (isCleared) continue;
          run(callback, ...args);
          if (!settle()) return undefined;
        }
        continue;
      }
      const next_us = earliest();
      if (next_us === undefined) {
        if (held !== undefined && effects.has(held.id)) {
          answerHeld();
          continue;
        }
        flush();
        return effects.size ? { wake_ns: null } : undefined;
      }
      flush();
      const now_us = internal.clock();
      if (next_us > now_us) {
        // Beyond 2^53 a JSON number would lose digits, so the nanoseconds are written by hand.
        if (effects.size) return { wake_ns: `${next_us}000` };
        internal.sleepUntil(next_us);
      }
      runDueTimers(Math.max(now_us, next_us));
    }
    flush();
    return undefined;
  };

  /** Whether something is left to wait for. */
  internal.isAlive = () => immediates.length > 0 || effects.size > 0 || earliest() !== undefined;

  // The engine seeds Math.random from the clock when it starts, which is when the image is made.
  let randomState;
  internal.resetRandom = () => { randomState = undefined; };
  const random = () => {
    if (randomState === undefined) {
      const bytes = internal.call(19, new Uint8Array([8, 0, 0, 0]));
      randomState = new BigUint64Array(bytes.buffer)[0] || 1n;
    }
    // xorshift64*: enough for Math.random, whose quality nobody may rely on
    randomState ^= randomState >> 12n;
    randomState = BigInt.asUintN(64, randomState ^ (randomState << 25n));
    randomState ^= randomState >> 27n;
    const product = BigInt.asUintN(64, randomState * 2685821657736338717n);
    return Number(product >> 11n) / 9007199254740992;
  };
  Object.defineProperty(Math, "random", {
    value: { random }.random, writable: true, enumerable: false, configurable: true,
  });
})();
