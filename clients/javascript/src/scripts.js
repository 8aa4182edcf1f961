// Scripts of a server and what they ask people: `client.scripts` and `client.approvals`.

import { jsonOf, linesOf, part, queryOf } from "./encode.js";

const SCRIPTS = "/v1/scripts";
const TOOLS = "/v1/tools";
const APPROVALS = "/v1/approvals";

export class Scripts {
  #wire;

  constructor(wire) {
    this.#wire = wire;
  }

  /** Run a script until it ends or waits for a person. */
  async run(source, options) {
    return this.#begin(source, true, options);
  }

  /** Start a script and return at once. */
  async start(source, options) {
    return this.#begin(source, false, options);
  }

  #begin(source, wait, { signal, idempotencyKey, ...options } = {}) {
    const body = jsonOf({ ...options, source, wait });
    return this.#wire.json({ method: "POST", path: SCRIPTS, body, signal, idempotencyKey });
  }

  /** Run the scripts of a model's message in their order. */
  async message(message, { signal, idempotencyKey, ...options }) {
    const body = jsonOf({ ...options, message });
    const call = { method: "POST", path: "/v1/messages", body, signal, idempotencyKey };
    return (await this.#wire.json(call)).items;
  }

  async list({ limit, after, signal } = {}) {
    return this.#wire.json({ path: `${SCRIPTS}${queryOf({ limit, after })}`, signal });
  }

  async get(scriptId, { signal } = {}) {
    return this.#wire.json({ path: `${SCRIPTS}/${part(scriptId)}`, signal });
  }

  /** Return the lines of a script's journal, JSON each. */
  async journal(scriptId, { signal } = {}) {
    return linesOf(await this.#wire.send({ path: `${SCRIPTS}/${part(scriptId)}/journal`, signal }));
  }

  async timeline(scriptId, { signal } = {}) {
    return this.#wire.json({ path: `${SCRIPTS}/${part(scriptId)}/timeline`, signal });
  }

  /** Go on with a script that waits or was interrupted, until it ends or waits again. */
  async resume(scriptId, options) {
    return this.#change(scriptId, "resume", options);
  }

  /** Stop a script; one that is over stays as it is. */
  async cancel(scriptId, options) {
    return this.#change(scriptId, "cancel", options);
  }

  /** Undo the completed calls of a script, the last one first. */
  async rollback(scriptId, options) {
    return this.#change(scriptId, "rollback", options);
  }

  /** Return a page of the tools that scripts may call, of all sets or of one. */
  async tools({ tools, limit, after, signal } = {}) {
    return this.#wire.json({ path: `${TOOLS}${queryOf({ tools, limit, after })}`, signal });
  }

  /** Return what to tell a model so that it writes scripts for a set of tools. */
  async prompt(tools, { language, signal } = {}) {
    const path = `${TOOLS}/${part(tools)}/prompt${queryOf({ language })}`;
    return new TextDecoder().decode(await this.#wire.send({ path, signal }));
  }

  #change(scriptId, verb, { signal, idempotencyKey } = {}) {
    const path = `${SCRIPTS}/${part(scriptId)}/${verb}`;
    return this.#wire.json({ method: "POST", path, signal, idempotencyKey });
  }
}

export class Approvals {
  #wire;

  constructor(wire) {
    this.#wire = wire;
  }

  /** Return a page of what waits for a decision, the oldest first. */
  async list({ run, limit, after, signal } = {}) {
    return this.#wire.json({ path: `${APPROVALS}${queryOf({ run, limit, after })}`, signal });
  }

  async get(approvalId, { signal } = {}) {
    return this.#wire.json({ path: `${APPROVALS}/${part(approvalId)}`, signal });
  }

  /** Let a call happen, as it is or with other `args`; its script goes on. */
  async approve(approvalId, options) {
    return this.#decide(approvalId, "approve", options);
  }

  /** Let a call not happen; its script is told the reason, or ends. */
  async reject(approvalId, options) {
    return this.#decide(approvalId, "reject", options);
  }

  #decide(approvalId, verb, { signal, idempotencyKey, ...options } = {}) {
    const path = `${APPROVALS}/${part(approvalId)}/${verb}`;
    const call = { method: "POST", path, body: jsonOf(options), signal, idempotencyKey };
    return this.#wire.json(call);
  }
}
