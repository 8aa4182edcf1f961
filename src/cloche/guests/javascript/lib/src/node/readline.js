// node:readline and node:readline/promises over any stream of text.
//
// Input that is not a terminal arrives in large pieces, so several lines can come at once. node
// drops those that come while a `question` is being answered; here they wait for the next question,
// as they would when typed by a person.

import { codedError } from "./errors.js";
import { EventEmitter, on } from "./events.js";
import { StringDecoder } from "./string_decoder.js";

const abortError = (signal) => {
  const error = codedError(Error, "ABORT_ERR", "The operation was aborted");
  error.name = "AbortError";
  error.cause = signal.reason;
  return error;
};

export class Interface extends EventEmitter {
  #decoder = new StringDecoder("utf8");
  #rest = "";
  #held = [];
  #answer = null;
  #asks = false;
  #ended = false;
  #prompt = "> ";
  #onData;
  #onEnd;

  constructor(input, output) {
    super();
    const options = input?.input ? input : { input, output };
    this.input = options.input;
    this.output = options.output;
    this.terminal = false;
    this.line = "";
    this.cursor = 0;
    this.closed = false;
    this.paused = false;
    this.history = [];
    if (options.prompt !== undefined) this.#prompt = String(options.prompt);
    if (!this.input) throw codedError(TypeError, "ERR_INVALID_ARG_TYPE", "readline needs an input");
    this.#onData = (chunk) => this.#feed(chunk);
    this.#onEnd = () => this.#finish();
    this.input.on("data", this.#onData);
    this.input.on("end", this.#onEnd);
    this.input.resume?.();
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  #feed(chunk) {
    const text = typeof chunk === "string" ? chunk : this.#decoder.write(chunk);
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)|[\u2028\u2029]/);
    this.#rest = lines.pop();
    for (const line of lines) this.#take(line);
  }

  #finish() {
    this.#ended = true;
    const last = (this.#rest + this.#decoder.end()).replace(/\r$/, "");
    if (this.#rest !== "") this.#take(last);
    this.#rest = "";
    if (this.#held.length === 0) this.close();
  }

  #take(line) {
    if (this.closed) return;
    if (this.paused) {
      this.#held.push(line);
    } else if (this.#answer) {
      const answer = this.#answer;
      this.#answer = null;
      answer(line);
    } else if (this.#asks && this.listenerCount("line") === 0) {
      this.#held.push(line);
    } else {
      this.emit("line", line);
    }
  }

  #release() {
    const lines = this.#held.splice(0);
    for (const line of lines) this.#take(line);
    if (this.#ended && this.#held.length === 0 && !this.#answer) this.close();
  }

  question(query, options, callback) {
    const done = typeof options === "function" ? options : callback;
    const signal = typeof options === "function" ? undefined : options?.signal;
    if (this.closed) throw codedError(Error, "ERR_USE_AFTER_CLOSE", "readline was closed");
    if (signal?.aborted) return;
    this.#asks = true;
    this.output?.write(String(query));
    this.#answer = done;
    signal?.addEventListener("abort", () => {
      if (this.#answer === done) this.#answer = null;
    }, { once: true });
    if (this.#held.length) {
      this.#answer = null;
      done(this.#held.shift());
    } else if (this.#ended) {
      this.close();
    }
  }

  setPrompt(prompt) { this.#prompt = String(prompt); }
  getPrompt() { return this.#prompt; }
  prompt() {
    if (this.paused) this.resume();
    this.output?.write(this.#prompt);
  }

  pause() {
    if (this.paused) return this;
    this.input.pause?.();
    this.paused = true;
    this.emit("pause");
    return this;
  }

  resume() {
    if (!this.paused) return this;
    this.input.resume?.();
    this.paused = false;
    this.emit("resume");
    this.#release();
    return this;
  }

  write(data) {
    if (this.closed) throw codedError(Error, "ERR_USE_AFTER_CLOSE", "readline was closed");
    if (data !== null && data !== undefined) this.#feed(String(data));
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.input.removeListener("data", this.#onData);
    this.input.removeListener("end", this.#onEnd);
    this.input.pause?.();
    this.emit("close");
  }

  getCursorPos() { return { rows: 0, cols: this.cursor }; }
  [Symbol.dispose]() { this.close(); }

  [Symbol.asyncIterator]() {
    const lines = on(this, "line", { close: ["close"] });
    if (this.closed) lines.return();
    return {
      async next() {
        const { value, done } = await lines.next();
        return { value: value?.[0], done };
      },
      return: () => {
        this.close();
        return lines.return();
      },
      [Symbol.asyncIterator]() { return this; },
    };
  }
}

class PromiseInterface extends Interface {
  question(query, options = {}) {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      if (signal?.aborted) reject(abortError(signal));
      signal?.addEventListener("abort", () => reject(abortError(signal)), { once: true });
      super.question(query, options, resolve);
    });
  }
}

const move = (stream, code, callback) => {
  stream.write(`\x1b[${code}`);
  callback?.();
  return true;
};
const controls = {
  clearLine: (stream, direction, callback) =>
    move(stream, direction < 0 ? "1K" : direction > 0 ? "0K" : "2K", callback),
  clearScreenDown: (stream, callback) => move(stream, "0J", callback),
  cursorTo: (stream, x, y, callback) => (typeof y === "number"
    ? move(stream, `${y + 1};${x + 1}H`, callback) : move(stream, `${x + 1}G`, y ?? callback)),
  moveCursor: (stream, dx, dy, callback) => {
    if (dx) move(stream, `${Math.abs(dx)}${dx < 0 ? "D" : "C"}`);
    if (dy) move(stream, `${Math.abs(dy)}${dy < 0 ? "A" : "B"}`);
    callback?.();
    return true;
  },
  emitKeypressEvents() {},
};

export const createInterface = (...args) => new Interface(...args);
Object.defineProperty(Interface.prototype.question, Symbol.for("nodejs.util.promisify.custom"), {
  value(query, options = {}) {
    return new Promise((resolve) => this.question(query, options, resolve));
  },
});

export const readlinePromises = {
  Interface: PromiseInterface,
  createInterface: (...args) => new PromiseInterface(...args),
};

export default { Interface, createInterface, promises: readlinePromises, ...controls };
