// `tools.name(args)`: functions of the host, as promises. `tools.$sync(name, args)` waits instead:
// it answers inside the turn, for code that cannot await.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const INSPECT = Symbol.for("nodejs.util.inspect.custom");
  const callNow = (name, args) => internal.effect("tool", name, args);

  // A function that is also a namespace: tools.github.createIssue({…}). `then` is no tool, else
  // `await tools` would call it.
  const make = (path) => {
    const tool = path === ""
      ? {}
      : (...args) => internal.submit("tool", path, args.length === 1 ? args[0] : args.length ? args : {});
    return new Proxy(tool, {
      get(target, name) {
        if (name === INSPECT) return () => (path === "" ? "[tools]" : `[tool ${path}]`);
        if (name === "$sync" && path === "") return callNow;
        if (typeof name === "symbol" || name === "then" || name === "toJSON") return undefined;
        if (name in target && path !== "") return target[name];
        return make(path === "" ? name : `${path}.${name}`);
      },
      set() { throw new TypeError("tools are read-only"); },
      defineProperty() { throw new TypeError("tools are read-only"); },
      deleteProperty() { throw new TypeError("tools are read-only"); },
    });
  };
  internal.defineGlobal("tools", make(""));
})();
