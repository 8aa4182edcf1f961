// Programs of the name `<app>`: no sources, but what an app is asked to do, as JSON. `load` evaluates
// its module, once, when the app's image is made; everything else is asked of that image's instances.
//
// Owns what an app finds beside its request: `env`, the storage, the job. The facades of the storage
// are made in app_storage.js, which leaves them at `internal.appStorage` ({kv, docs, …}: globals and
// properties of `env`) and `internal.appJob` (document -> job).
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const { parse } = JSON; // programs replace it
  const { app } = internal.library;
  const { evaluate } = internal;
  const NAME = "<app>";

  let env;

  /** The values of the environment, and the storage, which is not listed. */
  const makeEnv = () => {
    const made = { ...internal.input.env };
    for (const [name, value] of Object.entries(internal.appStorage ?? {})) {
      Object.defineProperty(made, name, { value, writable: true, configurable: true });
    }
    return made;
  };

  const load = async (main) => {
    internal.enterModules(main, internal.input.cwd);
    internal.defineGlobal("require", internal.makeRequire(main));
    for (const [name, facade] of Object.entries(internal.appStorage ?? {})) {
      internal.defineGlobal(name, facade);
    }
    const exports = await import(main);
    env = makeEnv();
    internal.effect("app", "ready", { handlers: app.register(exports.default) });
  };

  // A request, as the host writes it: neither a host's name nor an address has anything to escape.
  const FETCH = '{"do":"fetch","origin":"';
  const LARGE = ',"large":true}';

  const ask = (text) => {
    if (text.startsWith(FETCH)) {
      const origin = text.slice(FETCH.length, text.indexOf('"', FETCH.length));
      return app.answer(origin, text.endsWith(LARGE), env);
    }
    const document = parse(text);
    if (document.do === "load") return load(document.main);
    return app.ask(document, env, internal.appJob ?? ((job) => job));
  };

  internal.evaluate = (source, filename, flags, line) => (
    filename === NAME ? ask(source) : evaluate(source, filename, flags, line)
  );
})();
