// A cloche server from node and browsers. See README.md for how to use it.

export { Net, Tenants, Webhooks } from "./admin.js";
export { Apps } from "./apps.js";
export { Client } from "./client.js";
export { ClocheError } from "./errors.js";
export { Approvals, Scripts } from "./scripts.js";
export { Session, Sessions } from "./sessions.js";
