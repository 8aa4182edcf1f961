// The client on a real server. Each test says in its name what holds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Client, ClocheError } from "../../../clients/javascript/src/index.js";
import {
  KEY,
  URL_OF_SERVER,
  all,
  appOf,
  asked,
  client,
  door,
  errorOf,
  settled,
  textOf,
} from "./support.js";

const FOREVER = "console.log('on'); for (;;) {}";

// --- runs ---

test("a run gives back its document", async () => {
  const run = await client.run("print(6 * 7)", { language: "python" });
  assert.equal(run.status, "completed");
  assert.equal(run.stdout, "42\n");
  assert.equal(run.exit_code, 0);
});

test("a run takes arguments, environment, input and files, as text and as bytes", async () => {
  const code =
    "import os, sys\nprint(sys.argv[1:], os.environ['A'], list(sys.stdin.buffer.read()))\n" +
    "print(open('d/a').read(), list(open('b', 'rb').read()), open('c').read())";
  const files = [
    { name: "d/a", content: "é" },
    { name: "b", content: new Uint8Array([0, 255]) },
    new File(["file"], "c"),
  ];
  const stdin = new Uint8Array([0, 200]);
  const options = { language: "python", args: ["x"], env: { A: "1" }, stdin, files };
  const run = await client.run(code, options);
  assert.equal(run.stdout, "['x'] 1 [0, 200]\né [0, 255] file\n");
});

test("large bytes arrive whole", async () => {
  const content = new Uint8Array(300_001).map((_, index) => index % 251);
  const run = await client.run(
    "d = open('a', 'rb').read(); print(len(d), all(b == i % 251 for i, b in enumerate(d)))",
    { language: "python", files: [{ name: "a", content }] },
  );
  assert.equal(run.stdout, "300001 True\n");
});

test("nanoseconds arrive exactly", async () => {
  const at = async (now_ns) => {
    const options = { language: "python", now_ns, seed: 5n };
    return BigInt((await client.run("import time; print(time.time_ns())", options)).stdout);
  };
  assert.equal((await at(10n ** 18n + 1n)) - (await at(10n ** 18n)), 1n);
});

test("a program that fails is an error with the run and all that it printed", async () => {
  const code = "print('a')\nraise ValueError('b')";
  const error = await errorOf(client.run(code, { language: "python" }));
  assert.ok(error instanceof ClocheError);
  assert.deepEqual(
    [error.name, error.code, error.retryable, error.status, error.run.stdout],
    ["ClocheError", "RUNTIME_FAILED", false, null, "a\n"],
  );
  assert.match(error.run.stderr, /ValueError: b/);
});

test("a refusal has the code, the fields and the status of the server", async () => {
  const stranger = new Client(URL_OF_SERVER, `clk_${"a".repeat(12)}_${"A".repeat(43)}`);
  const error = await errorOf(stranger.run("1"));
  assert.deepEqual([error.status, error.code, error.retryable], [401, "WEB_UNAUTHORIZED", false]);
  const missing = await errorOf(client.getRun("nothing"));
  assert.deepEqual([missing.status, missing.code], [404, "SERVER_NOT_FOUND"]);
  assert.deepEqual(missing.fields, { kind: "run", id: "nothing" });
});

test("an option that the server does not know is refused", async () => {
  const error = await errorOf(client.run("1", { langauge: "python" }));
  assert.equal(error.status, 422);
});

test("names that an address would lose are not sent", async () => {
  for (const name of ["", ".", ".."]) {
    assert.equal((await errorOf(client.cancelRun(name))).code, "CLIENT_VALUE");
  }
});

test("a run can be started, listed, cancelled and asked for", async () => {
  const started = await client.start(FOREVER, { language: "javascript" });
  const cancelled = await client.cancelRun(started.id);
  assert.equal(cancelled.id, started.id);
  const last = (await all(client.follow(started.id))).at(-1);
  assert.equal(last.type, "failed");
  assert.equal((await client.getRun(started.id)).status, "cancelled");
  const page = await client.listRuns({ limit: 1 });
  assert.equal(page.items.length, 1);
  const next = await client.listRuns({ limit: 1, after: page.next });
  assert.notEqual(next.items[0].id, page.items[0].id);
});

