// The realm of scripts: what a program in a model's message finds. Only in the image for scripts,
// after everything that other programs have, and before the turns.
//
// Invariants:
// - nothing makes code of text: no `eval`, no constructor of functions, no import, no require;
// - what the language itself offers is frozen, and yet an object may have a property of its own
//   that is named like one of a frozen prototype (`this.name = …` in a class that extends Error);
// - every call of a tool is known until it is settled; when the script is over, none is left.
//
// The wall is the sandbox; this keeps programs from surprising themselves and their readers.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const { defineProperty, freeze, getOwnPropertyDescriptor, getPrototypeOf, hasOwn } = Object;
  const { apply, ownKeys } = Reflect;
  const { parse, stringify } = JSON;
  const { isFinite } = Number;

  // ---- what is not there ----

  const DROPPED = ("eval SharedArrayBuffer Atomics global process Buffer require fetch net " +
    "Request Response Headers cloche performance Performance PerformanceEntry tools").split(" ");
  for (const name of DROPPED) delete globalThis[name];

  const closed = (sample) => {
    const prototype = getPrototypeOf(sample);
    const { name } = prototype.constructor;
    const constructor = function () {
      throw new EvalError("code from text is not allowed in scripts: write a function");
    };
    defineProperty(constructor, "name", { value: name });
    defineProperty(constructor, "prototype", { value: prototype, writable: false });
    defineProperty(prototype, "constructor", {
      value: constructor, writable: false, enumerable: false, configurable: false,
    });
    return constructor;
  };
  const samples = [async () => {}, function* () {}, async function* () {}];
  for (const sample of samples) closed(sample);
  globalThis.Function = closed(() => {});

  const noModules = (base, name) => {
    throw new TypeError(`scripts import nothing, not even '${name}': what there is, is global`);
  };
  internal.resolveModule = noModules;
  internal.loadModule = (path) => noModules("", path);
  internal.makeRequire = () => undefined;
  internal.isCommonJs = () => false;

  // ---- values ----

  const DEPTH_MAX = 500; // the host refuses what is deeper
  const plain = new Set([Object.prototype, Array.prototype, null]);
  const builtIn = new Map(); // prototype -> its name
  for (const name of ownKeys(globalThis)) {
    const prototype = typeof globalThis[name] === "function" ? globalThis[name].prototype : undefined;
    if (prototype !== undefined && !plain.has(prototype)) builtIn.set(prototype, name);
  }

  const fits = (value) => {
    const kind = typeof value;
    return kind === "number" ? isFinite(value)
      : kind === "string" || kind === "boolean" || value === null || value === undefined;
  };

  /** Where a value cannot cross whole, and why. As in JSON, undefined is absent or null. */
  const misfit = (value, path = "$", above = undefined) => {
    const kind = typeof value;
    if (kind === "number" && !isFinite(value)) return { path, problem: `is ${value}` };
    if (kind === "bigint" || kind === "symbol" || kind === "function") {
      return { path, problem: `is a ${kind}` };
    }
    if (kind !== "object" || value === null) return undefined;
    if (above?.has(value)) return { path, problem: "holds itself" };
    if (above?.size >= DEPTH_MAX) return { path, problem: "is nested too deep" };
    for (let one = getPrototypeOf(value); !plain.has(one); one = getPrototypeOf(one)) {
      if (builtIn.has(one)) return { path, problem: `is a ${builtIn.get(one)}` };
    }
    const isList = Array.isArray(value);
    const keys = isList ? value : Object.keys(value);
    for (let index = 0; index < keys.length; index++) {
      const key = isList ? index : keys[index];
      const inner = value[key];
      if (fits(inner)) continue; // before anything is made for it
      above ??= new Set();
      above.add(value);
      const found = misfit(inner, isList ? `${path}[${key}]` : `${path}.${key}`, above);
      if (found !== undefined) return found;
    }
    above?.delete(value);
    return undefined;
  };

  // ---- calls ----

  const calls = new Set(); // that are not settled, while the script runs
  let isOver = false;

  class ToolPromise extends Promise {
    static get [Symbol.species]() { return Promise; }
  }
  const callOf = new WeakMap();

  const UNWANTED = {
    code: "SCRIPT_CANCELLED",
    message: "the script was cancelled: nobody waits for this call any more",
    retryable: false,
  };
  const abort = (call) => {
    if (!calls.delete(call)) return;
    internal.forget(call.id);
    internal.effect("tool", "$abort", { number: call.number });
    call.reject(internal.effectError(UNWANTED)); // for whoever does wait for it
  };

  // The host numbers what it is asked for from 0; so its numbers are known here, too.
  let requests = 0;
  const ask = internal.effect;
  internal.effect = (...args) => { requests += 1; return ask(...args); };

  const submit = (path, args, caller) => {
    if (isOver) return new ToolPromise(() => {}); // nobody is there to get an answer
    const call = {
      path, number: requests, id: 0, isSettled: false, onSettled: undefined, reject: undefined,
    };
    const promise = new ToolPromise((resolve, reject) => {
      call.reject = reject;
      const onValue = (value) => {
        call.isSettled = true;
        if (calls.delete(call)) resolve(deepFreeze(value));
        call.onSettled?.();
      };
      const onError = (error) => {
        call.isSettled = true;
        if (calls.delete(call)) reject(error);
        call.onSettled?.();
      };
      call.id = internal.request("tool", path, args, onValue, onError, true, caller);
      requests += 1;
      calls.add(call);
    });
    callOf.set(promise, call);
    return promise;
  };

  const deepFreeze = (value) => {
    if (typeof value !== "object" || value === null) return value;
    for (const key of ownKeys(value)) deepFreeze(value[key]);
    return freeze(value);
  };

  // The losers of a race are not wanted any more; who waits for one all the same gets an error.
  for (const name of ["race", "any"]) {
    const first = Promise[name];
    const { [name]: value } = { [name](promises) {
      const all = [...promises];
      const winner = apply(first, this, [all]);
      const losers = () => {
        for (const one of all) {
          const call = typeof one === "object" && one !== null ? callOf.get(one) : undefined;
          if (call !== undefined) abort(call);
        }
      };
      winner.then(losers, losers);
      return winner;
    } };
    defineProperty(Promise, name, { value, writable: true, enumerable: false, configurable: true });
  }

  // ---- tools ----

  const INSPECT = Symbol.for("nodejs.util.inspect.custom");
  const refuse = () => { throw new TypeError("tools are read-only"); };
  const readOnly = {
    set: refuse, defineProperty: refuse, deleteProperty: refuse, setPrototypeOf: refuse,
    preventExtensions: refuse,
  };

  const PATH = Symbol("path"); // what `help` knows a tool by

  /** Tools below a path; what the host does not know is asked for, so that it names what it has. */
  const space = (path, known) => {
    const prefix = path === "" ? "" : `${path}.`;
    const target = path === "" ? {}
      : (...args) => handOver(path, args.length === 1 ? args[0] : args.length ? args : {}, target);
    if (path !== "") for (const key of ["name", "length"]) delete target[key];
    const keep = (name, value) => defineProperty(target, name, {
      value, enumerable: true, writable: false, configurable: true,
    });
    for (const name of Object.keys(known)) keep(name, undefined); // made when it is looked at
    const make = (name) => {
      if (target[name] === undefined && hasOwn(known, name)) {
        keep(name, space(prefix + name, known[name]));
      }
    };
    return new Proxy(target, {
      __proto__: readOnly,
      getOwnPropertyDescriptor(inner, name) {
        make(name);
        return getOwnPropertyDescriptor(inner, name);
      },
      get(inner, name) {
        if (name === INSPECT) return () => (path === "" ? "[tools]" : `[tool ${path}]`);
        if (hasOwn(inner, name)) {
          if (inner[name] === undefined) make(name);
          return inner[name];
        }
        if (name === PATH) return path;
        if (typeof name === "symbol" || name === "then" || name === "toJSON") return undefined;
        if (path !== "" && name in inner) return inner[name];
        if (path === "" && name in Object.prototype) return Object.prototype[name];
        return space(prefix + name, {});
      },
    });
  };

  /** Call a tool, if its arguments can leave; the host makes the error of those that cannot. */
  const handOver = (path, args, caller) => {
    const unfit = misfit(args);
    if (unfit === undefined) return submit(path, args, caller);
    return new ToolPromise(() => { internal.effect("tool", "$refuse", { tool: path, ...unfit }); });
  };

  // Found without being listed: what belongs to `tools` itself.
  const ALWAYS = ["search", "describe"];
  const facade = (names) => {
    const tree = {};
    for (const name of names) {
      let level = tree;
      for (const part of name.split(".")) level = level[part] ??= {};
    }
    const tools = space("", tree);
    return { tools, list: names.filter((name) => !ALWAYS.includes(name)) };
  };

  // ---- one script ----

  const progressOf = (limits) => {
    let count = 0;
    let next_us = 0;
    return (message, kind = "info") => {
      if (typeof message !== "string") throw new TypeError("progress is a text");
      const now_us = internal.clock();
      if (count >= limits.progress_count || now_us < next_us) return;
      count += 1;
      next_us = now_us + limits.progress_interval_ms * 1000;
      const text = message.slice(0, limits.progress_limit);
      try {
        internal.effect("tool", "$progress", { message: text, kind: kind === "warn" ? kind : "info" });
      } catch {
        // Whoever shows progress is no part of the script.
      }
    };
  };

  // Lines of the console go to one stream: so many in all, and so many a second.
  internal.warnings = 16;
  const lines = { left: Infinity, rate: Infinity, since_us: 0, count: 0 };
  const mayWrite = () => {
    if (lines.left <= 0) {
      if (lines.left === 0) internal.call(16, "<more console output was dropped>\n");
      lines.left = -1;
      return false;
    }
    const now_us = internal.clock();
    if (now_us - lines.since_us >= 1000000) {
      lines.since_us = now_us;
      lines.count = 0;
    }
    lines.count += 1;
    if (lines.count > lines.rate) {
      const mark = `<lines beyond ${lines.rate} a second were dropped>\n`;
      if (lines.count === lines.rate + 1) internal.call(16, mark);
      return false;
    }
    lines.left -= 1;
    return true;
  };
  const limited = (write) => (...args) => { if (mayWrite()) write(...args); };
  for (const key of ownKeys(console)) {
    const descriptor = getOwnPropertyDescriptor(console, key);
    if (typeof descriptor.value === "function") {
      const wrapped = limited(descriptor.value);
      defineProperty(wrapped, "name", { value: descriptor.value.name });
      defineProperty(console, key, { ...descriptor, value: wrapped });
    }
  }

  const settled = (waiting, grace_ms) => Promise.race([
    Promise.all(waiting.map((call) => new Promise((resolve) => { call.onSettled = resolve; }))),
    new Promise((resolve) => { setTimeout(resolve, grace_ms); }),
  ]);

  const finish = async (value, limits) => {
    if (internal.settleRejections()) return; // an error that nobody handled ends every program
    let report;
    try {
      report = misfit(value) ?? { value };
      stringify(report);
    } catch (error) {
      report = { problem: `cannot be read: ${error.message}` };
    }
    // Whoever waits for these is not waited for itself: `list.forEach(async …)` is such a place.
    isOver = true;
    const orphans = [...calls];
    calls.clear();
    if (orphans.length) {
      for (const call of orphans) internal.effect("tool", "$abort", { number: call.number });
      await settled(orphans, limits.grace_ms);
    }
    const detached = orphans.filter((call) => !call.isSettled).map((call) => call.path);
    if (detached.length) report.detached = detached;
    internal.effect("tool", "$return", report);
    internal.end();
  };

  /** Data with one member that changes: the host is asked for it, and it is recorded. */
  const live = (data, key) => freeze(defineProperty({ ...data }, key, {
    get() { return deepFreeze(internal.effect("tool", "$state", {})[key]); }, enumerable: true,
  }));

  let isStarted = false;
  const run = (make, given) => {
    if (isStarted) throw new TypeError("$run belongs to the host");
    isStarted = true;
    const [names, context, limits] = parse(given);
    lines.left = limits.console_count;
    lines.rate = limits.console_rate;
    const { tools, list } = facade(names);
    const help = (tool) => {
      if (tool !== undefined && tool !== tools) {
        const path = typeof tool === "function" ? tool[PATH] : undefined;
        return submit("describe", path ?? String(tool), help);
      }
      return `Tools: ${list.join(", ") || "none"}.\n` +
        "tools.describe(name) tells what one takes and gives, tools.search(words) finds some.";
    };
    const telemetry = { emitProgress: progressOf(limits) };
    const shown = {
      ...deepFreeze({ ...context, telemetry }),
      sandbox: live(context.sandbox, "toolCallsLeft"),
      approvals: live(context.approvals, "lastRequest"),
    };
    const body = make(tools, freeze(shown), freeze(help));
    return body().then((value) => finish(value, limits));
  };
  defineProperty(globalThis, "$run", { value: freeze(run) });

  // ---- frozen ----

  // Methods that loops call stay data: an accessor would cost every call of `push` its time.
  internal.opened = new WeakMap(); // getter -> what it gives, for console
  const ALL = [Object, Function, Error, Promise].map((one) => one.prototype);
  for (const name of ownKeys(globalThis)) {
    if (typeof name === "string" && name.endsWith("Error")) ALL.push(globalThis[name].prototype);
  }
  const SOME = ["constructor", "toString", "toLocaleString", "valueOf", "toJSON", "name", "message"];

  /** Let what inherits a property have one of its own by assignment, though the prototype is frozen. */
  const open = (prototype, key) => {
    const descriptor = getOwnPropertyDescriptor(prototype, key);
    if (descriptor === undefined || !("value" in descriptor) || !descriptor.configurable) return;
    const { value } = descriptor;
    const accessors = {
      get() { return value; },
      set(own) {
        if (this === prototype) throw new TypeError(`'${String(key)}' is read-only`);
        defineProperty(this, key, {
          value: own, writable: true, enumerable: true, configurable: true,
        });
      },
    };
    const { get, set } = accessors;
    internal.opened.set(get, value);
    defineProperty(prototype, key, { get, set, enumerable: descriptor.enumerable, configurable: false });
  };

  const found = new Set();
  const queue = [];
  const visit = (value) => {
    const isObject = typeof value === "object" ? value !== null : typeof value === "function";
    if (!isObject || found.has(value) || value === internal || value === globalThis) return;
    found.add(value);
    queue.push(value);
  };
  for (const key of ownKeys(globalThis)) {
    if (key !== "__cloche") visit(globalThis[key]);
  }
  const hidden = [
    ...samples, [][Symbol.iterator](), new Map().entries(), new Set().values(), ""[Symbol.iterator](),
    "".matchAll(/a/g), (function* () {})(), (async function* () {})(), Iterator.from({ next() {} }),
    [].values().map((one) => one), ToolPromise,
  ];
  for (const value of hidden) visit(getPrototypeOf(value));
  visit(ToolPromise);
  while (queue.length) {
    const value = queue.pop();
    visit(getPrototypeOf(value));
    for (const key of ownKeys(value)) {
      const descriptor = getOwnPropertyDescriptor(value, key);
      visit(descriptor.value);
      visit(descriptor.get);
      visit(descriptor.set);
    }
  }

  // Stack traces are made by the host's side alone.
  const traces = getOwnPropertyDescriptor(Error, "prepareStackTrace");
  if (traces !== undefined && traces.configurable) delete Error.prepareStackTrace;

  const isPrototype = (value) => {
    const { constructor } = value;
    return typeof constructor === "function" && constructor.prototype === value;
  };
  for (const value of found) {
    if (ALL.includes(value)) for (const key of ownKeys(value)) open(value, key);
    else if (isPrototype(value)) for (const key of SOME) open(value, key);
  }
  for (const value of found) if (!ArrayBuffer.isView(value)) freeze(value);

  for (const key of ownKeys(globalThis)) {
    if (key === "__cloche") continue;
    const descriptor = getOwnPropertyDescriptor(globalThis, key);
    if ("value" in descriptor) descriptor.writable = false;
    defineProperty(globalThis, key, { ...descriptor, configurable: false });
  }
  internal.defineGlobal = () => {};
  Object.preventExtensions(globalThis);
})();
