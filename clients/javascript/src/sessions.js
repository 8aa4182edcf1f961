// Sessions of a server: machines that live on from run to run, their files and their states.

import {
  archiveType,
  bodyOf,
  bytesOf,
  contentOf,
  fileParts,
  jsonOf,
  part,
  queryOf,
} from "./encode.js";
import { ownEvents } from "./events.js";
import { beginning, runToEnd } from "./runs.js";

const BYTES = "application/octet-stream";

export class Sessions {
  #wire;

  constructor(wire) {
    this.#wire = wire;
  }

  async #made(call) {
    return new Session(this.#wire, await this.#wire.json(call));
  }

  async create(language, { signal, idempotencyKey, ...options } = {}) {
    const body = jsonOf(await bodyOf({ language, ...options }));
    return this.#made({ method: "POST", path: "/v1/sessions", body, signal, idempotencyKey });
  }

  /** Return a handle of a session that is kept. */
  async open(idOrName, { signal } = {}) {
    return this.#made({ path: `/v1/sessions/${part(idOrName)}`, signal });
  }

  /** Create a session from what `export` returned. */
  async import(archive, { name, signal, idempotencyKey } = {}) {
    const path = `/v1/sessions/import${queryOf({ name })}`;
    const body = await bytesOf(archive);
    return this.#made({ method: "POST", path, body, type: BYTES, signal, idempotencyKey });
  }

  async list({ limit, after, signal } = {}) {
    return this.#wire.json({ path: `/v1/sessions${queryOf({ limit, after })}`, signal });
  }
}

export class Session {
  #wire;
  #path;

  /** Made by `Sessions`. */
  constructor(wire, document) {
    this.#wire = wire;
    this.#path = `/v1/sessions/${part(document.id)}`;
    this.id = document.id;
    this.name = document.name;
    this.language = document.language;
  }

  #post(rest, body, { signal, idempotencyKey } = {}) {
    const sent = body === undefined ? undefined : jsonOf(body);
    return { method: "POST", path: `${this.#path}/${rest}`, body: sent, signal, idempotencyKey };
  }

  /** Return the address of a file; from where its path leads, if not from /, the server knows. */
  async #file(path, signal) {
    const parts = fileParts(path);
    const from = path.startsWith("/") ? "/" : await this.workingDir({ signal });
    return `${this.#path}/files/${from === "/" ? parts : `${fileParts(from)}/${parts}`}`;
  }

  // --- runs ---

  /** Run a program, or with `entrypoint` a file; return the run when it has completed. */
  async run(code, options) {
    return runToEnd(this.#wire, await beginning(`${this.#path}/run`, code, options));
  }

  /** Run a program and yield what it prints, then `finished` or `failed`. */
  async *runStreaming(code, options) {
    yield* ownEvents(this.#wire, await beginning(`${this.#path}/run`, code, options));
  }

  /** Start a run and return at once. */
  async start(code, options) {
    return this.#wire.json(await beginning(`${this.#path}/runs`, code, options));
  }

  /** Go on with the run that was put away. */
  async resume(options) {
    return runToEnd(this.#wire, this.#post("resume", undefined, options));
  }

  // --- files ---

  /** Put a File, or `{name, content}`, in place. */
  async upload(file, options) {
    const { name, content } = contentOf(file);
    await this.writeFile(name, content, options);
  }

  async writeFile(path, content, { readOnly = false, signal } = {}) {
    const address = (await this.#file(path, signal)) + (readOnly ? "?read_only=true" : "");
    const body = await bytesOf(content);
    await this.#wire.send({ method: "PUT", path: address, body, type: BYTES, signal });
  }

  /** Return the bytes of a file. */
  async download(path, { signal } = {}) {
    return this.#wire.send({ path: await this.#file(path, signal), signal });
  }

  /** Put the files of a ZIP, a tar or a tar with gzip in place below `path`; return them. */
  async uploadArchive(archive, { path = ".", readOnly = false, signal, idempotencyKey } = {}) {
    const body = await bytesOf(archive);
    const address = `${this.#path}/files${queryOf({ path, read_only: readOnly })}`;
    const call = { method: "POST", path: address, body, type: archiveType(body) };
    return (await this.#wire.json({ ...call, signal, idempotencyKey })).items;
  }

  /** Return a directory with all below it as a ZIP; links are left out. */
  async downloadArchive(path = ".", { signal } = {}) {
    return this.#wire.send({ path: `${this.#path}/archive${queryOf({ path })}`, signal });
  }

  async remove(path, { signal } = {}) {
    await this.#wire.send({ method: "DELETE", path: await this.#file(path, signal), signal });
  }

  /** Return what is in a directory, sorted by path. */
  async listFiles(path = ".", { recursive = false, signal } = {}) {
    const query = queryOf({ path, recursive });
    return (await this.#wire.json({ path: `${this.#path}/files${query}`, signal })).items;
  }

  async workingDir({ signal } = {}) {
    return (await this.#wire.json({ path: `${this.#path}/cwd`, signal })).path;
  }

  async setWorkingDir(path, { signal } = {}) {
    const body = jsonOf({ path });
    await this.#wire.send({ method: "PUT", path: `${this.#path}/cwd`, body, signal });
  }

  // --- states ---

  /** Return every operation so far. */
  async history({ signal } = {}) {
    return (await this.#wire.json({ path: `${this.#path}/history`, signal })).items;
  }

  /** Return a new session in the same state. */
  async fork(name, options) {
    const made = await this.#wire.json(this.#post("fork", { name }, options));
    return new Session(this.#wire, made);
  }

  /** Keep the state of now; return its name, for `restore`. */
  async snapshot(options) {
    return (await this.#wire.json(this.#post("snapshot", undefined, options))).snapshot;
  }

  async restore(snapshot, options) {
    await this.#wire.send(this.#post("restore", { snapshot }, options));
  }

  /** Undo the `last` runs, or go back `to` an operation. */
  async revert({ last, to, ...options } = {}) {
    await this.#wire.send(this.#post("revert", { last, to }, options));
  }

  /** Return the whole session as one signed archive. */
  async export({ signal } = {}) {
    return this.#wire.send({ path: `${this.#path}/export`, signal });
  }

  /** Remove the session for ever. */
  async delete({ signal } = {}) {
    await this.#wire.send({ method: "DELETE", path: this.#path, signal });
  }
}
