// What the bundled packages know as the `process` package: only the tick.

import { nextTick } from "../node/next_tick.js";

export const env = {};
export const process = { env, nextTick };
export default process;
export { nextTick };
