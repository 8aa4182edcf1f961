// A core prelude in miniature, for tests of the library alone: the `internal` object of host.js,
// timers on a queue that the driver pumps, and a console that writes JSON.

(() => {
  const call = globalThis.__hostCall;
  const lines = [];
  const macrotasks = [];
  let serial = 0;
  const show = (value) => (typeof value === "string" ? value : inspect(value));
  function inspect(value) {
    if (typeof value === "string") return `'${value}'`;
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value !== "object" || value === null) return String(value);
    if (value instanceof RegExp || value instanceof Error) return String(value);
    const custom = value[Symbol.for("nodejs.util.inspect.custom")];
    if (typeof custom === "function") return String(custom.call(value, 2, {}, inspect));
    if (Array.isArray(value)) return value.length ? `[ ${value.map(inspect).join(", ")} ]` : "[]";
    const pairs = Object.keys(value).map((key) => `${key}: ${inspect(value[key])}`);
    return pairs.length ? `{ ${pairs.join(", ")} }` : "{}";
  }
  inspect.custom = Symbol.for("nodejs.util.inspect.custom");
  inspect.colors = { red: [31, 39] };

  const start = (callback, delay_ms, args, repeat) => {
    const task = { id: ++serial, due: (globalThis.__time ?? 0) + delay_ms, callback, args, repeat, delay_ms };
    task.unref = () => { task.isWeak = true; return task; };
    task.ref = () => task;
    macrotasks.push(task);
    return task;
  };
  const stop = (task) => {
    const index = macrotasks.indexOf(task);
    if (index >= 0) macrotasks.splice(index, 1);
  };
  Object.assign(globalThis, {
    setTimeout: (callback, delay_ms = 1, ...args) => start(callback, delay_ms, args, false),
    setInterval: (callback, delay_ms = 1, ...args) => start(callback, delay_ms, args, true),
    setImmediate: (callback, ...args) => start(callback, 0, args, false),
    clearTimeout: stop, clearInterval: stop, clearImmediate: stop,
    __log: lines,
    __failures: [],
    console: { log: (...args) => lines.push(args.map(show).join(" ")), warn() {} },
    // Runs the earliest task; false when only weak ones are left.
    __pump() {
      if (macrotasks.every((task) => task.isWeak)) return false;
      macrotasks.sort((left, right) => left.due - right.due || left.id - right.id);
      const task = macrotasks.shift();
      globalThis.__time = Math.max(globalThis.__time ?? 0, task.due);
      if (task.repeat) start(task.callback, task.delay_ms, task.args, true);
      task.callback(...task.args);
      return true;
    },
  });
  globalThis.__cloche = {
    call(op, payload) {
      const bytes = typeof payload === "string" ? payload : new Uint8Array(payload);
      return call(op, bytes);
    },
    inspect,
    format: (...args) => args.map(show).join(" "),
    formatWithOptions: (_options, ...args) => args.map(show).join(" "),
    run: () => JSON.parse(call(0, "")),
    reportError: (error) => globalThis.__failures.push(String(error)),
    exit: (code) => call(22, new Uint8Array([code, 0, 0, 0])),
  };
})();