test("a run is replayed from its journal", async () => {
  const run = await client.run("import random; print(random.random())", { language: "python" });
  assert.deepEqual(await client.replayRun(run.id), {
    run_id: run.id,
    same: true,
    journal_hash: run.journal_hash,
  });
  const lines = await client.runJournal(run.id);
  assert.ok(lines.length >= 2 && lines.every((line) => JSON.parse(line)));
});

// --- events ---

test("events come in order, and the last one has the run", async () => {
  const code = "console.log('a\\u2028\\u0085b\\ufeff'); console.error('c'); console.log('d')";
  const found = await all(client.events(code, { language: "javascript" }));
  assert.deepEqual(
    found.map((event) => [event.type, event.text]),
    [
      ["start", undefined],
      ["stdout", "a\u2028\u0085b\ufeff\n"],
      ["stderr", "c\n"],
      ["stdout", "d\n"],
      ["finished", undefined],
    ],
  );
  assert.equal(found.at(-1).run.id, found[0].run_id);
});

test("the last event of a run that failed has the error", async () => {
  const found = await all(client.events("throw new Error('x')", { language: "javascript" }));
  const { type, error } = found.at(-1);
  assert.deepEqual([type, error.code], ["failed", "RUNTIME_FAILED"]);
});

test("leaving the loop stops the run", async () => {
  let id;
  for await (const event of client.events(FOREVER, { language: "javascript" })) {
    if (event.type === "start") id = event.run_id;
    if (event.type === "stdout") break;
  }
  await all(client.follow(id));
  assert.equal((await client.getRun(id)).status, "cancelled");
});

test("following goes on behind any event that was seen", async () => {
  const code = "for (const n of [1, 2, 3]) { console.log(n); console.error(n) }";
  const found = await all(client.events(code, { language: "javascript" }));
  const id = found[0].run_id;
  for (const { id: lastEventId } of found.slice(0, -1)) {
    const seen = found.slice(0, found.findLastIndex((event) => event.id === lastEventId) + 1);
    const rest = await all(client.follow(id, { lastEventId }));
    for (const type of ["stdout", "stderr"]) {
      assert.equal(textOf(seen, type) + textOf(rest, type), "1\n2\n3\n");
    }
    assert.equal(rest.at(-1).type, "finished");
  }
});

test("a stream that breaks anywhere is made again where it was", async () => {
  const code = "for (let n = 0; n < 200; n++) { console.log(n, 'é'); console.error(-n) }";
  const whole = await all(client.events(code, { language: "javascript" }));
  for (const cut of [10, 400, 700, 1500, 4001]) {
    const through = await door((index) => (index < 1 ? cut : "pass"));
    const found = await all(through.client.events(code, { language: "javascript" }));
    assert.equal(textOf(found), textOf(whole), `broken after ${cut} bytes`);
    assert.equal(textOf(found, "stderr"), textOf(whole, "stderr"));
    assert.equal(found.filter((event) => event.type === "start").length, 1);
    assert.equal(found.at(-1).type, "finished");
    assert.ok(through.requests.length >= 2);
    through.close();
  }
});

test("a stream that goes on may break any number of times, inside of anything", async () => {
  const event = (type, id, data) => `event: ${type}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`;
  let count = 0;
  const fetch = async () => {
    const n = count++ - 1;
    if (n < 0) return new Response("event: sta");
    const end = { id: "r", status: "completed" };
    const text =
      event("start", `${n}-0`, { id: "r" }) +
      (n < 4 ? `${event("stdout", `${n + 1}-0`, { text: `${n}é` })}data: half\nevent: std` : "") +
      (n < 4 ? "" : event("end", "end", end));
    const bytes = Array.from(new TextEncoder().encode(text), (byte) => Uint8Array.of(byte));
    return new Response(ReadableStream.from(bytes));
  };
  const found = await all(new Client(URL_OF_SERVER, KEY, { fetch }).events("1"));
  assert.equal(textOf(found), "0é1é2é3é");
  assert.deepEqual([found[0].type, found.at(-1).type, count], ["start", "finished", 6]);
});

