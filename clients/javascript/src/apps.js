// Hosted apps of a server: `client.apps`.

import { bytesOf, jsonOf, linesOf, part, queryOf } from "./encode.js";
import { LineReader, streamed } from "./events.js";

const APPS = "/v1/apps";
const BYTES = "application/octet-stream";

export class Apps {
  #wire;

  constructor(wire) {
    this.#wire = wire;
  }

  /**
   * Deploy an app, or a new version of it: it is evaluated first, and answers then.
   *
   * @param {string} name of the app; made when there is none of this name.
   * @param {string|Uint8Array|ArrayBuffer|Blob} archive ZIP, tar, or tar with gzip.
   * @param {{env?: Record<string, string>, canary?: number}} [options] variables besides those that
   *   it has; how many of 100 clients it answers, all when left out.
   */
  async deploy(name, archive, { env, canary, signal, idempotencyKey } = {}) {
    const path = `${APPS}/${part(name)}/versions${queryOf({ canary })}`;
    const bytes = await bytesOf(archive);
    const sent = { method: "POST", path, body: bytes, type: BYTES, signal, idempotencyKey };
    if (env !== undefined) Object.assign(sent, await formOf(bytes, env));
    return this.#wire.json(sent);
  }

  async list({ signal } = {}) {
    return (await this.#wire.json({ path: APPS, signal })).items;
  }

  async get(name, { signal } = {}) {
    return this.#wire.json({ path: `${APPS}/${part(name)}`, signal });
  }

  /** Remove an app with everything that it has kept. */
  async remove(name, { signal } = {}) {
    await this.#wire.send({ method: "DELETE", path: `${APPS}/${part(name)}`, signal });
  }

  /** Return the versions of an app, newest first. */
  async versions(name, { signal } = {}) {
    return (await this.#wire.json({ path: `${APPS}/${part(name)}/versions`, signal })).items;
  }

  /** Return what was done to an app, newest first. */
  async actions(name, { signal } = {}) {
    return (await this.#wire.json({ path: `${APPS}/${part(name)}/actions`, signal })).items;
  }

  /** Let the version before answer at once, or the one that `to` names. */
  async rollback(name, { to = "", ...options } = {}) {
    return this.#post(name, "rollback", { to }, options);
  }

  /** Let the canary answer everybody. */
  async promote(name, options) {
    return this.#post(name, "promote", undefined, options);
  }

  /** Let an app answer nothing. */
  async stop(name, options) {
    return this.#post(name, "stop", undefined, options);
  }

  /** Let a stopped app answer again. */
  async start(name, options) {
    return this.#post(name, "start", undefined, options);
  }

  /** Set and remove variables; what is set cannot be read again. */
  async setEnv(name, values, { remove = [], ...options } = {}) {
    return this.#post(name, "env", { set: values, remove: [...remove] }, options);
  }

  #post(name, verb, body, { signal, idempotencyKey } = {}) {
    const path = `${APPS}/${part(name)}/${verb}`;
    const sent = body === undefined ? undefined : jsonOf(body);
    return this.#wire.json({ method: "POST", path, body: sent, signal, idempotencyKey });
  }

  /** Return the newest lines of an app's log, oldest first. */
  async logs(name, { level, request, afterMs, limit, signal } = {}) {
    const query = queryOf({ level, request, after_ms: afterMs, limit });
    return (await this.#wire.json({ path: `${APPS}/${part(name)}/logs${query}`, signal })).items;
  }

  /** Yield lines of an app's log as they are written; throw when the connection breaks. */
  async *followLogs(name, { level, request, signal } = {}) {
    const query = queryOf({ level, request });
    const call = { path: `${APPS}/${part(name)}/logs${query}`, signal };
    yield* streamed(this.#wire, call, new LineReader());
  }

  /** Return recorded requests of an app, newest first. */
  async requests(name, { limit, signal } = {}) {
    const path = `${APPS}/${part(name)}/requests${queryOf({ limit })}`;
    return (await this.#wire.json({ path, signal })).items;
  }

  /** Return the lines of a recorded request's journal, JSON each. */
  async requestJournal(name, requestId, { signal } = {}) {
    const path = `${APPS}/${part(name)}/requests/${part(requestId)}/journal`;
    return linesOf(await this.#wire.send({ path, signal }));
  }

  /** Execute a recorded request again from its journal, to the same bytes. */
  async replay(name, requestId, options) {
    return this.#post(name, `requests/${part(requestId)}/replay`, undefined, options);
  }
}

/** Return an archive with variables as a form: bytes, so that each attempt sends the same. */
async function formOf(archive, env) {
  const form = new FormData();
  form.append("archive", new Blob([archive]), "app");
  form.append("env", JSON.stringify(env));
  const made = new Response(form);
  return { body: new Uint8Array(await made.arrayBuffer()), type: made.headers.get("content-type") };
}
