// A server: runs, sessions, keys. The verbs of the Python client, named as JavaScript names things.

import { Net, Tenants, Webhooks } from "./admin.js";
import { Apps } from "./apps.js";
import { jsonOf, linesOf, part, queryOf } from "./encode.js";
import { EventReader, follow, listening, ownEvents } from "./events.js";
import { beginning, runToEnd } from "./runs.js";
import { Approvals, Scripts } from "./scripts.js";
import { Sessions } from "./sessions.js";
import { Wire } from "./wire.js";

export class Client {
  #wire;

  /**
   * @param {string|URL} url of the server, such as `https://runs.example.org`.
   * @param {string} key see `cloche keys`.
   * @param {{attemptCount?: number, fetch?: typeof fetch}} [options] how often a request is sent at
   *   most when the connection breaks, or the server says when to come back.
   */
  constructor(url, key, options = {}) {
    this.#wire = new Wire(url, key, options);
    this.sessions = new Sessions(this.#wire);
    this.scripts = new Scripts(this.#wire);
    this.approvals = new Approvals(this.#wire);
    this.apps = new Apps(this.#wire);
    this.net = new Net(this.#wire);
    this.tenants = new Tenants(this.#wire);
    this.webhooks = new Webhooks(this.#wire);
  }

  // --- runs ---

  /** Run a program; return the run when it has completed, else throw why, with `error.run`. */
  async run(code, options) {
    return runToEnd(this.#wire, await beginning("/v1/run", code, options));
  }

  /** Run a program and yield what it prints, then `finished` or `failed`. */
  async *events(code, options) {
    yield* ownEvents(this.#wire, await beginning("/v1/run", code, options));
  }

  /** Start a run and return at once. */
  async start(code, options) {
    return this.#wire.json(await beginning("/v1/runs", code, options));
  }

  /** Yield what a run prints, from its beginning or behind an event; stopping leaves it running. */
  async *follow(runId, { lastEventId = "", signal } = {}) {
    const reader = new EventReader(runId, lastEventId);
    yield* follow(this.#wire, listening(runId, lastEventId, signal), reader);
  }

  async getRun(runId, { signal } = {}) {
    return this.#wire.json({ path: `/v1/runs/${part(runId)}`, signal });
  }

  async listRuns({ session, limit, after, signal } = {}) {
    const query = queryOf({ session, limit, after });
    return this.#wire.json({ path: `/v1/runs${query}`, signal });
  }

  async cancelRun(runId, { signal, idempotencyKey } = {}) {
    const path = `/v1/runs/${part(runId)}/cancel`;
    return this.#wire.json({ method: "POST", path, signal, idempotencyKey });
  }

  /** Go on with a run that was put away; return it when it has completed. */
  async resumeRun(runId, { signal, idempotencyKey } = {}) {
    const path = `/v1/runs/${part(runId)}/resume`;
    return runToEnd(this.#wire, { method: "POST", path, signal, idempotencyKey });
  }

  async replayRun(runId, { signal, idempotencyKey } = {}) {
    const path = `/v1/runs/${part(runId)}/replay`;
    return this.#wire.json({ method: "POST", path, signal, idempotencyKey });
  }

  /** Return the lines of a run's journal, JSON each. */
  async runJournal(runId, { signal } = {}) {
    return linesOf(await this.#wire.send({ path: `/v1/runs/${part(runId)}/journal`, signal }));
  }

  /** Return the effects of a run in the order in which they began. */
  async runTimeline(runId, { signal } = {}) {
    return this.#wire.json({ path: `/v1/runs/${part(runId)}/timeline`, signal });
  }

  /**
   * Give a promise of a program its value, once; the run that waits for it goes on by itself.
   * `completed` of what is returned is false where it has a value already, which stays.
   */
  async completePromise(promiseId, value, { signal, idempotencyKey } = {}) {
    const path = `/v1/promises/${part(promiseId)}/complete`;
    return this.#wire.json({ method: "POST", path, body: jsonOf({ value }), signal, idempotencyKey });
  }

  // --- keys ---

  /** Make a key; its text is in `key` of what is returned, and nowhere else. */
  async createKey(scopes, { signal, idempotencyKey, ...options } = {}) {
    const body = jsonOf({ scopes: [...scopes], ...options });
    return this.#wire.json({ method: "POST", path: "/v1/keys", body, signal, idempotencyKey });
  }

  async listKeys({ limit, after, signal } = {}) {
    return this.#wire.json({ path: `/v1/keys${queryOf({ limit, after })}`, signal });
  }

  /** Make a key that may do the same; the old one ends after `overlapMs`. */
  async rotateKey(keyId, { overlapMs = 0, signal, idempotencyKey } = {}) {
    const path = `/v1/keys/${part(keyId)}/rotate`;
    const body = jsonOf({ overlap_ms: overlapMs });
    return this.#wire.json({ method: "POST", path, body, signal, idempotencyKey });
  }

  async revokeKey(keyId, { signal } = {}) {
    return this.#wire.json({ method: "DELETE", path: `/v1/keys/${part(keyId)}`, signal });
  }

  // --- the server ---

  /** Return a page of the changes that admin keys made, newest first. */
  async audit({ limit, after, signal } = {}) {
    return this.#wire.json({ path: `/v1/audit${queryOf({ limit, after })}`, signal });
  }

  async limits({ signal } = {}) {
    return this.#wire.json({ path: "/api/system/limits", signal });
  }

  async limitsSchema({ signal } = {}) {
    return this.#wire.json({ path: "/api/system/limits/schema", signal });
  }
}