test("what goes on behind an event says which one", async () => {
  const code = "console.log('a'.repeat(3000)); console.log('b')";
  const through = await door((index) => (index < 1 ? 3600 : "pass"));
  const found = await all(through.client.events(code, { language: "javascript" }));
  assert.equal(textOf(found), `${"a".repeat(3000)}\nb\n`);
  assert.equal(through.fields("last-event-id")[0], undefined);
  assert.match(through.fields("last-event-id")[1], /^\d+-\d+$/);
  through.close();
});

// --- trying again ---

test("a POST whose answer was lost is done once", async () => {
  const before = (await client.sessions.list({ limit: 200 })).items.length;
  const through = await door((index) => (index < 1 ? "deaf" : "pass"));
  const session = await through.client.sessions.create("javascript");
  const keys = through.fields("idempotency-key");
  assert.ok(/^[0-9a-f]{32}$/.test(keys[0]) && keys.length === 2);
  assert.equal(keys[0], keys[1]);
  assert.equal((await client.sessions.list({ limit: 200 })).items.length, before + 1);
  await session.delete();
  through.close();
});

test("the same idempotency key gets the same run", async () => {
  const options = { language: "python", idempotencyKey: `key-${Date.now()}` };
  const first = await client.run("print(1)", options);
  assert.equal((await client.run("print(1)", options)).id, first.id);
  const error = await errorOf(client.run("print(2)", options));
  assert.equal(error.status, 422);
});

test("a server that is busy is asked again when it says", async () => {
  const body = JSON.stringify({ code: "SERVER_QUEUE_FULL", message: "full", retryable: true });
  const busy = (status) =>
    `HTTP/1.1 ${status} Busy\r\nRetry-After: 0\r\nContent-Length: ${body.length}\r\n` +
    `Connection: close\r\n\r\n${body}`;
  for (const status of [429, 503]) {
    const through = await door((index) => (index < 2 ? busy(status) : "pass"));
    assert.equal((await through.client.run("print(1)", { language: "python" })).stdout, "1\n");
    assert.equal(through.requests.length, 3);
    through.close();
    const full = await door(() => busy(status));
    const error = await errorOf(full.client.run("print(1)"));
    assert.deepEqual(
      [error.code, error.status, error.retryable, full.requests.length],
      ["SERVER_QUEUE_FULL", status, true, 3],
    );
    full.close();
  }
});

