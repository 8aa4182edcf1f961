// performance: milliseconds of the virtual clock since this run began.

import { clock_ns, start_ns } from "../host.js";

const NS_PER_MS = 1e6;
const entries = [];

class PerformanceEntry {
  constructor(name, entryType, startTime, duration, detail = null) {
    Object.assign(this, { name, entryType, startTime, duration, detail });
  }
  toJSON() { return { ...this }; }
}

const timeOf = (mark, missing) => {
  if (mark === undefined) return missing;
  if (typeof mark === "number") return mark;
  const entry = entries.findLast((one) => one.entryType === "mark" && one.name === mark);
  if (entry) return entry.startTime;
  throw new DOMException(`The "${mark}" performance mark has not been set`, "SyntaxError");
};

export class Performance {
  get timeOrigin() { return Number(start_ns()) / NS_PER_MS; }
  now() { return Number(clock_ns() - start_ns()) / NS_PER_MS; }

  mark(name, options = {}) {
    const at = options.startTime ?? this.now();
    const entry = new PerformanceEntry(String(name), "mark", at, 0, options.detail);
    entries.push(entry);
    return entry;
  }

  measure(name, startOrOptions, end) {
    const isOptions = typeof startOrOptions === "object" && startOrOptions !== null;
    const given = isOptions ? startOrOptions : { start: startOrOptions, end };
    const until = timeOf(given.end, this.now());
    const from = timeOf(given.start, 0);
    const duration = given.duration ?? until - from;
    const entry = new PerformanceEntry(String(name), "measure", from, duration, given.detail);
    entries.push(entry);
    return entry;
  }

  getEntries() { return entries.toSorted((left, right) => left.startTime - right.startTime); }
  getEntriesByName(name) { return this.getEntries().filter((entry) => entry.name === name); }
  getEntriesByType(type) { return this.getEntries().filter((entry) => entry.entryType === type); }
  clearMarks(name) { clear("mark", name); }
  clearMeasures(name) { clear("measure", name); }
  toJSON() { return { timeOrigin: this.timeOrigin }; }
  get [Symbol.toStringTag]() { return "Performance"; }
}

function clear(type, name) {
  const kept = entries.filter((entry) => (
    entry.entryType !== type || (name !== undefined && entry.name !== name)
  ));
  entries.splice(0, entries.length, ...kept);
}

export const performance = new Performance();
export { PerformanceEntry };
