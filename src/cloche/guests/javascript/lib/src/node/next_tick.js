// process.nextTick, apart from process because the stream library needs it first.

import { requireFunction } from "./errors.js";

// One microtask runs every tick that waits, also those that ticks add: they come before all promise
// callbacks that were queued after it. (Callbacks queued before it run first, as in an ES module of
// node.) The queue is a list with a read position: shifting a long array is slow.
let ticks = [];
let position = 0;

export function nextTick(callback, ...args) {
  requireFunction(callback, "callback");
  if (ticks.push({ callback, args }) === 1) queueMicrotask(runTicks);
}

function runTicks() {
  while (position < ticks.length) {
    const { callback, args } = ticks[position];
    position += 1;
    try {
      callback(...args);
    } catch (error) {
      // The error goes to the event loop; the ticks behind it still run.
      queueMicrotask(runTicks);
      throw error;
    }
  }
  ticks = [];
  position = 0;
}
