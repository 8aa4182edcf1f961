// What an app keeps: `kv`, `docs`, `blobs`, `sql`, `jobs`. Each call is an effect of that kind, and a
// promise of its value; docs/app-storage.md has all of them.
//
// Left for app.js: `internal.appStorage`, globals of an app and properties of its `env`, and
// `internal.appJob`, which makes the argument of a handler of jobs.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const { Buffer } = internal.library.getModule("buffer");
  const { ReadableStream } = globalThis;
  const CHUNK_BYTES = 512 * 1024; // what the host takes of a blob at once
  const SMALL_LETTERS = 128 * 1024; // in JSON each may become six bytes

  const asker = (kind) => (target, args) => internal.submit(kind, target, args);

  // Programs write uniqueKey, the host unique_key; what is undefined is left out.
  const SNAKE = /[A-Z]/g;
  const CAMEL = /_([a-z])/g;
  const toHost = (options) => {
    const found = {};
    for (const [name, value] of Object.entries(options ?? {})) {
      if (value === undefined) continue;
      found[name.replace(SNAKE, (letter) => `_${letter.toLowerCase()}`)] = value;
    }
    return found;
  };
  const toProgram = (document) => {
    if (document === null) return null;
    const found = {};
    for (const [name, value] of Object.entries(document)) {
      found[name.replace(CAMEL, (_, letter) => letter.toUpperCase())] = value;
    }
    return found;
  };
  const orNull = (value) => (value === undefined ? null : value);

  const bytesOf = (data) => {
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return undefined;
  };
  const toBase64 = (bytes) => (
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")
  );
  const fromBase64 = (text) => new Uint8Array(Buffer.from(text, "base64"));

  // ---- kv ----

  const askKv = asker("kv");
  const ttl = (options) => toHost(typeof options === "number" ? { ttlMs: options } : options);
  const kv = {
    get: (key) => askKv("get", { key }),
    /** {key, value, version, expiresAtMs}, or null. */
    entry: async (key) => toProgram(await askKv("entry", { key })),
    /** The version of what is there now. */
    set: (key, value, options) => askKv("set", { key, value: orNull(value), ...ttl(options) }),
    /** The new version, or null: another one is there. Version 0 means that nothing is. */
    cas: (key, expected_version, value, options) => (
      askKv("cas", { key, expected_version, value: orNull(value), ...ttl(options) })
    ),
    delete: (key) => askKv("delete", { key }),
    list: async (prefix = "", after, limit) => {
      const args = typeof prefix === "string" ? { prefix, after, limit } : prefix;
      return (await askKv("list", toHost(args))).map(toProgram);
    },
  };

  // ---- docs ----

  const askDocs = asker("docs");
  const docs = {
    insert: (collection, doc) => askDocs("insert", { collection, doc }),
    get: (collection, id) => askDocs("get", { collection, id }),
    find: (collection, query = {}, options) => askDocs("find", { collection, query, ...toHost(options) }),
    findOne: (collection, query = {}, options) => (
      askDocs("find_one", { collection, query, ...toHost(options) })
    ),
    update: (collection, query, changes) => askDocs("update", { collection, query, changes }),
    delete: (collection, query) => askDocs("delete", { collection, query }),
    count: (collection, query = {}) => askDocs("count", { collection, query }),
    index: (collection, field) => askDocs("index", { collection, field }),
  };

  // ---- blobs ----

  const askBlobs = asker("blobs");

  const piecesOf = async function* (data) {
    const whole = typeof data === "string" ? Buffer.from(data) : bytesOf(data);
    if (whole !== undefined) {
      for (let at = 0; at < whole.byteLength; at += CHUNK_BYTES) {
        yield whole.subarray(at, at + CHUNK_BYTES);
      }
      return;
    }
    for await (const piece of data) yield* piecesOf(piece);
  };

  const sourceOf = (data) => {
    if (data === null || typeof data !== "object") return undefined;
    if (data[Symbol.asyncIterator] || data[Symbol.iterator]) return data;
    const stream = typeof data.stream === "function" ? data.stream() : data.body;
    if (stream === null && data.body === null) return [];
    return stream?.[Symbol.asyncIterator] ? stream : undefined;
  };

  const putPieces = async (path, data, options) => {
    const { upload } = await askBlobs("begin", { path });
    let ordinal = 0;
    for await (const piece of piecesOf(data)) {
      await askBlobs("write", { upload, ordinal, data: { b64: toBase64(piece) } });
      ordinal += 1;
    }
    return askBlobs("finish", { upload, path, ...options });
  };

  const put = async (path, data, mime) => {
    const options = toHost(typeof mime === "string" ? { mime } : mime);
    const bytes = bytesOf(data);
    let head;
    if (typeof data === "string" && data.length <= SMALL_LETTERS) {
      head = await askBlobs("put", { path, data: { text: data }, ...options });
    } else if (bytes !== undefined && bytes.byteLength <= CHUNK_BYTES) {
      head = await askBlobs("put", { path, data: { b64: toBase64(bytes) }, ...options });
    } else {
      const source = typeof data === "string" ? data : bytes ?? sourceOf(data);
      if (source === undefined) throw new TypeError("a blob is text, bytes, or a stream of them");
      head = await putPieces(path, source, options);
    }
    return toProgram(head);
  };

  /** What is at a path, with its content. */
  class StoredBlob {
    #bytes;
    constructor(head, bytes) {
      Object.assign(this, head);
      this.#bytes = bytes;
    }
    bytes() { return this.#bytes; }
    arrayBuffer() { return this.#bytes.slice().buffer; }
    text() { return Buffer.from(this.#bytes).toString(); }
    json() { return JSON.parse(this.text()); }
  }

  const get = async (path) => {
    const first = await askBlobs("read", { path });
    if (first === null) return null;
    const { b64, ...head } = first;
    const bytes = new Uint8Array(head.size);
    let part = fromBase64(b64);
    bytes.set(part);
    for (let at = part.length; at < head.size && part.length; at += part.length) {
      part = fromBase64((await askBlobs("read", { path, offset: at, hash: head.hash })).b64);
      bytes.set(part, at);
    }
    return new StoredBlob(toProgram(head), bytes);
  };

  /** The content as a ReadableStream, read as it is taken; null when nothing is there. */
  const stream = async (path) => {
    const head = await askBlobs("head", { path });
    if (head === null) return null;
    let at = 0;
    return new ReadableStream({
      async pull(controller) {
        if (at >= head.size) { controller.close(); return; }
        const part = fromBase64((await askBlobs("read", { path, offset: at, hash: head.hash })).b64);
        at += part.length;
        controller.enqueue(part);
      },
    }, { highWaterMark: 0 });
  };

  const blobs = {
    put,
    get,
    stream,
    head: async (path) => toProgram(await askBlobs("head", { path })),
    delete: (path) => askBlobs("delete", { path }),
    list: async (prefix = "", after, limit) => {
      const args = typeof prefix === "string" ? { prefix, after, limit } : prefix;
      return (await askBlobs("list", toHost(args))).map(toProgram);
    },
  };

  // ---- sql ----

  const askSql = asker("sql");
  const toSql = (value) => {
    const bytes = bytesOf(value);
    return bytes === undefined ? orNull(value) : { b64: toBase64(bytes) };
  };
  const params = (values) => {
    if (values === undefined) return {};
    if (Array.isArray(values)) return { params: values.map(toSql) };
    return { params: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, toSql(value)])) };
  };
  const rowsOf = ({ columns, rows }) => rows.map((row) => Object.fromEntries(
    row.map((value, index) => [columns[index], value?.b64 === undefined ? value : fromBase64(value.b64)]),
  ));
  const doneOf = (done) => ({ changes: done.changes, lastId: done.last_id, rows: rowsOf(done) });
  const sql = {
    /** Rows as objects. */
    query: async (text, values) => rowsOf(await askSql("query", { text, ...params(values) })),
    /** {changes, lastId, rows}. */
    execute: async (text, values) => doneOf(await askSql("execute", { text, ...params(values) })),
    /** Statements, each a text or [text, params], in one transaction. */
    batch: async (statements) => (await askSql("batch", {
      statements: statements.map((statement) => {
        const [text, values] = typeof statement === "string" ? [statement] : statement;
        return { text, ...params(values) };
      }),
    })).map(doneOf),
  };

  // ---- jobs ----

  const askJobs = asker("jobs");
  const jobs = {
    /** The id of the job: `{delayMs, retry, backoffMs, uniqueKey, priority, timeoutMs}`. */
    spawn: (name, data, options) => askJobs("spawn", { name, data: orNull(data), ...toHost(options) }),
    get: async (id) => toProgram(await askJobs("get", { id })),
    list: async (options) => (await askJobs("list", toHost(options))).map(toProgram),
    cancel: (id) => askJobs("cancel", { id }),
  };

  /** A running job, as its handler sees it. */
  internal.appJob = (document) => Object.freeze({
    ...toProgram(document),
    progress: (value) => askJobs("progress", { value }),
    checkpoint: (value) => askJobs("checkpoint", { value: orNull(value) }),
    lastCheckpoint: () => askJobs("last_checkpoint", {}),
    cancelled: () => askJobs("cancelled", {}),
  });

  internal.appStorage = Object.freeze({
    kv: Object.freeze(kv),
    docs: Object.freeze(docs),
    blobs: Object.freeze(blobs),
    sql: Object.freeze(sql),
    jobs: Object.freeze(jobs),
  });
})();
