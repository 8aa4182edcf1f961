// What the tests share: the address and key of a real server, and a door to it that can be shut.

import http from "node:http";
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

/** Return what a function returns as soon as that is something. */
export async function settled(look) {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("nothing came");
}

/** Return an app of one file as a tar. */
export function appOf(version) {
  const code = `export default {
    async fetch(request, env) {
      if (new URL(request.url).pathname === "/fail") throw new Error("told to");
      console.log("asked");
      return new Response("${version} " + (env.COLOR ?? ""));
    },
  };`;
  const head = Buffer.alloc(512);
  head.write("main.js");
  head.write("0000644\0", 100);
  head.write(`${code.length.toString(8).padStart(11, "0")}\0`, 124);
  head.write("        0", 148);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const content = Buffer.alloc(Math.ceil(code.length / 512) * 512);
  content.write(code);
  return Buffer.concat([head, content, Buffer.alloc(1024)]);
}

/** Return the text that an app answers. */
export async function asked(name, path = "/") {
  const { port } = new URL(URL_OF_SERVER);
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path, headers: { host: `${name}.localhost` } };
    const request = http.get(options, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => resolve(text));
    });
    request.on("error", reject);
  });
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
