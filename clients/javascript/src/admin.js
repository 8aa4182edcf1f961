// What admin keys look after: `client.net`, `client.tenants` and `client.webhooks`.

import { jsonOf, part, queryOf } from "./encode.js";

const LISTS = "/v1/net/allowlist";
const SECRETS = "/v1/net/secrets";
const WEBHOOKS = "/v1/webhooks";

export class Net {
  #wire;

  constructor(wire) {
    this.#wire = wire;
  }

  /** Let runs call a host, as a line of `cloche net allow`; options are fields of an entry. */
  async allow(entry, options) {
    return this.#put(entry, "allow", options);
  }

  /** Refuse a host that an entry behind it would allow. */
  async deny(entry, options) {
    return this.#put(entry, "deny", options);
  }

  #put(entry, action, { signal, idempotencyKey, ...options } = {}) {
    const body = jsonOf({ entry, action, ...options });
    return this.#wire.json({ method: "POST", path: LISTS, body, signal, idempotencyKey });
  }

  async entries({ scope, limit, after, signal } = {}) {
    return this.#wire.json({ path: `${LISTS}${queryOf({ scope, limit, after })}`, signal });
  }

  async entry(entryId, { signal } = {}) {
    return this.#wire.json({ path: `${LISTS}/${part(entryId)}`, signal });
  }

  async remove(entryId, { signal } = {}) {
    await this.#wire.send({ method: "DELETE", path: `${LISTS}/${part(entryId)}`, signal });
  }

  /** Return whether a call would be allowed, and which rule decides; nothing is sent. */
  async test(url, { signal, idempotencyKey, ...options } = {}) {
    const body = jsonOf({ url, ...options });
    return this.#wire.json({ method: "POST", path: "/v1/net/test", body, signal, idempotencyKey });
  }

  /** Keep a secret for these hosts; nobody can read its value again. */
  async putSecret(name, value, domains, { scope, signal, ...options } = {}) {
    const body = jsonOf({ value, domains: [...domains], ...options });
    const path = `${SECRETS}/${part(name)}${queryOf({ scope })}`;
    return this.#wire.json({ method: "PUT", path, body, signal });
  }

  /** Give a secret another value; what it is bound to stays. */
  async rotateSecret(name, value, { scope, signal, ...options } = {}) {
    const path = `${SECRETS}/${part(name)}/value${queryOf({ scope })}`;
    return this.#wire.json({ method: "PUT", path, body: jsonOf({ value, ...options }), signal });
  }

  async secrets({ scope, limit, after, signal } = {}) {
    return this.#wire.json({ path: `${SECRETS}${queryOf({ scope, limit, after })}`, signal });
  }

  /** Return a secret, without its value. */
  async secret(name, { scope, signal } = {}) {
    return this.#wire.json({ path: `${SECRETS}/${part(name)}${queryOf({ scope })}`, signal });
  }

  async removeSecret(name, { scope, signal } = {}) {
    const path = `${SECRETS}/${part(name)}${queryOf({ scope })}`;
    await this.#wire.send({ method: "DELETE", path, signal });
  }

  /** Return a page of the calls that runs made, newest first. */
  async logs({ host, scope, run, errors, limit, after, signal } = {}) {
    const query = queryOf({ host, scope, run, errors, limit, after });
    return this.#wire.json({ path: `/v1/net/logs${query}`, signal });
  }

  async stats({ signal } = {}) {
    return this.#wire.json({ path: "/v1/net/stats", signal });
  }

  async cache({ signal } = {}) {
    return this.#wire.json({ path: "/v1/net/cache", signal });
  }

  async clearCache({ signal } = {}) {
    await this.#wire.send({ method: "DELETE", path: "/v1/net/cache", signal });
  }
}

export class Tenants {
  #wire;

  constructor(wire) {
    this.#wire = wire;
  }

  async list({ limit, after, signal } = {}) {
    return this.#wire.json({ path: `/v1/tenants${queryOf({ limit, after })}`, signal });
  }

  async get(name, { signal } = {}) {
    return this.#wire.json({ path: `/v1/tenants/${part(name)}`, signal });
  }

  /** Give a tenant limits of its own, instead of those before. */
  async set(name, limits, { signal } = {}) {
    const path = `/v1/tenants/${part(name)}`;
    return this.#wire.json({ method: "PUT", path, body: jsonOf({ limits }), signal });
  }
}

/** Where a server tells of approvals and of what has ended. */
export class Webhooks {
  #wire;

  constructor(wire) {
    this.#wire = wire;
  }

  /** Add a webhook for these events, all when none are named; its secret is told once. */
  async create(url, { events = [], signal, idempotencyKey } = {}) {
    const body = jsonOf({ url: String(url), events: [...events] });
    return this.#wire.json({ method: "POST", path: WEBHOOKS, body, signal, idempotencyKey });
  }

  async list({ signal } = {}) {
    return (await this.#wire.json({ path: WEBHOOKS, signal })).items;
  }

  async get(webhookId, { signal } = {}) {
    return this.#wire.json({ path: `${WEBHOOKS}/${part(webhookId)}`, signal });
  }

  async remove(webhookId, { signal } = {}) {
    await this.#wire.send({ method: "DELETE", path: `${WEBHOOKS}/${part(webhookId)}`, signal });
  }

  /** Give a webhook another secret, at once. */
  async rotate(webhookId, options) {
    return this.#post(webhookId, "rotate", options);
  }

  /** Send a message that says nothing, to see whether it arrives. */
  async ping(webhookId, options) {
    return this.#post(webhookId, "ping", options);
  }

  #post(webhookId, verb, { signal, idempotencyKey } = {}) {
    const path = `${WEBHOOKS}/${part(webhookId)}/${verb}`;
    return this.#wire.json({ method: "POST", path, signal, idempotencyKey });
  }

  /** Return what a webhook has not taken, oldest first; `after` is the id of one of them. */
  async deliveries(webhookId, { limit, after, signal } = {}) {
    const path = `${WEBHOOKS}/${part(webhookId)}/deliveries${queryOf({ limit, after })}`;
    return (await this.#wire.json({ path, signal })).items;
  }
}