test("nobody answers: the error says where", async () => {
  const through = await door(() => "refuse");
  const error = await errorOf(through.client.run("1"));
  assert.deepEqual([error.code, error.retryable], ["CLIENT_UNREACHABLE", true]);
  assert.match(error.fields.url, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.equal(through.requests.length, 3);
  const heard = await errorOf(all(through.client.events("1")));
  assert.equal(heard.code, "CLIENT_UNREACHABLE");
  through.close();
});

test("an answer that is not the server's is an error with its status", async () => {
  const through = await door(() => "HTTP/1.1 502 Bad\r\nContent-Length: 5\r\n\r\n<bad>");
  const error = await errorOf(through.client.run("1"));
  assert.deepEqual([error.code, error.status], ["CLIENT_REFUSED", 502]);
  through.close();
});

// --- aborting ---

test("aborting a run throws the reason and stops the run", async () => {
  const reason = new Error("enough");
  const control = new AbortController();
  const watched = new TransformStream({
    transform(chunk, stream) {
      stream.enqueue(chunk);
      // What is enqueued is read before the next timer is due.
      const text = new TextDecoder().decode(chunk);
      if (text.includes("stdout")) setTimeout(() => control.abort(reason));
    },
  });
  let id;
  const fetch = async (address, options) => {
    const response = await globalThis.fetch(address, options);
    if (!address.endsWith("/v1/run")) return response;
    id = response.headers.get("cloche-run");
    return new Response(response.body.pipeThrough(watched), response);
  };
  const own = new Client(URL_OF_SERVER, KEY, { fetch });
  const options = { language: "javascript", signal: control.signal };
  assert.equal(await errorOf(own.run(FOREVER, options)), reason);
  await all(client.follow(id));
  assert.equal((await client.getRun(id)).status, "cancelled");
});

test("an aborted signal sends nothing", async () => {
  const through = await door(() => "pass");
  const signal = AbortSignal.abort();
  for (const call of [
    through.client.run("1", { signal }),
    through.client.getRun("x", { signal }),
    all(through.client.follow("x", { signal })),
  ]) {
    assert.equal((await errorOf(call)).name, "AbortError");
  }
  assert.equal(through.requests.length, 0);
  through.close();
});

test("a wait between attempts is aborted too", async () => {
  const control = new AbortController();
  const fetch = async () => {
    setTimeout(() => control.abort(), 1);
    return new Response("{}", { status: 503, headers: { "retry-after": "10" } });
  };
  const busy = new Client(URL_OF_SERVER, KEY, { fetch });
  const began = performance.now();
  const error = await errorOf(busy.getRun("x", { signal: control.signal }));
  assert.equal(error.name, "AbortError");
  assert.ok(performance.now() - began < 5000);
});

// --- sessions ---

test("a session keeps its state, forks, and goes back", async () => {
  const modules = [{ name: "m.py", content: "x = 1" }];
  const session = await client.sessions.create("python", { modules });
  await session.run("import m; total = 40 + m.x");
  const snapshot = await session.snapshot();
  await session.run("total += 1");
  assert.equal((await session.run("print(total)")).stdout, "42\n");
  const fork = await session.fork(`fork-${session.id}`);
  await session.revert({ last: 2 });
  assert.equal((await session.run("print(total)")).stdout, "41\n");
  assert.equal((await fork.run("print(total)")).stdout, "42\n");
  await fork.run("total = 0");
  await session.restore(snapshot);
  assert.equal((await session.run("print(total)")).stdout, "41\n");
  assert.deepEqual((await session.history()).map((step) => step.operation), [
    "upload",
    "run",
    "run",
  ]);
  const again = await client.sessions.open(fork.name);
  assert.deepEqual([again.id, again.language], [fork.id, "python"]);
  const copy = await client.sessions.import(await session.export(), { name: `copy-${session.id}` });
  assert.equal((await copy.run("print(total)")).stdout, "41\n");
  for (const each of [session, fork, copy]) await each.delete();
  assert.equal((await errorOf(client.sessions.open(session.id))).code, "SERVER_NOT_FOUND");
});

test("a session's runs stream, start and are awaited", async () => {
  const session = await client.sessions.create("javascript");
  assert.equal(textOf(await all(session.runStreaming("console.log(1)"))), "1\n");
  const started = await session.start("console.log(2)");
  assert.equal(textOf(await all(client.follow(started.id))), "2\n");
  const { signal } = new AbortController();
  assert.equal((await session.run("console.log(3)", { signal })).stdout, "3\n");
  await session.writeFile("main.js", "console.log(4)");
  assert.equal((await session.run(undefined, { entrypoint: "main.js" })).stdout, "4\n");
  await session.delete();
});

test("files go up and come down, whatever they are called", async () => {
  const session = await client.sessions.create("python");
  const bytes = new Uint8Array([0, 1, 255, 10]);
  for (const name of ["a", "d/é ?#%&+", "d/%2e%2e"]) {
    await session.writeFile(name, bytes);
    assert.deepEqual(await session.download(name), bytes);
  }
  await session.upload(new File(["text"], "t.txt"), { readOnly: true });
  await session.upload({ name: "u", content: bytes.buffer });
  const listed = await session.listFiles("/", { recursive: true });
  assert.deepEqual(
    listed.filter((file) => file.kind === "file").map((file) => [file.path, file.read_only]),
    [["a", false], ["d/%2e%2e", false], ["d/é ?#%&+", false], ["t.txt", true], ["u", false]].map(
      ([path, readOnly]) => [listed[0].path.startsWith("/") ? `/${path}` : path, readOnly],
    ),
  );
  await session.remove("a");
  assert.equal((await errorOf(session.download("a"))).status, 404);
  for (const path of ["../x", "d/../../x", "", "/"]) {
    assert.equal((await errorOf(session.remove(path))).code, "CLIENT_VALUE");
  }
  await session.setWorkingDir("/d");
  assert.equal(await session.workingDir(), "/d");
  await session.writeFile("in d", "");
  await session.writeFile("/in root", "");
  const paths = (await session.listFiles("/")).map((each) => each.path);
  assert.ok(paths.includes("/in root") && !paths.includes("/in d"));
  assert.equal((await session.download("/d/in d")).length, 0);
  await session.remove("in d");
  await session.delete();
});

test("a promise gets its value once, and a program that waits for it reads that", async () => {
  const session = await client.sessions.create("javascript");
  const made = await session.run("console.log(await cloche.promise.create())");
  const promise = made.stdout.trim();
  const first = await client.completePromise(promise, { paid: [true, null] });
  assert.deepEqual(first, { id: promise, run_id: made.id, completed: true });
  assert.deepEqual(await client.completePromise(promise, 1n), { ...first, completed: false });
  const code = `console.log(JSON.stringify(await cloche.promise.get("${promise}")))`;
  assert.equal((await session.run(code)).stdout, '{"paid":[true,null]}\n');
  const { key } = await client.createKey(["session"], { tenant: "acme" });
  const other = new Client(URL_OF_SERVER, key);
  for (const [asker, wanted] of [[other, promise], [client, "nothing"]]) {
    const error = await errorOf(asker.completePromise(wanted, 1));
    assert.deepEqual([error.status, error.code], [404, "SERVER_NOT_FOUND"]);
    assert.deepEqual(error.fields, { kind: "promise", id: wanted });
  }
  await session.delete();
});

test("files go up as an archive of each kind, and come down as one", async () => {
  const session = await client.sessions.create("python");
  const tar = appOf("one");
  const [plain] = await session.uploadArchive(tar, { path: "/tar", readOnly: true });
  assert.deepEqual([plain.path, plain.read_only], ["/tar/main.js", true]);
  const zip = await session.downloadArchive("/tar");
  for (const [path, archive] of [["gzip", gzipSync(tar)], ["zip", zip]]) {
    const [put] = await session.uploadArchive(archive, { path });
    assert.deepEqual([put.path, put.read_only], [`/${path}/main.js`, false]);
    const [ours, sent] = await Promise.all([`/${path}`, "/tar"].map((each) =>
      session.download(`${each}/main.js`)
    ));
    assert.deepEqual(ours, sent);
  }
  await session.uploadArchive(new Blob([tar]));
  assert.ok((await session.downloadArchive()).length > zip.length);
  assert.equal((await errorOf(session.uploadArchive("no archive"))).code, "SERVER_INVALID");
  await session.delete();
});

test("a run that was put away is an error that can be tried again, and is resumed", async () => {
  const session = await client.sessions.create("python");
  const code = "import cloche\ncloche.sleep(3600)\nprint('late')";
  const error = await errorOf(session.run(code));
  assert.deepEqual([error.code, error.retryable], ["RUN_SUSPENDED", true]);
  assert.equal((await errorOf(session.resume())).code, "RUN_SUSPENDED");
  const again = await errorOf(client.resumeRun(error.run.id));
  assert.deepEqual([again.code, again.run.id], ["RUN_SUSPENDED", error.run.id]);
  await client.cancelRun(error.run.id);
  assert.equal((await errorOf(client.resumeRun(error.run.id))).status, 409);
  await session.delete();
});

// --- keys and the server ---

test("keys are made, listed and revoked", async () => {
  const made = await client.createKey(["run"], { name: "ci" });
  const limited = new Client(URL_OF_SERVER, made.key);
  assert.equal((await limited.run("print(1)", { language: "python" })).stdout, "1\n");
  assert.equal((await errorOf(limited.sessions.list())).status, 403);
  assert.ok((await client.listKeys({ limit: 200 })).items.some((key) => key.id === made.id));
  assert.ok((await client.revokeKey(made.id)).revoked_ms > 0);
  assert.equal((await errorOf(limited.run("1"))).status, 401);
});

test("outbound HTTP is administered", async () => {
  const entry = await client.net.allow("GET https://api.example.com/v1", { rate_limit: 7 });
  const refused = await client.net.deny("internal.example.com", { scope: "app:shop" });
  assert.deepEqual([entry.methods, entry.rate_limit, refused.action], [["GET"], 7, "deny"]);
  const ids = async (options) => (await client.net.entries(options)).items.map((each) => each.id);
  assert.deepEqual(await ids(), [refused.id, entry.id]);
  assert.deepEqual(await ids({ scope: "app:shop" }), [refused.id]);
  assert.equal((await client.net.test("https://api.example.com/v1/x")).allowed, true);
  const asked = { method: "POST" };
  assert.equal((await client.net.test("https://api.example.com/v1", asked)).allowed, false);
  const secret = await client.net.putSecret("KEY", "a-long-value", ["api.example.com"]);
  assert.deepEqual([secret.domains, "value" in secret], [["api.example.com"], false]);
  assert.ok((await client.net.rotateSecret("KEY", "another-value")).rotating);
  assert.deepEqual((await client.net.secrets()).items.map((each) => each.name), ["KEY"]);
  assert.equal((await errorOf(client.net.removeSecret("KEY", { scope: "x" }))).status, 404);
  await client.net.removeSecret("KEY");
  await Promise.all([client.net.remove(entry.id), client.net.remove(refused.id)]);
  assert.deepEqual(await ids(), []);
  assert.deepEqual((await client.net.logs({ errors: true })).items, []);
  assert.deepEqual((await client.net.stats()).hosts, []);
  assert.deepEqual((await client.net.cache()).processes, []);
  await client.net.clearCache();
  assert.equal((await client.audit({ limit: 1 })).items[0].action, "cache.clear");
});

test("tenants have limits", async () => {
  const given = await client.tenants.set("acme", { session_count_max: 5 });
  assert.deepEqual(given.own, { session_count_max: 5 });
  assert.equal((await client.tenants.get("acme")).limits.session_count_max, 5);
  assert.ok((await client.tenants.list()).items.some((each) => each.id === "acme"));
});

test("a run's effects, one entry and one secret are looked at, a key is rotated", async () => {
  const run = await client.run("print(1)", { language: "python" });
  assert.equal((await client.runTimeline(run.id)).run_id, run.id);
  const entry = await client.net.allow("a.example");
  assert.deepEqual(await client.net.entry(entry.id), entry);
  await client.net.remove(entry.id);
  await client.net.putSecret("ONE", "a-long-value", ["a.example"]);
  assert.deepEqual((await client.net.secret("ONE")).domains, ["a.example"]);
  await client.net.removeSecret("ONE");
  const made = await client.createKey(["run"], { name: "ci" });
  const rotated = await client.rotateKey(made.id, { overlapMs: 1000 });
  assert.ok(rotated.key && rotated.key !== made.key);
});

test("webhooks are made, tried, given another secret and removed", async () => {
  const events = ["run.ended"];
  const made = await client.webhooks.create("https://hooks.example.com/x", { events });
  assert.deepEqual([made.events, typeof made.secret], [events, "string"]);
  assert.equal((await client.webhooks.get(made.id)).secret, null);
  assert.deepEqual((await client.webhooks.list()).map((each) => each.id), [made.id]);
  assert.notEqual((await client.webhooks.rotate(made.id)).secret, made.secret);
  const { id } = await client.webhooks.ping(made.id);
  assert.ok((await client.webhooks.deliveries(made.id)).some((each) => each.id === id));
  await client.webhooks.ping(made.id);
  const [first, second] = (await client.webhooks.deliveries(made.id)).map((each) => each.id);
  const idsOf = async (page) => (await client.webhooks.deliveries(made.id, page)).map(({ id }) => id);
  assert.deepEqual(await idsOf({ limit: 1 }), [first]);
  assert.deepEqual(await idsOf({ after: first }), [second]);
  await client.webhooks.remove(made.id);
  assert.deepEqual(await client.webhooks.list(), []);
});

// --- scripts ---

const ASKING = "const to = await tools.send({to: 'ann'}); return to + '!'";

test("a script ends with its value, and can be undone", async () => {
  const source = "await tools.place({name: 'a'}); return context.params.n * 2";
  const done = await client.scripts.run(source, { tools: "mail", params: { n: 21 } });
  assert.deepEqual([done.status, done.value], ["completed", 42]);
  assert.match((await client.scripts.journal(done.id)).at(-1), /run_finished/);
  const { effects } = await client.scripts.timeline(done.id);
  assert.ok(effects.some((each) => each.target === "place" && each.outcome === "completed"));
  assert.equal((await client.scripts.rollback(done.id)).status, "rolled_back");
  assert.ok((await client.scripts.list()).items.some((each) => each.id === done.id));
  const begun = await client.scripts.start("return 1", { tools: "mail" });
  await settled(async () => (await client.scripts.get(begun.id)).status === "completed");
  assert.equal((await client.scripts.cancel(begun.id)).status, "completed");
});

test("tools are listed in pages, and a model is told of a set", async () => {
  const first = await client.scripts.tools({ limit: 1 });
  const rest = await client.scripts.tools({ tools: "mail", after: first.next });
  const found = [...first.items, ...rest.items].map((each) => [each.name, each.asks]);
  assert.deepEqual(found, [["double", "no"], ["place", "no"], ["send", "yes"]]);
  assert.match(await client.scripts.prompt("mail"), /Write TypeScript/);
  assert.match(await client.scripts.prompt("mail", { language: "python" }), /Write Python/);
  assert.equal((await errorOf(client.scripts.prompt("none"))).status, 404);
});

test("the scripts of a message are run in their order", async () => {
  const content = "<tool-calls>return 1</tool-calls> then <tool-calls>return 2</tool-calls>";
  const options = { api: "openai.chat", tools: "mail" };
  const found = await client.scripts.message({ role: "assistant", content }, options);
  assert.deepEqual(found.map((each) => each.value), [1, 2]);
});

test("what a script asks is approved with other arguments, or rejected", async () => {
  const asking = async () => {
    const { id } = await client.scripts.run(ASKING, { tools: "mail" });
    const [one] = (await client.approvals.list({ run: id })).items;
    return [id, one];
  };
  const [id, one] = await asking();
  assert.deepEqual([one.tool, one.args], ["send", { to: "ann" }]);
  const decided = await client.approvals.approve(one.id, { args: { to: "bob" }, reason: "there" });
  assert.deepEqual(decided.decision.args, { to: "bob" });
  assert.deepEqual(await client.approvals.get(one.id), decided);
  await settled(async () => (await client.scripts.get(id)).value === "sent to bob!");
  const [refused, other] = await asking();
  assert.equal((await client.approvals.reject(other.id, { run: true })).status, "rejected");
  await settled(async () => (await client.scripts.get(refused)).status === "rejected");
  const [waiting] = await asking();
  assert.equal((await client.scripts.resume(waiting)).status, "suspended");
  assert.equal((await client.scripts.cancel(waiting)).status, "cancelled");
});

// --- apps ---

test("an app is deployed, changed, rolled back and removed", async () => {
  const done = await client.apps.deploy("shop", appOf("one"), { env: { COLOR: "red" } });
  assert.deepEqual([done.version.state, done.app.env], ["live", ["COLOR"]]);
  assert.equal(await asked("shop"), "one red");
  await client.apps.deploy("shop", appOf("two"), { canary: 1 });
  assert.equal((await client.apps.get("shop")).share, 1);
  await client.apps.promote("shop");
  assert.equal(await asked("shop"), "two red");
  await client.apps.rollback("shop");
  assert.equal(await asked("shop"), "one red");
  await client.apps.rollback("shop", { to: "v2" });
  assert.equal(await asked("shop"), "two red");
  const states = (await client.apps.versions("shop")).map((each) => each.state);
  assert.deepEqual(states, ["live", "kept"]);
  const { env } = await client.apps.setEnv("shop", { SIZE: "9" }, { remove: ["COLOR"] });
  assert.deepEqual(env, ["SIZE"]);
  assert.equal((await client.apps.stop("shop")).stopped, true);
  assert.equal((await client.apps.start("shop")).stopped, false);
  assert.equal((await client.apps.actions("shop"))[0].action, "start");
  assert.deepEqual((await client.apps.list()).map((each) => each.name), ["shop"]);
  await client.apps.remove("shop");
  assert.equal((await errorOf(client.apps.get("shop"))).status, 404);
});

test("what an app says is read and followed, and a failed request runs again", async () => {
  await client.apps.deploy("noisy", appOf("one"));
  await asked("noisy", "/fail");
  await settled(async () => (await client.apps.logs("noisy", { level: "error" })).length > 0);
  const [failed] = await settled(async () => {
    const found = await client.apps.requests("noisy");
    return found.length ? found : null;
  });
  assert.equal((await client.apps.replay("noisy", failed.id)).same, true);
  assert.ok((await client.apps.requestJournal("noisy", failed.id)).length > 3);
  const lines = client.apps.followLogs("noisy", { level: "info" });
  const heard = lines.next();
  let isHeard = false;
  heard.then(() => (isHeard = true));
  await settled(async () => {
    await asked("noisy");
    return isHeard;
  });
  assert.equal((await heard).value.message, "asked");
  await lines.return();
  const stop = new AbortController();
  const silent = client.apps.followLogs("noisy", { level: "error", signal: stop.signal }).next();
  stop.abort(new Error("enough"));
  assert.equal((await errorOf(silent)).message, "enough");
  assert.equal((await errorOf(client.apps.followLogs("nothing").next())).status, 404);
  await client.apps.remove("noisy");
});

test("following a log ends with an error when the connection breaks", async () => {
  await client.apps.deploy("broken", appOf("one"));
  const { client: through, close } = await door(() => 400);
  const lines = through.apps.followLogs("broken");
  const heard = all(lines);
  let isOver = false;
  heard.catch(() => {}).finally(() => (isOver = true));
  await settled(async () => {
    await asked("broken");
    return isOver;
  });
  assert.equal((await errorOf(heard)).code, "CLIENT_UNREACHABLE");
  close();
  await client.apps.remove("broken");
});

test("limits are told with their schema", async () => {
  const [limits, schema] = [await client.limits(), await client.limitsSchema()];
  assert.ok(limits.server.heartbeat_ms >= schema.server.heartbeat_ms.min);
});

test("a key that cannot be one is refused, and not repeated", async () => {
  for (const key of ["", undefined, "clk_secret\nx", "clk_secr\u2603t"]) {
    const error = await errorOf((async () => new Client(URL_OF_SERVER, key))());
    assert.equal(error.code, "CLIENT_VALUE");
    assert.ok(!error.message.includes("secr"));
  }
});

test("values that cannot be right are refused at once", () => {
  assert.throws(() => new Client("not an address", KEY), TypeError);
  assert.throws(() => new Client(URL_OF_SERVER, KEY, { attemptCount: 0 }), RangeError);
});
