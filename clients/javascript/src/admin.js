// Outbound HTTP and tenants of a server, for admin keys: `client.net` and `client.tenants`.

import { jsonOf, part, queryOf } from "./encode.js";

const LISTS = "/v1/net/allowlist";
const SECRETS = "/v1/net/secrets";

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
