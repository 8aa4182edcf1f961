// Modules: where a name leads, what is there, and CommonJS beside ES modules.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const { parse } = JSON; // programs replace it
  const { library } = internal;
  const SUFFIXES = ["", ".js", ".mjs", ".cjs", ".json", ".ts", ".mts", ".tsx"];
  const TYPESCRIPT = /\.[mc]?tsx?$/;
  const BUILTIN = "builtin:";
  const FS = 32;
  const TRANSFORM = 33;

  const loaded = new Map(); // path -> CommonJS module object
  let mainPath = "/main.js";
  let mainDirectory = "/";

  internal.resetModules = (filename, cwd) => {
    loaded.clear();
    internal.enterModules(filename, cwd);
  };
  let entered;
  let enteredIn;
  internal.enterModules = (filename, cwd) => {
    if (filename === entered && cwd === enteredIn) return; // the usual case in a session
    entered = filename;
    enteredIn = cwd;
    mainPath = normalize(filename.startsWith("/") ? filename : `${cwd}/${filename}`);
    mainDirectory = parent(mainPath);
  };
  internal.mainPath = () => mainPath;

  // ---- paths and files ----

  const normalize = (path) => {
    const parts = [];
    for (const part of path.split("/")) {
      if (part === "..") parts.pop();
      else if (part && part !== ".") parts.push(part);
    }
    return `/${parts.join("/")}`;
  };
  const parent = (path) => normalize(`${path}/..`);

  const stat = (path) => {
    const reply = internal.ask(FS, internal.encode({ f: "stat", p: path }));
    return typeof reply === "number" ? undefined : parse(reply);
  };

  const read = (path) => {
    const reply = internal.ask(FS, internal.encode({ f: "read", p: path }));
    if (typeof reply === "number") throw new Error(`Cannot read '${path}'`);
    return reply ?? "";
  };

  const asFile = (path) => {
    for (const suffix of SUFFIXES) {
      if (stat(path + suffix)?.type === "file") return path + suffix;
    }
    return undefined;
  };

  const asFolder = (path) => {
    if (stat(path)?.type !== "directory") return undefined;
    if (stat(`${path}/package.json`)?.type === "file") {
      const { main, module, exports } = parse(read(`${path}/package.json`));
      const entry = (typeof exports === "string" && exports) || exports?.["."]?.default ||
        exports?.["."]?.import || module || main;
      const found = typeof entry === "string" && asFile(normalize(`${path}/${entry}`));
      if (found) return found;
    }
    return asFile(`${path}/index`);
  };

  const notFound = (name, base) => {
    const error = new Error(`Cannot find module '${name}' imported from ${base}`);
    error.code = "ERR_MODULE_NOT_FOUND";
    return error;
  };

  const resolve = (base, name) => {
    if (name.startsWith(BUILTIN)) return name;
    if (library.getModule(name) !== undefined) return BUILTIN + name.replace(/^node:/, "");
    let path = name.startsWith("file://") ? decodeURIComponent(name.slice(7)) : name;
    const directory = base.startsWith("/") ? parent(base) : mainDirectory;
    if (path.startsWith("/") || path.startsWith("./") || path.startsWith("../") ||
        path === "." || path === "..") {
      path = normalize(path.startsWith("/") ? path : `${directory}/${path}`);
      const found = asFile(path) ?? asFolder(path);
      if (found) return found;
      throw notFound(name, base);
    }
    for (let folder = directory; ; folder = parent(folder)) {
      const candidate = normalize(`${folder}/node_modules/${path}`);
      const found = asFile(candidate) ?? asFolder(candidate);
      if (found) return found;
      if (folder === "/") break;
    }
    // golem:exec names modules without a leading "./": they lie beside the program or at the root.
    for (const folder of [directory, mainDirectory, "/"]) {
      const candidate = normalize(`${folder}/${path}`);
      const found = asFile(candidate) ?? asFolder(candidate);
      if (found) return found;
    }
    throw notFound(name, base);
  };

  // ---- sources ----

  const stripTypes = (path, source) => {
    const reply = parse(internal.ask(TRANSFORM, internal.encode({ filename: path, source })));
    if (reply.error === undefined) return reply.code;
    const { message, line } = reply.error;
    throw new SyntaxError(`${message} (${path}:${line})`);
  };

  const sourceOf = (path) => {
    let source = read(path);
    if (source.startsWith("#!")) source = `//${source}`;
    return TYPESCRIPT.test(path) ? stripTypes(path, source) : source;
  };

  const IMPORTS = /^\s*(?:import\s*[\w{*"'$]|export\s*[\w{*$])/m;
  const REQUIRES = /\brequire\s*\(|\bmodule\s*\.\s*exports\b|\bexports\s*[.[]/;

  /** Whether a source is CommonJS: it says `require` or `exports` and has no import or export. */
  internal.isCommonJs = (path, source) => {
    if (/\.(mjs|mts)$/.test(path)) return false;
    if (/\.(cjs|cts)$/.test(path)) return true;
    return REQUIRES.test(source) && !IMPORTS.test(source);
  };

  /** Source text of an ES module, or an object whose properties are the exports. */
  internal.loadModule = (path) => {
    if (path.startsWith(BUILTIN)) {
      const exports = library.getModule(path.slice(BUILTIN.length));
      return { ...named(exports), default: exports };
    }
    if (path.endsWith(".json")) return { default: parse(read(path)) };
    const source = sourceOf(path);
    if (!internal.isCommonJs(path, source)) return source;
    const exports = requirePath(path);
    return { ...named(exports), default: exports };
  };
  internal.resolveModule = resolve;

  const named = (exports) => {
    if (typeof exports !== "object" && typeof exports !== "function") return {};
    const names = {};
    for (const name of Object.keys(exports ?? {})) {
      // Not every property can be the name of an export, and some getters throw.
      if (name !== "default" && /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name)) {
        try { names[name] = exports[name]; } catch { /* left out */ }
      }
    }
    return names;
  };

  internal.fillMeta = (meta, path = mainPath) => {
    meta.url = `file://${path}`;
    meta.filename = path;
    meta.dirname = parent(path);
    meta.main = path === mainPath;
    meta.resolve = (name) => {
      const found = resolve(path, name);
      return found.startsWith(BUILTIN) ? `node:${found.slice(BUILTIN.length)}` : `file://${found}`;
    };
  };

  // ---- CommonJS ----

  const requirePath = (path) => {
    if (path.startsWith(BUILTIN)) return library.getModule(path.slice(BUILTIN.length));
    const known = loaded.get(path);
    if (known) return known.exports;
    const module = { id: path, path: parent(path), exports: {}, filename: path, loaded: false, children: [] };
    loaded.set(path, module);
    try {
      if (path.endsWith(".json")) module.exports = parse(read(path));
      else compileCommonJs(module, sourceOf(path), path, false)();
    } catch (error) {
      loaded.delete(path);
      throw error;
    }
    module.loaded = true;
    return module.exports;
  };

  internal.makeRequire = (base) => {
    const require = (name) => {
      if (typeof name !== "string" || name === "") {
        throw new TypeError("require needs the name of a module");
      }
      return requirePath(resolve(base, name));
    };
    require.resolve = (name) => {
      const found = resolve(base, name);
      return found.startsWith(BUILTIN) ? found.slice(BUILTIN.length) : found;
    };
    require.cache = Object.fromEntries(loaded);
    require.main = loaded.get(mainPath);
    return require;
  };

  const SCRIPT = 0;
  // The wrapper lies above line 1, so that a program's lines keep their numbers. The engine takes 0
  // and -1 for something else, hence its three lines.
  const WRAPPER_LINE = -2;
  const WRAPPER = ["(function (exports, require, module, __filename, __dirname) {\n\n\n", "\n})"];
  const ASYNC_WRAPPER = [`(async ${WRAPPER[0].slice(1)}`, WRAPPER[1]];

  const compileCommonJs = (module, source, filename, mayAwait) => {
    const [before, after] = mayAwait && /\bawait\b/.test(source) ? ASYNC_WRAPPER : WRAPPER;
    const wrapped = internal.evaluate(before + source + after, filename, SCRIPT, WRAPPER_LINE);
    return () => wrapped.call(
      module.exports, module.exports, internal.makeRequire(module.filename), module,
      module.filename, module.path,
    );
  };

  /** Compile the program as CommonJS; the function returned runs it, and returns a promise if it awaits. */
  internal.compileCommonJs = (source, filename) => {
    const module = {
      id: ".", path: mainDirectory, exports: {}, filename: mainPath, loaded: false, children: [],
    };
    loaded.set(mainPath, module);
    return compileCommonJs(module, source, filename, true);
  };

  if (library.modules.module) {
    library.modules.module.createRequire = (from) => internal.makeRequire(
      String(from).replace(/^file:\/\//, ""),
    );
  }
})();
