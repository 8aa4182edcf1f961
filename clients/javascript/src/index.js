// A cloche server from node and browsers. See README.md for how to use it.

export { Net, Tenants } from "./admin.js";
export { Client } from "./client.js";
export { ClocheError } from "./errors.js";
export { Session, Sessions } from "./sessions.js";
