// Streams of the Streams standard: ReadableStream with its default reader, WritableStream with its
// default writer, TransformStream. No byte streams: a source of type "bytes" is read piece by piece.
//
// Invariants: a source is asked for more only while its queue is below the high-water mark or
// somebody reads; what a stream rejects with is known to be handled, since errors come with reads.

const handled = (promise) => { promise.then(undefined, () => {}); return promise; };
const settled = (call) => {
  try { return Promise.resolve(call()); } catch (error) { return Promise.reject(error); }
};

const strategyOf = (strategy, standard) => {
  const highWaterMark = strategy?.highWaterMark === undefined ? standard : +strategy.highWaterMark;
  if (!(highWaterMark >= 0)) throw new RangeError("highWaterMark is a number from 0 on");
  return { highWaterMark, size: strategy?.size ?? (() => 1) };
};

class Queue {
  #pieces = [];
  #total = 0;
  constructor(strategy) { this.strategy = strategy; }
  get isEmpty() { return this.#pieces.length === 0; }
  get room() { return this.strategy.highWaterMark - this.#total; }
  put(value) {
    const size = Number(this.strategy.size(value));
    if (!(size >= 0) || size === Infinity) throw new RangeError("a chunk has no size");
    this.#pieces.push([value, size]);
    this.#total += size;
  }
  take() {
    const [value, size] = this.#pieces.shift();
    this.#total -= size;
    return value;
  }
  clear() { this.#pieces = []; this.#total = 0; }
}

/** Have a callback called when somebody begins to read a stream: a body is then used. */
export let onDisturbed;
export let isDisturbed;
// What readers and writers do to their stream.
let lock;
let unlock;
let readFrom;
let cancelOf;
let writerOf;

export class ReadableStream {
  #source; #queue; #error; #reader = null;
  #state = "readable";
  #isStarted = false;
  #isPulling = false;
  #pullsAgain = false;
  #isClosing = false;
  #isDisturbed = false;
  #disturbed;
  #controller;

  constructor(source = {}, strategy = undefined) {
    this.#source = source;
    this.#queue = new Queue(strategyOf(strategy, source.type === "bytes" ? 0 : 1));
    const stream = this;
    this.#controller = {
      get desiredSize() {
        if (stream.#state === "errored") return null;
        return stream.#state === "closed" ? 0 : stream.#queue.room;
      },
      enqueue(value) { stream.#enqueue(value); },
      close() { stream.#requestClose(); },
      error(error) { stream.#fail(error); },
    };
    let started;
    if (source.start !== undefined) started = source.start(this.#controller); // what it throws is thrown
    Promise.resolve(started).then(
      () => { this.#isStarted = true; this.#pull(); },
      (error) => { this.#fail(error); },
    );
  }

  get locked() { return this.#reader !== null; }

  #enqueue(value) {
    if (this.#state !== "readable" || this.#isClosing) {
      throw new TypeError("The stream is closed: nothing can be enqueued");
    }
    const waiting = this.#reader?.waiting;
    if (waiting?.length) waiting.shift().resolve({ value, done: false });
    else {
      try { this.#queue.put(value); } catch (error) { this.#fail(error); throw error; }
    }
    this.#pull();
  }

  #requestClose() {
    if (this.#state !== "readable" || this.#isClosing) {
      throw new TypeError("The stream is closed already");
    }
    this.#isClosing = true;
    if (this.#queue.isEmpty) this.#close();
  }

  #close() {
    this.#state = "closed";
    const reader = this.#reader;
    if (!reader) return;
    for (const read of reader.waiting.splice(0)) read.resolve({ value: undefined, done: true });
    reader.closed.resolve();
  }

  #fail(error) {
    if (this.#state !== "readable") return;
    this.#state = "errored";
    this.#error = error;
    this.#queue.clear();
    const reader = this.#reader;
    if (!reader) return;
    for (const read of reader.waiting.splice(0)) read.reject(error);
    reader.closed.reject(error);
  }

  #wantsMore() {
    if (this.#state !== "readable" || this.#isClosing || !this.#isStarted) return false;
    return this.#reader?.waiting.length > 0 || this.#queue.room > 0;
  }

  #pull() {
    if (!this.#wantsMore() || this.#source.pull === undefined) return;
    if (this.#isPulling) { this.#pullsAgain = true; return; }
    this.#isPulling = true;
    settled(() => this.#source.pull(this.#controller)).then(() => {
      this.#isPulling = false;
      if (this.#pullsAgain) { this.#pullsAgain = false; this.#pull(); }
    }, (error) => { this.#fail(error); });
  }

  #disturb() {
    if (this.#isDisturbed) return;
    this.#isDisturbed = true;
    this.#disturbed?.();
  }

  #read() {
    this.#disturb();
    if (this.#state === "errored") return Promise.reject(this.#error);
    if (!this.#queue.isEmpty) {
      const value = this.#queue.take();
      if (this.#isClosing && this.#queue.isEmpty) this.#close();
      else this.#pull();
      return Promise.resolve({ value, done: false });
    }
    if (this.#state === "closed") return Promise.resolve({ value: undefined, done: true });
    const read = Promise.withResolvers();
    this.#reader.waiting.push(read);
    this.#pull();
    return read.promise;
  }

  #cancel(reason) {
    this.#disturb();
    if (this.#state === "closed") return Promise.resolve();
    if (this.#state === "errored") return Promise.reject(this.#error);
    this.#queue.clear();
    this.#close();
    return settled(() => this.#source.cancel?.(reason)).then(() => undefined);
  }

  async cancel(reason) {
    if (this.locked) throw new TypeError("The stream is locked");
    return this.#cancel(reason);
  }

  getReader({ mode } = {}) {
    if (mode !== undefined) throw new TypeError("there are no byte streams here: use getReader()");
    return new ReadableStreamDefaultReader(this);
  }

  async* #iterate(preventCancel) {
    const reader = this.getReader();
    let isDone = false;
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) { isDone = true; return; }
        yield value;
      }
    } catch (error) {
      isDone = true;
      throw error;
    } finally {
      if (!isDone && !preventCancel) await reader.cancel();
      reader.releaseLock();
    }
  }
  values({ preventCancel = false } = {}) { return this.#iterate(preventCancel); }
  [Symbol.asyncIterator]() { return this.#iterate(false); }

  tee() {
    const reader = this.getReader();
    const branches = [];
    const open = [true, true];
    const pull = async () => {
      const { value, done } = await reader.read();
      for (const [index, branch] of branches.entries()) {
        if (open[index]) done ? branch.close() : branch.enqueue(value);
      }
    };
    const branch = (index) => new ReadableStream({
      start(controller) { branches[index] = controller; },
      pull,
      cancel(reason) {
        open[index] = false;
        return open[1 - index] ? undefined : reader.cancel(reason);
      },
    });
    const both = [branch(0), branch(1)];
    reader.closed.catch((error) => { for (const one of branches) one.error(error); });
    return both;
  }

  async pipeTo(target, options = {}) {
    const { preventClose, preventAbort, preventCancel, signal } = options;
    const reader = this.getReader();
    const writer = target.getWriter();
    const onAbort = () => { handled(writer.abort(signal.reason)); handled(reader.cancel(signal.reason)); };
    try {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", onAbort, { once: true });
      for (;;) {
        await writer.ready;
        signal?.throwIfAborted();
        let step;
        try { step = await reader.read(); } catch (error) {
          if (!preventAbort) await writer.abort(error);
          throw error;
        }
        signal?.throwIfAborted();
        if (step.done) break;
        try { await writer.write(step.value); } catch (error) {
          if (!preventCancel) await reader.cancel(error);
          throw error;
        }
      }
      if (!preventClose) await writer.close();
    } finally {
      signal?.removeEventListener("abort", onAbort);
      reader.releaseLock();
      writer.releaseLock();
    }
  }

  pipeThrough({ readable, writable }, options) {
    handled(this.pipeTo(writable, options));
    return readable;
  }

  static from(iterable) {
    const iterator = iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]?.();
    if (!iterator) throw new TypeError("ReadableStream.from takes what can be iterated");
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(await value);
      },
      async cancel(reason) { await iterator.return?.(reason); },
    }, { highWaterMark: 0 });
  }

  get [Symbol.toStringTag]() { return "ReadableStream"; }

  static {
    onDisturbed = (stream, callback) => { stream.#disturbed = callback; };
    isDisturbed = (stream) => stream.#isDisturbed;
    lock = (stream, reader) => {
      if (stream.#reader) throw new TypeError("The stream is locked");
      stream.#reader = reader;
      if (stream.#state === "closed") reader.closed.resolve();
      if (stream.#state === "errored") reader.closed.reject(stream.#error);
    };
    unlock = (stream) => { stream.#reader = null; };
    readFrom = (stream) => stream.#read();
    cancelOf = (stream, reason) => stream.#cancel(reason);
  }
}

export class ReadableStreamDefaultReader {
  #stream;
  #lock;
  constructor(stream) {
    if (!(stream instanceof ReadableStream)) throw new TypeError("a reader reads a ReadableStream");
    const closed = Promise.withResolvers();
    handled(closed.promise);
    this.#lock = { waiting: [], closed };
    lock(stream, this.#lock);
    this.#stream = stream;
  }
  get closed() { return this.#lock.closed.promise; }
  async read() {
    if (!this.#stream) throw new TypeError("The reader was released");
    return readFrom(this.#stream);
  }
  async cancel(reason) {
    if (!this.#stream) throw new TypeError("The reader was released");
    return cancelOf(this.#stream, reason);
  }
  releaseLock() {
    if (!this.#stream) return;
    const error = new TypeError("The reader was released");
    for (const read of this.#lock.waiting.splice(0)) read.reject(error);
    this.#lock.closed.reject(error);
    unlock(this.#stream);
    this.#stream = undefined;
  }
}

export class WritableStream {
  #sink; #strategy; #error; #writer = null;
  #state = "writable"; // closing, closed, errored
  #total = 0;
  #last; // promise of the last operation: writes happen one after the other
  #ready = Promise.withResolvers();
  #closed = Promise.withResolvers();
  #abort = new AbortController();
  #controller;

  constructor(sink = {}, strategy = undefined) {
    this.#sink = sink;
    this.#strategy = strategyOf(strategy, 1);
    handled(this.#ready.promise);
    handled(this.#closed.promise);
    const stream = this;
    this.#controller = {
      get signal() { return stream.#abort.signal; },
      error(error) { stream.#fail(error); },
    };
    const started = sink.start?.(this.#controller); // what it throws is thrown
    this.#last = Promise.resolve(started).catch((error) => { this.#fail(error); });
    this.#update();
  }

  get locked() { return this.#writer !== null; }

  #update() {
    const hasRoom = this.#strategy.highWaterMark - this.#total > 0 || this.#state !== "writable";
    if (hasRoom) this.#ready.resolve();
    else this.#ready = Promise.withResolvers();
  }

  #fail(error) {
    if (this.#state === "errored" || this.#state === "closed") return;
    this.#state = "errored";
    this.#error = error;
    this.#ready.resolve();
    this.#closed.reject(error);
  }

  #write(value) {
    if (this.#state === "errored") return Promise.reject(this.#error);
    if (this.#state !== "writable") return Promise.reject(new TypeError("The stream is closed"));
    const size = Number(this.#strategy.size(value));
    this.#total += size;
    this.#update();
    const done = this.#last.then(async () => {
      if (this.#state === "errored") throw this.#error;
      try { await this.#sink.write?.(value, this.#controller); } catch (error) {
        this.#fail(error);
        throw error;
      } finally {
        this.#total -= size;
        this.#update();
      }
    });
    this.#last = done.catch(() => {});
    return handled(done);
  }

  #close() {
    if (this.#state === "errored") return Promise.reject(this.#error);
    if (this.#state !== "writable") return Promise.reject(new TypeError("The stream is closed"));
    this.#state = "closing";
    const done = this.#last.then(async () => {
      if (this.#state === "errored") throw this.#error;
      try { await this.#sink.close?.(); } catch (error) {
        this.#fail(error);
        throw error;
      }
      this.#state = "closed";
      this.#closed.resolve();
    });
    this.#last = done.catch(() => {});
    return handled(done);
  }

  async #stop(reason) {
    if (this.#state === "errored" || this.#state === "closed") return;
    this.#abort.abort(reason);
    this.#fail(reason);
    await this.#last;
    await this.#sink.abort?.(reason);
  }

  async abort(reason) {
    if (this.locked) throw new TypeError("The stream is locked");
    return this.#stop(reason);
  }
  async close() {
    if (this.locked) throw new TypeError("The stream is locked");
    return this.#close();
  }

  getWriter() { return new WritableStreamDefaultWriter(this); }
  get [Symbol.toStringTag]() { return "WritableStream"; }

  static {
    writerOf = (stream, writer) => {
      if (stream.#writer) throw new TypeError("The stream is locked");
      stream.#writer = writer;
      return {
        write: (value) => stream.#write(value),
        close: () => stream.#close(),
        abort: (reason) => stream.#stop(reason),
        release: () => { stream.#writer = null; },
        ready: () => stream.#ready.promise,
        closed: () => stream.#closed.promise,
        room: () => {
          if (stream.#state === "errored") return null;
          return stream.#state === "closed" ? 0 : stream.#strategy.highWaterMark - stream.#total;
        },
      };
    };
  }
}

export class WritableStreamDefaultWriter {
  #seam;
  constructor(stream) {
    if (!(stream instanceof WritableStream)) throw new TypeError("a writer writes a WritableStream");
    this.#seam = writerOf(stream, this);
  }
  #held() {
    if (!this.#seam) throw new TypeError("The writer was released");
    return this.#seam;
  }
  get desiredSize() { return this.#held().room(); }
  get ready() { return this.#held().ready(); }
  get closed() { return this.#held().closed(); }
  async write(value) { return this.#held().write(value); }
  async close() { return this.#held().close(); }
  async abort(reason) { return this.#held().abort(reason); }
  releaseLock() { this.#seam?.release(); this.#seam = undefined; }
}

export class TransformStream {
  #readable; #writable;
  constructor(transformer = {}, writableStrategy = undefined, readableStrategy = undefined) {
    let readable;
    let wanted = Promise.withResolvers();
    const controller = {
      get desiredSize() { return readable.desiredSize; },
      enqueue(value) {
        wanted = Promise.withResolvers(); // first: to enqueue may be to be asked for more
        readable.enqueue(value);
      },
      error(error) { readable.error(error); },
      terminate() { readable.close(); },
    };
    this.#readable = new ReadableStream({
      start(inner) { readable = inner; },
      pull() { wanted.resolve(); },
      cancel: async (reason) => { wanted.resolve(); await transformer.cancel?.(reason); },
    }, readableStrategy ?? { highWaterMark: 0 });
    this.#writable = new WritableStream({
      start: () => transformer.start?.(controller),
      async write(value) {
        await wanted.promise;
        try {
          if (transformer.transform) await transformer.transform(value, controller);
          else controller.enqueue(value);
        } catch (error) {
          readable.error(error);
          throw error;
        }
      },
      async close() {
        try {
          await transformer.flush?.(controller);
          readable.close();
        } catch (error) {
          readable.error(error);
          throw error;
        }
      },
      async abort(reason) { readable.error(reason); await transformer.cancel?.(reason); },
    }, writableStrategy);
  }
  get readable() { return this.#readable; }
  get writable() { return this.#writable; }
  get [Symbol.toStringTag]() { return "TransformStream"; }
}
