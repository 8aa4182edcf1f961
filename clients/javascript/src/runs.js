// How a run is begun and waited for, of its own and in a session alike.

import { bodyOf, jsonOf } from "./encode.js";
import { runError } from "./errors.js";
import { ownEvents } from "./events.js";

/** Return the call that begins a run; `signal` and `idempotencyKey` are about the call alone. */
export async function beginning(path, code, { signal, idempotencyKey, ...options } = {}) {
  const body = jsonOf(await bodyOf({ code, ...options }));
  return { method: "POST", path, body, signal, idempotencyKey };
}

/** Return a run that completed; throw what else became of it. */
export function completed(run) {
  if (run.status !== "completed") throw runError(run);
  return run;
}

/** Run to the end. With a signal it is listened to, so that aborting stops the run itself. */
export async function runToEnd(wire, call) {
  if (!call.signal) return completed(await wire.json(call));
  for await (const event of ownEvents(wire, call)) {
    if (event.type === "finished") return event.run;
    if (event.type === "failed") throw event.error;
  }
  throw new TypeError("a run's events end with its end");
}
