// How values look: `inspect` and `format`, as people know them from node.
//
// Invariants: whatever the value, this returns text; what a program's getters and traps throw is
// shown, not passed on, except by its own custom inspect function.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const CUSTOM = Symbol.for("nodejs.util.inspect.custom");
  const DEFAULTS = {
    depth: 2, breakLength: 80, compact: 3, maxArrayLength: 100, maxStringLength: 10000,
    showHidden: false, colors: false, sorted: false, getters: false, customInspect: true,
    numericSeparator: false, showProxy: false,
  };
  const TypedArray = Object.getPrototypeOf(Uint8Array);
  const tagOf = Object.getOwnPropertyDescriptor(TypedArray.prototype, Symbol.toStringTag).get;
  const identifier = /^[a-zA-Z_][a-zA-Z_0-9]*$/;
  const isObject = (value) => typeof value === "object" && value !== null;

  const ask = (make) => {
    try { return make(); } catch { return undefined; }
  };

  // ---- primitives ----

  const ESCAPES = { "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\" };
  const quote = (text) => {
    let mark = "'";
    if (text.includes("'")) mark = !text.includes('"') ? '"' : !/[`]|\$\{/.test(text) ? "`" : "'";
    // eslint-disable-next-line no-control-regex
    const escaped = text.replace(/[\x00-\x1f\x7f-\x9f\\]|[\ud800-\udfff]/gu, (letter) => (
      ESCAPES[letter] ?? (letter.charCodeAt(0) > 255
        ? `\\u${letter.charCodeAt(0).toString(16).toUpperCase()}`
        : `\\x${letter.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)
    ));
    return mark + (mark === "'" ? escaped.replaceAll("'", "\\'") : escaped) + mark;
  };

  const primitive = (ctx, value) => {
    switch (typeof value) {
      case "string": return longString(ctx, value);
      case "number": return Object.is(value, -0) ? "-0" : `${value}`;
      case "bigint": return `${value}n`;
      case "symbol": return symbolText(value);
      default: return `${value}`;
    }
  };

  const longString = (ctx, value) => {
    let rest = "";
    if (value.length > ctx.maxStringLength) {
      const hidden = value.length - ctx.maxStringLength;
      value = value.slice(0, ctx.maxStringLength);
      rest = `... ${hidden} more character${hidden > 1 ? "s" : ""}`;
    }
    if (ctx.compact !== true && value.length > 16 &&
        value.length > ctx.breakLength - ctx.indentation - 4) {
      return value.split(/(?<=\n)/).map(quote).join(` +\n${" ".repeat(ctx.indentation + 2)}`) + rest;
    }
    return quote(value) + rest;
  };

  const symbolText = (symbol) => Symbol.prototype.toString.call(symbol);
  const keyText = (key) => {
    if (typeof key === "symbol") return `[${symbolText(key)}]`;
    if (key === "__proto__") return "['__proto__']";
    return identifier.test(key) ? key : quote(key);
  };

  // ---- what kind of object ----

  const constructorName = (value) => {
    for (let object = value; object; object = ask(() => Object.getPrototypeOf(object))) {
      const found = ask(() => Object.getOwnPropertyDescriptor(object, "constructor"));
      // Of frozen prototypes the realm of scripts has made accessors; nobody else's are called.
      const made = internal.opened?.get(found?.get) ?? found?.value;
      if (typeof made === "function" && made.name !== "" && ask(() => value instanceof made)) {
        return String(made.name);
      }
    }
    return null;
  };

  const prefix = (name, tag, fallback, size) => {
    const count = size === undefined ? "" : `(${size})`;
    if (name === null) {
      const shown = tag !== "" && fallback !== tag ? ` [${tag}]` : "";
      return `[${fallback}${count}: null prototype]${shown} `;
    }
    return `${name}${count} ${tag !== "" && name !== tag ? `[${tag}] ` : ""}`;
  };

  const functionBase = (value, name, tag) => {
    const source = ask(() => Function.prototype.toString.call(value)) ?? "";
    if (source.startsWith("class") && source.endsWith("}")) return classBase(value, name, tag);
    const kinds = { AsyncFunction: "AsyncFunction", GeneratorFunction: "GeneratorFunction",
      AsyncGeneratorFunction: "AsyncGeneratorFunction" };
    let base = `[${kinds[tag] ?? "Function"}`;
    if (name === null) base += " (null prototype)";
    base += value.name === "" || value.name === undefined ? " (anonymous)" : `: ${String(value.name)}`;
    base += "]";
    return name !== null && name !== "Function" && !kinds[name] ? `${base} ${name}` : base;
  };

  const classBase = (value, name, tag) => {
    const own = Object.hasOwn(value, "name") && typeof value.name === "string" && value.name;
    let base = `class ${own || "(anonymous)"}`;
    if (name !== "Function" && name !== null) base += ` [${name}]`;
    if (tag !== "" && name !== tag) base += ` [${tag}]`;
    if (name !== null) {
      const parent = ask(() => Object.getPrototypeOf(value).name);
      if (parent) base += ` extends ${parent}`;
    } else {
      base += " extends null";
    }
    return `[${base}]`;
  };

  // An engine's stack has only frames; people expect the message above them.
  const errorBase = (ctx, error, keys) => {
    const name = ask(() => String(error.name)) || "Error";
    const message = ask(() => String(error.message)) ?? "";
    const kind = constructorName(error);
    let head = message ? `${name}: ${message}` : name;
    if (kind !== null && kind !== name && !head.includes(kind) && name === "Error" && kind !== "Error") {
      head = head.replace(/^Error/, kind);
    }
    let stack = ask(() => error.stack);
    for (const key of ["name", "message", "stack"]) {
      const index = keys.indexOf(key);
      const own = ask(() => String(error[key]));
      if (index !== -1 && own !== undefined && (key === "stack" || head.includes(own))) {
        keys.splice(index, 1);
      }
    }
    stack = typeof stack !== "string" ? "" : stack.split("\n")
      .filter((line) => line.trim() !== "" && !internal.isHiddenFrame?.(line)).join("\n");
    const [firstLine] = stack.split("\n", 1);
    // A name given after construction is not in the stack, which was made before.
    if (name !== "Error" && !firstLine.includes(name)) stack = stack.replace(/^[A-Za-z]*Error/, name);
    if (stack.startsWith(name) || (message && stack.includes(message))) head = "";
    if (stack === "" ) return `[${head}]`;
    const whole = head ? `${head}\n${stack}` : stack;
    return ctx.indentation ? whole.replaceAll("\n", `\n${" ".repeat(ctx.indentation)}`) : whole;
  };

  // ---- entries ----

  const formatProperty = (ctx, object, key, level, isArrayItem) => {
    const descriptor = ask(() => Object.getOwnPropertyDescriptor(object, key)) ??
      { value: object[key], enumerable: true };
    let text;
    let space = " ";
    if (descriptor.value !== undefined || !(descriptor.get || descriptor.set)) {
      const difference = ctx.compact === true || isArrayItem ? 2 : 2;
      ctx.indentation += difference;
      text = formatValue(ctx, descriptor.value, level);
      ctx.indentation -= difference;
    } else if (descriptor.get) {
      text = descriptor.set ? "[Getter/Setter]" : "[Getter]";
    } else {
      text = "[Setter]";
    }
    if (isArrayItem) return text;
    const name = descriptor.enumerable === false
      ? `[${typeof key === "symbol" ? symbolText(key) : key}]` : keyText(key);
    return `${name}:${space}${text}`;
  };

  const more = (count) => `... ${count} more item${count > 1 ? "s" : ""}`;

  const arrayItems = (ctx, value, level) => {
    const output = [];
    const length = value.length;
    let index = 0;
    while (index < length && output.length < ctx.maxArrayLength) {
      if (!Object.hasOwn(value, index)) {
        let end = index;
        while (end < length && !Object.hasOwn(value, end)) {
          // Sparse arrays may be very long: jump to the next item instead of asking for each.
          if (end - index > 1000) {
            const next = Object.keys(value).find((key) => /^\d+$/.test(key) && +key > end);
            end = next === undefined ? length : +next;
          } else {
            end += 1;
          }
        }
        output.push(`<${end - index} empty item${end - index > 1 ? "s" : ""}>`);
        index = end;
      } else {
        output.push(formatProperty(ctx, value, `${index}`, level, true));
        index += 1;
      }
    }
    if (index < length) output.push(more(length - index));
    return output;
  };

  const typedItems = (ctx, value) => {
    const shown = Math.min(value.length, ctx.maxArrayLength);
    const output = [];
    for (let index = 0; index < shown; index += 1) output.push(primitive(ctx, value[index]));
    if (value.length > shown) output.push(more(value.length - shown));
    return output;
  };

  const limited = (ctx, size, entries) => {
    const output = [];
    for (const entry of entries) {
      if (output.length >= ctx.maxArrayLength) {
        output.push(more(size - output.length));
        break;
      }
      output.push(entry());
    }
    return output;
  };

  const setItems = (ctx, value, level) => indented(ctx, () => limited(
    ctx, value.size, [...Set.prototype.values.call(value)].map((item) => () => formatValue(ctx, item, level)),
  ));
  const mapItems = (ctx, value, level) => indented(ctx, () => limited(
    ctx, value.size, [...Map.prototype.entries.call(value)].map(([key, item]) => () => (
      `${formatValue(ctx, key, level)} => ${formatValue(ctx, item, level)}`
    )),
  ));

  const indented = (ctx, make) => {
    ctx.indentation += 2;
    const output = make();
    ctx.indentation -= 2;
    return output;
  };

  const bytesText = (ctx, buffer) => {
    const bytes = new Uint8Array(buffer);
    const shown = Math.min(50, bytes.length);
    const text = Array.from(bytes.subarray(0, shown), (byte) => byte.toString(16).padStart(2, "0"));
    const rest = bytes.length - shown;
    return `<${text.join(" ")}${rest ? ` ... ${rest} more byte${rest > 1 ? "s" : ""}` : ""}>`;
  };

  // ---- putting it together ----

  const shortName = (value) => {
    const name = constructorName(value);
    const fallback = Array.isArray(value) ? "Array" : "Object";
    return name === null ? `[${fallback}: null prototype]` : `[${name}]`;
  };

  const visibleKeys = (value, showHidden) => {
    if (showHidden) return Reflect.ownKeys(value);
    const symbols = Object.getOwnPropertySymbols(value).filter(
      (key) => Object.prototype.propertyIsEnumerable.call(value, key),
    );
    return [...Object.keys(value), ...symbols];
  };

  function formatValue(ctx, value, level, isTop = false) {
    if (!isObject(value) && typeof value !== "function") return primitive(ctx, value);
    const custom = ctx.customInspect && ask(() => value[CUSTOM]);
    if (typeof custom === "function" && custom !== inspect) {
      const depth = ctx.depth === null ? null : ctx.depth - level;
      const { seen, indentation, circular, deepest, ...options } = ctx;
      const result = custom.call(value, depth, { ...options, depth, stylize: (text) => `${text}` }, inspect);
      if (result !== value) {
        if (!isObject(result)) return typeof result === "string"
          ? result.replaceAll("\n", `\n${" ".repeat(ctx.indentation)}`) : primitive(ctx, result);
        return formatValue(ctx, result, level);
      }
    }
    if (ctx.seen.includes(value)) {
      let index = ctx.circular.get(value);
      if (index === undefined) ctx.circular.set(value, index = ctx.circular.size + 1);
      return `[Circular *${index}]`;
    }
    return formatObject(ctx, value, level, isTop);
  }

  // What is empty is shown at any depth.
  const isEmpty = (value, shape) => {
    if (shape.whole !== undefined) return false;
    if (shape.items === undefined) return true;
    if (shape.isList) return value.length === 0;
    return (value instanceof Map || value instanceof Set) && value.size === 0;
  };

  function formatObject(ctx, value, level) {
    const name = constructorName(value);
    let tag = ask(() => value[Symbol.toStringTag]);
    // An enumerable tag of its own is listed with the properties.
    if (typeof tag !== "string" || tag === name ||
        ask(() => Object.prototype.propertyIsEnumerable.call(value, Symbol.toStringTag))) tag = "";
    let keys = ask(() => visibleKeys(value, ctx.showHidden)) ?? [];
    const shape = describe(ctx, value, name, tag, keys);
    keys = shape.keys ?? keys;
    if (shape.whole !== undefined && keys.length === 0) return shape.whole;
    if (keys.length === 0 && isEmpty(value, shape)) return shape.braces.join("");
    if (ctx.depth !== null && level > ctx.depth) {
      return shape.whole ?? (shape.braces[0] === "[" || shape.braces[0].endsWith(" [")
        ? shortName(value).replace(/^\[Array\]$/, "[Array]") : shortName(value));
    }
    ctx.seen.push(value);
    ctx.deepest = level;
    let output;
    try {
      output = shape.items ? shape.items(level + 1) : [];
      for (const key of keys) output.push(formatProperty(ctx, value, key, level + 1, false));
    } finally {
      ctx.seen.pop();
    }
    const { braces } = shape;
    let base = shape.whole ?? "";
    const index = ctx.circular.get(value);
    if (index !== undefined) {
      const reference = `<ref *${index}>`;
      if (base === "") braces[0] = `${reference} ${braces[0]}`;
      else base = `${reference} ${base}`;
    }
    if (output.length === 0 && base === "") return `${braces[0]}${braces[1]}`;
    return join(ctx, output, base, braces, shape.isList, level, value);
  }

  /** The brackets of an object, its own entries, and text that stands for it as a whole. */
  function describe(ctx, value, name, tag, keys) {
    const strings = () => keys.filter((key) => typeof key === "symbol" || !/^(0|[1-9]\d*)$/.test(key));
    if (Array.isArray(value)) {
      const head = name === "Array" && tag === "" ? "" : prefix(name, tag, "Array", value.length);
      return {
        braces: [`${head}[`, "]"], isList: true,
        keys: strings().filter((key) => key !== "length"), items: (level) => arrayItems(ctx, value, level),
      };
    }
    const typed = ask(() => tagOf.call(value));
    if (typed !== undefined) {
      return {
        braces: [`${prefix(name, tag === typed ? "" : tag, typed, value.length)}[`, "]"], isList: true,
        keys: strings(), items: () => typedItems(ctx, value),
      };
    }
    if (value instanceof Set && ask(() => Reflect.get(Set.prototype, "size", value)) !== undefined) {
      return {
        braces: [`${prefix(name, tag, "Set", value.size)}{`, "}"],
        items: (level) => setItems(ctx, value, level),
      };
    }
    if (value instanceof Map && ask(() => Reflect.get(Map.prototype, "size", value)) !== undefined) {
      return {
        braces: [`${prefix(name, tag, "Map", value.size)}{`, "}"],
        items: (level) => mapItems(ctx, value, level),
      };
    }
    return describeSingle(ctx, value, name, tag, keys);
  }

  function describeSingle(ctx, value, name, tag, keys) {
    const braces = ["{", "}"];
    if (typeof value === "function") {
      const kind = Object.prototype.toString.call(value).slice(8, -1);
      return { braces, whole: functionBase(value, name, kind === "Function" ? tag : kind) };
    }
    if (value instanceof RegExp) {
      return { braces, whole: ask(() => RegExp.prototype.toString.call(value)) ?? "[RegExp]" };
    }
    if (value instanceof Date) {
      const time = ask(() => Date.prototype.getTime.call(value));
      if (time !== undefined) {
        return { braces, whole: Number.isNaN(time) ? "Invalid Date" : Date.prototype.toISOString.call(value) };
      }
    }
    if (value instanceof Error || Error.isError?.(value)) {
      const shown = [...keys];
      if (Object.hasOwn(value, "cause") && !shown.includes("cause")) shown.push("cause");
      if (Array.isArray(ask(() => value.errors)) && !shown.includes("errors")) shown.push("errors");
      return { braces, whole: errorBase(ctx, value, shown), keys: shown };
    }
    if (value instanceof Promise) {
      return { braces: [`${prefix(name, tag, "Promise")}{`, "}"], items: (level) => promiseItem(ctx, value, level) };
    }
    if (value instanceof ArrayBuffer) {
      const size = `byteLength: ${value.byteLength}`;
      return {
        braces: [`${prefix(name, tag, "ArrayBuffer")}{`, "}"],
        items: () => [`[Uint8Contents]: ${bytesText(ctx, value)}`, size],
      };
    }
    if (value instanceof DataView) {
      return {
        braces: [`${prefix(name, tag, "DataView")}{`, "}"],
        items: (level) => [
          `byteLength: ${value.byteLength}`, `byteOffset: ${value.byteOffset}`,
          `buffer: ${indented(ctx, () => formatValue(ctx, value.buffer, level))}`,
        ],
      };
    }
    for (const kind of [WeakMap, WeakSet]) {
      if (value instanceof kind) {
        return { braces: [`${prefix(name, tag, kind.name)}{`, "}"], items: () => ["<items unknown>"] };
      }
    }
    if (value instanceof WeakRef) {
      return { braces: [`${prefix(name, tag, "WeakRef")}{`, "}"], items: () => ["<ref>"] };
    }
    const boxed = boxedText(ctx, value, name, tag);
    if (boxed) return { braces, ...boxed, keys: keys.filter((key) => typeof value.valueOf() !== "string" || !/^\d+$/.test(String(key))) };
    const kind = Object.prototype.toString.call(value);
    if (kind === "[object Arguments]") {
      return { braces: ["[Arguments] {", "}"] };
    }
    if (/^\[object (Map|Set|Array|String|RegExp String)? ?Iterator\]$/.test(kind) || kind === "[object Generator]") {
      return { braces: [`Object [${kind.slice(8, -1)}] {`, "}"] };
    }
    if (kind === "[object Module]") return { braces: ["[Module: null prototype] {", "}"] };
    const plain = name === "Object" && tag === "";
    return { braces: [plain ? "{" : `${prefix(name, tag, "Object")}{`, "}"] };
  }

  const boxedText = (ctx, value, name, tag) => {
    for (const [kind, type] of [[Number, "Number"], [String, "String"], [Boolean, "Boolean"],
      [BigInt, "BigInt"], [Symbol, "Symbol"]]) {
      const inner = ask(() => kind.prototype.valueOf.call(value));
      if (inner === undefined || isObject(inner)) continue;
      const shown = name === type ? "" : name === null ? " (null prototype)" : ` (${name})`;
      const end = tag !== "" && tag !== name ? ` [${tag}]` : "";
      return { whole: `[${type}${shown}: ${primitive({ ...ctx, maxStringLength: Infinity }, inner)}]${end}` };
    }
    return undefined;
  };

  const promiseItem = (ctx, value, level) => {
    const state = internal.promiseState(value);
    if (state === 0) return ["<pending>"];
    const text = indented(ctx, () => formatValue(ctx, internal.promiseResult(value), level));
    return [state === 2 ? `<rejected> ${text}` : text];
  };

  const join = (ctx, output, base, braces, isList, level, value) => {
    const count = output.length;
    if (isList && count > 6) output = columns(ctx, output, value);
    const start = base ? `${base} ` : "";
    if (ctx.deepest - level < ctx.compact && count === output.length) {
      const room = output.length + ctx.indentation + braces[0].length + base.length + 10;
      const total = output.reduce((sum, entry) => sum + entry.length, output.length + room);
      if (total <= ctx.breakLength && !base.includes("\n")) {
        const line = output.join(", ");
        if (!line.includes("\n")) return `${start}${braces[0]} ${line} ${braces[1]}`;
      }
    }
    const indentation = `\n${" ".repeat(ctx.indentation)}`;
    return `${start}${braces[0]}${indentation}  ${output.join(`,${indentation}  `)}${indentation}${braces[1]}`;
  };

  /** Lay many short items of a list out in columns. */
  const columns = (ctx, output, value) => {
    const count = output.length - (value.length > ctx.maxArrayLength ? 1 : 0);
    const widths = output.slice(0, count).map((entry) => entry.length);
    const total = widths.reduce((sum, width) => sum + width + 2, 0);
    const widest = Math.max(...widths) + 2;
    if (widest * 3 + ctx.indentation >= ctx.breakLength ||
        (total / widest <= 5 && widest - 2 > 6)) return output;
    const bias = Math.max(widest - 3 - Math.sqrt(widest - total / output.length), 1);
    const perRow = Math.min(
      Math.round(Math.sqrt(2.5 * bias * count) / bias),
      Math.floor((ctx.breakLength - ctx.indentation) / widest), ctx.compact * 4, 15,
    );
    if (perRow <= 1) return output;
    const widthOf = Array.from({ length: perRow }, (_, column) => {
      let width = 0;
      for (let index = column; index < count; index += perRow) width = Math.max(width, widths[index]);
      return width + 2;
    });
    const isNumeric = output.every((_, index) => index >= count ||
      typeof value[index] === "number" || typeof value[index] === "bigint");
    const rows = [];
    for (let index = 0; index < count; index += perRow) {
      const end = Math.min(index + perRow, count);
      let row = "";
      for (let item = index; item < end; item += 1) {
        const isLast = item === end - 1;
        const text = isLast ? output[item] : `${output[item]}, `;
        const width = widthOf[item - index] - (isLast ? 2 : 0);
        row += isNumeric ? text.padStart(width) : isLast ? text : text.padEnd(width);
      }
      rows.push(row);
    }
    if (count < output.length) rows.push(output[count]);
    return rows;
  };

  // ---- public ----

  function inspect(value, options, ...legacy) {
    const given = typeof options === "boolean"
      ? { showHidden: options, ...(legacy[0] === undefined ? {} : { depth: legacy[0] }) } : options;
    const ctx = {
      ...inspect.defaultOptions, ...given, seen: [], circular: new Map(), indentation: 0, deepest: 0,
    };
    if (ctx.depth === Infinity || ctx.depth === undefined) ctx.depth = null;
    ctx.maxArrayLength ??= Infinity;
    ctx.maxStringLength ??= Infinity;
    if (ctx.compact === false) ctx.compact = 0;
    try {
      return formatValue(ctx, value, 0, true);
    } catch (error) {
      if (error instanceof RangeError && /stack/.test(error.message)) {
        return "[Object: Inspection interrupted prematurely. Maximum call stack size exceeded.]";
      }
      throw error;
    }
  }
  inspect.custom = CUSTOM;
  inspect.defaultOptions = { ...DEFAULTS, breakLength: 128 };
  inspect.colors = Object.create(null);
  inspect.styles = Object.create(null);

  const numeric = (value, convert) => {
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "symbol") return "NaN";
    const number = convert(value);
    return Object.is(number, -0) ? "-0" : `${number}`;
  };

  const hasOwnToString = (value) => {
    const method = ask(() => value.toString);
    return typeof method === "function" && method !== Object.prototype.toString &&
      method !== Error.prototype.toString && !Array.isArray(value) && !(value instanceof Date);
  };

  const directive = (options, letter, value) => {
    switch (letter) {
      case "s":
        if (typeof value === "string") return value;
        if (typeof value === "bigint") return `${value}n`;
        if (Object.is(value, -0)) return "-0";
        if (isObject(value) && !hasOwnToString(value)) {
          return inspect(value, { ...options, depth: 0, colors: false, compact: 3 });
        }
        return String(value);
      case "d": return isObject(value) ? numeric(ask(() => Number(value)) ?? NaN, Number) : numeric(value, Number);
      case "i": return isObject(value) ? numeric(ask(() => parseInt(value, 10)) ?? NaN, Number)
        : numeric(value, (given) => parseInt(given, 10));
      case "f": return typeof value === "symbol" ? "NaN" : `${parseFloat(value)}`;
      case "j":
        try { return `${JSON.stringify(value)}`; } catch (error) {
          if (/circular/i.test(error.message)) return "[Circular]";
          throw error;
        }
      case "o": return inspect(value, { ...options, showHidden: true, showProxy: true, depth: 4 });
      case "O": return inspect(value, options);
      default: return "";
    }
  };

  function formatWithOptions(options, ...args) {
    const [first] = args;
    let used = 0;
    let text = "";
    if (typeof first === "string") {
      if (args.length === 1) return first;
      used = 1;
      text = first.replace(/%([sdifjoOc%])/g, (whole, letter) => {
        if (letter === "%") return "%";
        if (used >= args.length) return whole;
        const value = args[used];
        used += 1;
        return directive(options, letter, value);
      });
    }
    const rest = args.slice(used).map((value) => (
      typeof value === "string" ? value : inspect(value, { ...options, compact: 3, depth: options.depth ?? 2 })
    ));
    return used ? [text, ...rest].join(" ") : rest.join(" ");
  }

  internal.inspect = inspect;
  internal.formatWithOptions = formatWithOptions;
  internal.format = (...args) => formatWithOptions({ breakLength: 80 }, ...args);
})();
