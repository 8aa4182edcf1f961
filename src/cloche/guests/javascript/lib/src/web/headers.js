// Headers of the Fetch standard: names without case, every value kept, sorted when iterated.

import { encodeJson, fieldName, fieldValue, inspect, quote } from "../host.js";

const custom = Symbol.for("nodejs.util.inspect.custom");
const FEW = 32; // texts: 16 lines

function checkName(name) {
  const known = fieldName(typeof name === "string" ? name : String(name));
  if (known === undefined) {
    throw new TypeError(`Headers: ${JSON.stringify(String(name))} is an invalid header name.`);
  }
  return known;
}

function checkValue(value) {
  const known = fieldValue(typeof value === "string" ? value : String(value));
  if (known === undefined) {
    throw new TypeError("Headers: a value holds characters that headers cannot.");
  }
  return known;
}

/** Every line of a Headers, as a list of pairs: all of a name where the first of them stands. */
export let headerLines;

/** The same as JSON. */
export let headerLinesText;

/** Headers of lines ([name, value, name, …]) of the host, which has checked them. */
export let knownHeaders;

/** Whether a Headers has a line of this name, in lowercase; and to add one of which it has none. */
export let hasLine;
export let addLine;

export class Headers {
  #lines = []; // [name, value, name, …], in order of arrival

  constructor(init) {
    if (init === undefined || init === null) return;
    if (typeof init !== "object") {
      throw new TypeError("Headers: expected an object or a list of pairs.");
    }
    if (typeof init[Symbol.iterator] !== "function") {
      for (const name of Object.keys(init)) this.append(name, init[name]);
      return;
    }
    for (const pair of init) {
      const [name, value, ...more] = [...pair];
      if (value === undefined || more.length) {
        throw new TypeError("Headers: a pair has a name and a value.");
      }
      this.append(name, value);
    }
  }

  append(name, value) {
    const key = checkName(name);
    const text = checkValue(value);
    this.#lines.push(key, text);
  }

  set(name, value) {
    const key = checkName(name);
    const text = checkValue(value);
    const at = this.#find(key);
    if (at < 0) {
      this.#lines.push(key, text);
      return;
    }
    this.#lines[at + 1] = text;
    this.#drop(key, at + 2);
  }

  get(name) {
    const key = checkName(name);
    const lines = this.#lines;
    let found = null;
    for (let at = 0; at < lines.length; at += 2) {
      if (lines[at] === key) found = found === null ? lines[at + 1] : `${found}, ${lines[at + 1]}`;
    }
    return found;
  }

  has(name) { return this.#find(checkName(name)) >= 0; }
  delete(name) { this.#drop(checkName(name), 0); }
  getSetCookie() {
    return this.#lines.filter((_, at, lines) => at % 2 === 1 && lines[at - 1] === "set-cookie");
  }

  /** Where the first line of a name stands, or -1. */
  #find(key) {
    const lines = this.#lines;
    for (let at = 0; at < lines.length; at += 2) if (lines[at] === key) return at;
    return -1;
  }

  #drop(key, from) {
    const lines = this.#lines;
    for (let at = lines.length - 2; at >= from; at -= 2) {
      if (lines[at] === key) lines.splice(at, 2);
    }
  }

  *#sorted() {
    const lines = this.#lines;
    const values = new Map();
    for (let at = 0; at < lines.length; at += 2) {
      const known = values.get(lines[at]);
      if (known) known.push(lines[at + 1]);
      else values.set(lines[at], [lines[at + 1]]);
    }
    for (const name of [...values.keys()].sort()) {
      // Cookies hold commas: they are the one field that is never joined.
      if (name === "set-cookie") for (const value of values.get(name)) yield [name, value];
      else yield [name, values.get(name).join(", ")];
    }
  }

  entries() { return this.#sorted(); }
  *keys() { for (const [name] of this.#sorted()) yield name; }
  *values() { for (const [, value] of this.#sorted()) yield value; }
  [Symbol.iterator]() { return this.#sorted(); }
  forEach(callback, self) {
    for (const [name, value] of this.#sorted()) callback.call(self, value, name, this);
  }

  static {
    knownHeaders = (lines) => {
      const headers = new Headers();
      headers.#lines = lines;
      return headers;
    };
    hasLine = (headers, key) => headers.#find(key) >= 0;
    addLine = (headers, key, value) => { headers.#lines.push(key, value); };
    headerLinesText = (headers) => {
      const lines = headers.#lines;
      if (lines.length > FEW) return encodeJson(headerLines(headers));
      let text = "[";
      for (let at = 0; at < lines.length; at += 2) {
        // A name has nothing to escape.
        text += `${at ? "," : ""}["${lines[at]}",${quote(lines[at + 1])}]`;
        for (let before = at - 4; before >= 0; before -= 2) {
          if (lines[before] === lines[at]) return encodeJson(headerLines(headers));
        }
      }
      return `${text}]`;
    };
    headerLines = (headers) => {
      const lines = headers.#lines;
      const pairs = [];
      const ends = new Map(); // name -> where the next line of it belongs
      for (let at = 0; at < lines.length; at += 2) {
        const name = lines[at];
        const pair = [name, lines[at + 1]];
        const end = ends.get(name);
        if (end === undefined || end === pairs.length) {
          pairs.push(pair);
          ends.set(name, pairs.length);
          continue;
        }
        pairs.splice(end, 0, pair);
        for (const [other, place] of ends) if (place >= end) ends.set(other, place + 1);
      }
      return pairs;
    };
  }

  get [Symbol.toStringTag]() { return "Headers"; }
  [custom](depth, options) { return `Headers ${inspect(Object.fromEntries(this), options)}`; }
}
