// What the tests share: the address and key of a real server, and a door to it that can be shut.

import net from "node:net";
import { after } from "node:test";
import { Client } from "../../../clients/javascript/src/index.js";

export const URL_OF_SERVER = process.env.CLOCHE_TEST_URL;
export const KEY = process.env.CLOCHE_TEST_KEY;

export const client = new Client(URL_OF_SERVER, KEY);

// A test that fails leaves its door open: nothing may wait for it.
const sockets = new Set();
after(() => {
  for (const each of sockets) each.unref();
});

/** Return all that an asynchronous iterator yields. */
export async function all(events) {
  const found = [];
  for await (const event of events) found.push(event);
  return found;
}

/** Return the text of one stream of a run's events. */
export function textOf(events, type = "stdout") {
  return events.filter((event) => event.type === type).map((event) => event.text).join("");
}

/** Return what a promise is rejected with. */
export async function errorOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it was not rejected");
}

/**
 * Stand between a client and the real server.
 *
 * `plan(index)` says of each connection: "pass"; "refuse" to close it at once; "deaf" to let the
 * request through and none of the answer; a number of bytes of answer after which it breaks; a
 * string that is answered instead.
 */
export async function door(plan) {
  const target = new URL(URL_OF_SERVER);
  const requests = [];
  const server = net.createServer((near) => {
    sockets.add(near);
    const step = plan(requests.length);
    const index = requests.push("") - 1;
    near.on("error", () => {});
    if (step === "refuse") return near.destroy();
    const far = net.connect(Number(target.port), target.hostname);
    sockets.add(far);
    far.on("error", () => {});
    far.on("close", () => near.destroy());
    near.on("close", () => far.destroy());
    near.on("data", (data) => {
      requests[index] += data.toString("latin1");
      if (typeof step !== "string" || step === "pass" || step === "deaf") far.write(data);
      else near.end(step);
    });
    let left = typeof step === "number" ? step : Infinity;
    far.on("data", (data) => {
      if (step === "deaf") return near.destroy();
      near.write(data.subarray(0, left));
      left -= data.length;
      if (left <= 0) near.destroySoon();
    });
  });
  sockets.add(server);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const through = new Client(`http://127.0.0.1:${server.address().port}`, KEY);
  const fields = (name) =>
    requests.map((text) => new RegExp(`^${name}: (.*)\r$`, "im").exec(text)?.[1]);
  return { client: through, requests, fields, close: () => server.close() };
}
