// Headers of the Fetch standard: names without case, every value kept, sorted when iterated.

import { inspect } from "../host.js";

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BLANK = /^[\t\n\r ]|[\t\n\r ]$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const custom = Symbol.for("nodejs.util.inspect.custom");

// Programs name the same few fields again and again.
const known = new Map();
const KNOWN_COUNT_MAX = 256;

function checkName(name) {
  const found = known.get(name);
  if (found !== undefined) return found;
  const text = String(name);
  if (!NAME.test(text)) {
    throw new TypeError(`Headers: ${JSON.stringify(text)} is an invalid header name.`);
  }
  const lower = text.toLowerCase();
  if (known.size < KNOWN_COUNT_MAX) known.set(text, lower);
  return lower;
}

function checkValue(value) {
  let text = String(value);
  if (BLANK.test(text)) text = text.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  if (!VALUE.test(text)) {
    throw new TypeError("Headers: a value holds characters that headers cannot.");
  }
  return text;
}

/** Every line of a Headers, as a list of pairs. */
export let headerLines;

/** Headers of lists of values by name, from the host, which has checked them; made when asked for. */
export let knownHeaders;

export class Headers {
  #values; // name -> list of values
  #read; // makes them
  get #map() {
    return (this.#values ??= this.#read === undefined ? new Map() : this.#read());
  }

  constructor(init) {
    if (init === undefined || init === null) return;
    if (typeof init !== "object") {
      throw new TypeError("Headers: expected an object or a list of pairs.");
    }
    if (typeof init[Symbol.iterator] !== "function") {
      for (const [name, value] of Object.entries(init)) this.append(name, value);
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
    const values = this.#map.get(key);
    if (values) values.push(text);
    else this.#map.set(key, [text]);
  }

  set(name, value) { this.#map.set(checkName(name), [checkValue(value)]); }
  get(name) { return this.#map.get(checkName(name))?.join(", ") ?? null; }
  has(name) { return this.#map.has(checkName(name)); }
  delete(name) { this.#map.delete(checkName(name)); }
  getSetCookie() { return [...(this.#map.get("set-cookie") ?? [])]; }

  *#sorted() {
    for (const name of [...this.#map.keys()].sort()) {
      const values = this.#map.get(name);
      // Cookies hold commas: they are the one field that is never joined.
      if (name === "set-cookie") for (const value of values) yield [name, value];
      else yield [name, values.join(", ")];
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
    knownHeaders = (read) => {
      const headers = new Headers();
      headers.#read = read;
      return headers;
    };
    headerLines = (headers) => [...headers.#map].flatMap(
      ([name, values]) => values.map((value) => [name, value]),
    );
  }

  get [Symbol.toStringTag]() { return "Headers"; }
  [custom](depth, options) { return `Headers ${inspect(Object.fromEntries(this), options)}`; }
}
