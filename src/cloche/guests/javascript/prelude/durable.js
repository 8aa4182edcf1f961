// What a durable program asks of its session, and what it builds on that.
//
// Sleeping and promises are effects: while a program waits for long, nothing of it is alive.
// Retries, atomic blocks and transactions are plain code on top: since every effect is recorded, a
// program that a crash ended goes on exactly where it was, inside of any of them.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const ask = (target, args = {}) => internal.submit("durable", target, args);

  /** Wait in real time, for days if need be. */
  const sleep = async (seconds) => {
    const until_us = internal.clock() + Math.trunc(seconds * 1e6);
    await ask("sleep", { until_ns: until_us * 1000 });
    internal.sleepUntil(until_us); // the program's own clock moves on too; that costs nothing
  };

  /**
   * When to try again: `attempts` in all, `delay` seconds before the second, each `factor` times
   * the one before and at most `delayMax`, a part `jitter` of it left to chance, nothing after
   * `within` seconds; `when` has codes or is a function of the error. What says of itself that
   * trying helps is tried again when nothing is given.
   */
  const wants = (when, error) => {
    if (when === undefined) return error?.retryable === true;
    return typeof when === "function" ? Boolean(when(error)) : when.includes(error?.code);
  };

  const retry = async (run, options = {}) => {
    const { attempts = 3, factor = 1, delayMax = 3600, jitter = 0, within, when } = options;
    let { delay = 0 } = options;
    if (!(attempts >= 1)) throw new RangeError(`attempts is ${attempts}; it must be 1 or more`);
    const started_us = internal.clock();
    for (let attempt = 1; ; attempt++) {
      try {
        return await run();
      } catch (error) {
        const wait = Math.min(delay, delayMax) * (jitter ? 1 - jitter * Math.random() : 1);
        const elapsed = (internal.clock() - started_us) / 1e6;
        const isOver = within !== undefined && elapsed + wait > within;
        if (attempt >= attempts || isOver || !wants(when, error)) throw error;
        if (wait) await sleep(wait);
        delay *= factor;
      }
    }
  };

  /** Run a function; when anything in it fails, all of it is done again. */
  const atomic = (run, attempts = 3) => retry(run, { attempts, when: () => true });

  class Transaction {
    #undo = [];
    /** Do one step, and remember how to undo it; `undo` gets what `run` returned. */
    async run(run, undo) {
      const value = await run();
      this.#undo.push([undo, value]);
      return value;
    }
    /** Undo what was done, the last first; what cannot be undone is told with the others. */
    async compensate() {
      const failures = [];
      while (this.#undo.length) {
        const [undo, value] = this.#undo.pop();
        try {
          await undo(value);
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length) throw new AggregateError(failures, "steps that could not be undone");
    }
  }

  /** Run a function with a `Transaction`; when it fails its steps are undone, then all again. */
  const transaction = async (run, { attempts = 1 } = {}) => {
    for (let attempt = 1; ; attempt++) {
      const tx = new Transaction();
      try {
        return await run(tx);
      } catch (error) {
        await tx.compensate();
        if (attempt >= attempts) throw error;
      }
    }
  };

  internal.defineGlobal("cloche", Object.freeze({
    sleep,
    retry,
    atomic,
    transaction,
    /** A key that is the same when this program is executed again after a crash. */
    idempotencyKey: () => ask("idempotency_key"),
    /** Values that somebody gives later, once, from inside or outside. */
    promise: Object.freeze({
      create: () => ask("promise.create"),
      complete: (id, value = null) => ask("promise.complete", { id, value }),
      get: (id) => ask("promise.get", { id }),
      poll: (id) => ask("promise.poll", { id }),
    }),
  }));
})();
