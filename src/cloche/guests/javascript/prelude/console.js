// console: what programs print. log, info, debug, dir and table go to stdout, the rest to stderr,
// unless `internal.warnings` names another stream.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const STDOUT = 16;
  internal.warnings = 17; // stderr
  const GROUP_INDENTATION = 2;

  let groups = "";
  const counts = new Map();
  const timersStarted = new Map();

  const write = (stream, text) => {
    const lines = groups === "" ? text : groups + text.replaceAll("\n", `\n${groups}`);
    internal.call(stream, `${lines}\n`);
  };
  const out = (...args) => write(STDOUT, internal.format(...args));
  const err = (...args) => write(internal.warnings, internal.format(...args));
  const warnOf = (text) => write(internal.warnings, `(node:1) Warning: ${text}`);

  const elapsed = (label, started_us) => {
    const ms = (internal.clock() - started_us) / 1000;
    if (ms >= 3600000) return `${label}: ${(ms / 3600000).toFixed(3)}h`;
    if (ms >= 60000) return `${label}: ${(ms / 60000).toFixed(3)}m`;
    if (ms >= 1000) return `${label}: ${(ms / 1000).toFixed(3)}s`;
    return `${label}: ${Number(ms.toFixed(3))}ms`;
  };

  // ---- table ----

  const cell = (value) => internal.inspect(value, {
    depth: typeof value === "object" && value !== null && !Array.isArray(value) &&
      Object.keys(value).length > 2 ? -1 : 0,
    maxArrayLength: 3, breakLength: Infinity,
  });

  const drawTable = (head, rows) => {
    const widths = head.map((title, index) => (
      Math.max(title.length, ...rows.map((row) => row[index].length)) + 2
    ));
    const line = (left, middle, right) => left + widths.map((width) => "─".repeat(width)).join(middle) + right;
    const draw = (row) => `│${row.map((text, index) => ` ${text}${" ".repeat(widths[index] - text.length - 1)}`).join("│")}│`;
    return [line("┌", "┬", "┐"), draw(head), line("├", "┼", "┤"), ...rows.map(draw), line("└", "┴", "┘")].join("\n");
  };

  const table = (data, properties) => {
    if (typeof data !== "object" || data === null) return out(data);
    const isMap = data instanceof Map;
    const isSet = data instanceof Set;
    const entries = isMap ? [...data].map(([key, value], index) => [`${index}`, value, key])
      : isSet ? [...data].map((value, index) => [`${index}`, value])
        : Object.keys(data).map((key) => [key, data[key]]);
    const columns = [];
    let hasValues = false;
    for (const [, value] of entries) {
      if (typeof value === "object" && value !== null) {
        for (const key of properties ?? Object.keys(value)) if (!columns.includes(key)) columns.push(key);
      } else {
        hasValues = true;
      }
    }
    const index = isMap || isSet ? "(iteration index)" : "(index)";
    const head = [index, ...(isMap ? ["Key"] : []), ...columns, ...(hasValues ? ["Values"] : [])];
    const rows = entries.map(([key, value, mapKey]) => {
      const isRow = typeof value === "object" && value !== null;
      return [
        key, ...(isMap ? [cell(mapKey)] : []),
        ...columns.map((name) => (isRow && Object.hasOwn(value, name) ? cell(value[name]) : "")),
        ...(hasValues ? [isRow ? "" : cell(value)] : []),
      ];
    });
    return write(STDOUT, drawTable(head, rows));
  };

  // ---- public ----

  const methods = {
    log: out, info: out, debug: out, warn: err, error: err,
    trace(...args) {
      const trace = new Error(internal.format(...args));
      trace.name = "Trace";
      write(internal.warnings, internal.inspect(trace).replace(/^\[(Trace[^\]]*)\]$/, "$1"));
    },
    dir(value, options) { write(STDOUT, internal.inspect(value, { customInspect: false, ...options })); },
    dirxml: out,
    assert(condition, ...args) {
      if (condition) return;
      if (typeof args[0] === "string") err(`Assertion failed: ${args[0]}`, ...args.slice(1));
      else err("Assertion failed", ...args);
    },
    table,
    count(label = "default") {
      const count = (counts.get(`${label}`) ?? 0) + 1;
      counts.set(`${label}`, count);
      out(`${label}: ${count}`);
    },
    countReset(label = "default") {
      if (!counts.delete(`${label}`)) warnOf(`Count for '${label}' does not exist`);
    },
    time(label = "default") {
      if (timersStarted.has(`${label}`)) warnOf(`Label '${label}' already exists for console.time()`);
      else timersStarted.set(`${label}`, internal.clock());
    },
    timeLog(label = "default", ...args) {
      const started_us = timersStarted.get(`${label}`);
      if (started_us === undefined) warnOf(`No such label '${label}' for console.timeLog()`);
      else out(elapsed(label, started_us), ...args);
    },
    timeEnd(label = "default") {
      const started_us = timersStarted.get(`${label}`);
      if (started_us === undefined) return warnOf(`No such label '${label}' for console.timeEnd()`);
      timersStarted.delete(`${label}`);
      return out(elapsed(label, started_us));
    },
    group(...args) {
      if (args.length) out(...args);
      groups += " ".repeat(GROUP_INDENTATION);
    },
    groupEnd() { groups = groups.slice(GROUP_INDENTATION); },
  };
  methods.groupCollapsed = methods.group;

  const console = Object.create({}, {
    [Symbol.toStringTag]: { value: "console", configurable: true },
  });
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(value, "name", { value: name, configurable: true });
    console[name] = value;
  }
  internal.defineGlobal("console", console);
  internal.defineGlobal("print", methods.log);
})();
