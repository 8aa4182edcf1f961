// Events of a run: read from bytes as they come, over as many connections as that takes.

import { ClocheError, runError, unreachable } from "./errors.js";
import { part } from "./encode.js";
import { pause, pauseMs } from "./wire.js";

const EVENTS = "text/event-stream";

/**
 * Reads events.
 *
 * Lines end with a line feed alone: text of programs may hold every other kind of line end.
 * `runId` is whose events they are; `lastId` is what to come back with; `end` is the run when it
 * has ended.
 */
export class EventReader {
  constructor(runId = "", lastId = "") {
    this.runId = runId;
    this.lastId = lastId;
    this.end = null;
    this.isStarted = false;
    this.restart();
  }

  /** Forget what a broken connection left half. */
  restart() {
    this.decoder = new TextDecoder();
    this.line = "";
    this.fields = {};
  }

  /** Take some bytes; return the events that they complete. */
  feed(bytes) {
    const lines = this.decoder.decode(bytes, { stream: true }).split("\n");
    lines[0] = this.line + lines[0];
    this.line = lines.pop();
    return lines.map((line) => this.take(line)).filter((event) => event !== null);
  }

  take(line) {
    if (line !== "") {
      const at = line.indexOf(":");
      const name = at < 0 ? line : line.slice(0, at);
      this.fields[name] = at < 0 ? "" : line.slice(at + (line[at + 1] === " " ? 2 : 1));
      return null;
    }
    const { id, event: type, data } = this.fields;
    this.fields = {};
    if (id !== undefined) this.lastId = id;
    if (type === "end") this.end = JSON.parse(data);
    if (type === "stdout" || type === "stderr") return { type, id, text: JSON.parse(data).text };
    if (type !== "start") return null;
    this.runId = JSON.parse(data).id;
    if (this.isStarted) return null; // another connection to the same run
    this.isStarted = true;
    return { type, id, run_id: this.runId };
  }

  /** Return the last event. */
  last() {
    const { end: run, lastId: id } = this;
    if (run.status === "completed") return { type: "finished", id, run };
    return { type: "failed", id, error: runError(run) };
  }
}

/** Return the call that listens to a run. */
export function listening(runId, lastEventId, signal) {
  return { path: `/v1/runs/${part(runId)}/events`, lastEventId, signal };
}

/** Yield the events of a run until its end. */
export async function* follow(wire, first, reader) {
  first.signal?.throwIfAborted();
  let prepared = wire.prepare({ ...first, accept: EVENTS });
  let failedCount = 0;
  while (reader.end === null) {
    const seen = reader.lastId;
    const heard = yield* listen(wire, prepared, reader);
    if (reader.end !== null) break;
    failedCount = reader.lastId === seen ? failedCount + 1 : 1;
    const waitMs = pauseMs(heard, failedCount);
    if (waitMs === null || failedCount >= wire.attemptCount) throw heard.error;
    await pause(waitMs, first.signal);
    // A run that nobody has heard of yet is asked for again, with the same Idempotency-Key.
    if (reader.runId) {
      const again = listening(reader.runId, reader.lastId, first.signal);
      prepared = wire.prepare({ ...again, accept: EVENTS });
    }
  }
  yield reader.last();
}

/** Yield what one connection brings; return why it ended before the run: `{error, retryAfter}`. */
async function* listen(wire, prepared, reader) {
  const answer = await wire.attempt(prepared, (response) => response.body.getReader());
  if (answer.error) return answer;
  reader.restart();
  try {
    for await (const piece of pieces(wire, answer.value, prepared[1].signal)) {
      yield* reader.feed(piece);
      if (reader.end !== null) return null;
    }
  } catch (error) {
    if (error instanceof ClocheError && error.code === "CLIENT_UNREACHABLE") return { error };
    throw error;
  }
  return { error: unreachable(wire.url, new Error("the stream ended before the run")) };
}

/** Yield the bytes of an answer as they come; throw when its connection breaks. */
async function* pieces(wire, stream, signal) {
  try {
    for (;;) {
      const { value, done } = await stream.read().catch((problem) => {
        signal?.throwIfAborted();
        throw unreachable(wire.url, problem);
      });
      if (done) return;
      yield value;
    }
  } finally {
    stream.cancel().catch(() => {}); // it is over: what its connection says now is of no use
  }
}

/** Reads lines of a log from events, as their bytes come. */
export class LineReader {
  constructor() {
    this.decoder = new TextDecoder();
    this.line = "";
  }

  /** Take some bytes; return the lines that they complete. */
  feed(bytes) {
    const lines = this.decoder.decode(bytes, { stream: true }).split("\n");
    lines[0] = this.line + lines[0];
    this.line = lines.pop();
    return lines
      .filter((line) => line.startsWith("data:"))
      .map((line) => JSON.parse(line.slice("data:".length)));
  }
}

/** Yield what a reader makes of a stream that has no end of its own; throw when it breaks. */
export async function* streamed(wire, call, reader) {
  call.signal?.throwIfAborted();
  const prepared = wire.prepare({ ...call, accept: EVENTS });
  const answer = await wire.attempt(prepared, (response) => response.body.getReader());
  if (answer.error) throw answer.error;
  for await (const piece of pieces(wire, answer.value, call.signal)) yield* reader.feed(piece);
}

/**
 * Yield the events of a run that is this caller's own: leaving the loop, or aborting, stops it.
 *
 * @param {object} call that starts it.
 */
export async function* ownEvents(wire, call) {
  const reader = new EventReader();
  let isBroken = false;
  try {
    yield* follow(wire, call, reader);
  } catch (error) {
    isBroken = true;
    throw error;
  } finally {
    if (reader.runId && reader.end === null) {
      const path = `/v1/runs/${part(reader.runId)}/cancel`;
      try {
        await wire.send({ method: "POST", path });
      } catch (error) {
        if (!isBroken) throw error; // else the first error says more
      }
    }
  }
}
