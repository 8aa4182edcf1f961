// node:timers and node:timers/promises on the core's timers.

import { codedError } from "./errors.js";

const abortError = (signal) => {
  const error = codedError(Error, "ABORT_ERR", "The operation was aborted");
  error.name = "AbortError";
  error.cause = signal.reason;
  return error;
};

const wait = (start, stop) => (value, { signal, ref = true } = {}) => {
  if (signal?.aborted) return Promise.reject(abortError(signal));
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      stop(timer);
      reject(abortError(signal));
    };
    const timer = start(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve(value);
    });
    if (!ref) timer?.unref?.();
    signal?.addEventListener("abort", onAbort, { once: true });
  });
};

export const timersPromises = {
  setTimeout: (delay_ms, value, options) =>
    wait((done) => setTimeout(done, delay_ms), clearTimeout)(value, options),
  setImmediate: (value, options) =>
    wait((done) => setImmediate(done), clearImmediate)(value, options),
  async* setInterval(delay_ms, value, options) {
    for (;;) yield await timersPromises.setTimeout(delay_ms, value, options);
  },
  scheduler: {
    wait: (delay_ms, options) => timersPromises.setTimeout(delay_ms, undefined, options),
    yield: () => timersPromises.setImmediate(),
  },
};

// util.promisify(setTimeout) gives (delay, value) => promise.
for (const name of ["setTimeout", "setImmediate"]) {
  Object.defineProperty(globalThis[name], Symbol.for("nodejs.util.promisify.custom"), {
    value: timersPromises[name], configurable: true,
  });
}

export default {
  setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate,
  promises: timersPromises,
};
