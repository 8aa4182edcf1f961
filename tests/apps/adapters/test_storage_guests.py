"""The facades of storage in real guests, both languages, over a real store."""

from __future__ import annotations

import hashlib
import time

import pytest

from apps.storage.support import NOW_NS, App, opened
from apps.support import ask, build, host
from cloche.apps.adapters.jobs import JobFailedError, JobLoop
from cloche.apps.storage.jobs import event_of
from cloche.apps.storage.rows import app_parts
from cloche.limits import Limits

ALL = ["blobs", "docs", "jobs", "kv", "sql"]

JS = """
export default {
  async fetch(request, env) { return Response.json(await (%s)(request, env)); },
};
"""
PY_ASYNC = """
from cloche_app import EffectError, blobs, docs, jobs, kv, sql

async def main(request):
%s

async def handle(request):
    return {"value": await main(request)}
"""
PY = """
from cloche_app import EffectError, blobs, docs, jobs, kv, sql

def main(request):
%s

def handle(request):
    return {"value": main(request)}
"""


@pytest.fixture
def storage(tmp_path):
    """Return storage in a SQLite store."""
    with opened(tmp_path, str(tmp_path / "cloche.db")) as storage:
        yield storage


def run(storage, built, **options):
    """Return the JSON that an app answers."""
    asked = ask(built, handlers=storage.handlers("shop"), **options)
    assert asked.execution.failure is None, asked.printed + str(asked.execution.failure)
    assert asked.status == 200, asked.text
    return asked.json


def javascript(body):
    """Return an app whose handler is this function."""
    return build(JS % body, storage=ALL)


def indented(body):
    """Return lines as the body of a function."""
    return "\n".join(f"    {line}" for line in body.strip().splitlines())


def python(body, template):
    """Return an app whose handler has this body, with or without `await`."""
    if template is PY:
        body = body.replace("await ", "")
    return build(template % indented(body), "python", storage=ALL)


def test_javascript_kv(storage):
    """Each call is a promise of its value; names are those of JavaScript."""
    built = javascript("""async () => {
      const first = await kv.set("a/1", { n: 1, none: undefined }, { ttlMs: 60000 });
      const second = await kv.set("a/2", undefined, 60000);
      const out = { order: second > first, value: await kv.get("a/1"), none: await kv.get("a/2") };
      const entry = await kv.entry("a/1");
      out.entry = [entry.value, entry.version === first, typeof entry.expiresAtMs];
      out.cas = [await kv.cas("a/1", 0, 1), (await kv.cas("a/1", first, 2)) > second];
      out.list = (await kv.list("a/")).map((entry) => entry.key);
      out.page = (await kv.list("a/", "a/1", 1)).map((entry) => entry.key);
      out.options = (await kv.list({ prefix: "a/", limit: 1 })).map((entry) => entry.key);
      out.gone = [await kv.delete("a/1"), await kv.delete("a/1")];
      out.gone.push(await kv.get("a/1"), await kv.entry("x"));
      return out;
    }""")
    assert run(storage, built) == {
        "order": True,
        "value": {"n": 1},
        "none": None,
        "entry": [{"n": 1}, True, "number"],
        "cas": [None, True],
        "list": ["a/1", "a/2"],
        "page": ["a/2"],
        "options": ["a/1"],
        "gone": [True, False, None, None],
    }


def test_javascript_docs_and_env(storage):
    """Documents by query; `env` has the same storage as the globals."""
    built = javascript("""async (request, env) => {
      await docs.insert("people", { name: "ann", age: 30 });
      await docs.insert("people", { name: "bob", age: 25 });
      const query = { age: { $gte: 25 } };
      const found = await env.docs.find("people", query, { order: "-age", limit: 1 });
      const bob = await docs.findOne("people", { name: "bob" });
      const out = { names: found.map((doc) => doc.name), same: env.docs === docs };
      out.changed = await docs.update("people", bob.id, { $inc: { age: 1 }, $push: { tags: "x" } });
      out.bob = await docs.get("people", bob.id);
      out.index = await docs.index("people", "age");
      out.counts = [await docs.count("people"), await docs.count("people", { age: 26 })];
      out.deleted = await docs.delete("people", { name: "ann" });
      try { await docs.find("people", { $where: "1" }); } catch (error) {
        out.error = [error.code, error instanceof Error];
      }
      delete out.bob.id;
      return out;
    }""")
    now_ms = NOW_NS // 10**6
    assert run(storage, built) == {
        "names": ["ann"],
        "same": True,
        "changed": 1,
        "bob": {
            "name": "bob",
            "age": 26,
            "tags": ["x"],
            "_created_at_ms": now_ms,
            "_updated_at_ms": now_ms,
        },
        "index": True,
        "counts": [2, 1],
        "deleted": 1,
        "error": ["OPERATOR_UNKNOWN", True],
    }


def test_javascript_blobs(storage):
    """Text, bytes and streams are put; what is read is the same, whole or as a stream."""
    built = javascript("""async () => {
      const out = {};
      out.head = await blobs.put("a.txt", "hellö", "text/plain");
      const bytes = new Uint8Array(1300000).map((_, index) => index % 251);
      await blobs.put("big", bytes);
      await blobs.put("slice", bytes.subarray(1, 4));
      const source = new ReadableStream({
        start(controller) {
          for (const piece of ["a", new Uint8Array([98])]) controller.enqueue(piece);
          controller.close();
        },
      });
      await blobs.put("stream", source, { mime: "x/y" });
      await blobs.put("blob", new Blob(["blob"]));
      await blobs.put("response", new Response("response"));
      await blobs.put("long", "ü".repeat(200000));
      async function* generator() { yield "g"; yield new Uint8Array(600000); }
      await blobs.put("generator", generator());
      const big = await blobs.get("big");
      out.big = [big.size, big.bytes().every((byte, index) => byte === index % 251)];
      out.texts = [];
      for (const path of ["a.txt", "stream", "blob", "response"]) {
        out.texts.push((await blobs.get(path)).text());
      }
      out.slice = [...(await blobs.get("slice")).bytes()];
      out.long = (await blobs.get("long")).text() === "ü".repeat(200000);
      out.generator = (await blobs.head("generator")).size;
      let size = 0;
      for await (const piece of await blobs.stream("big")) size += piece.length;
      out.streamed = size;
      out.list = (await blobs.list("b")).map((head) => head.path);
      out.gone = [await blobs.delete("blob"), await blobs.get("blob"), await blobs.stream("blob")];
      try { await blobs.put("x", 5); } catch (error) { out.error = error.message; }
      return out;
    }""")
    found = run(storage, built)
    head = found.pop("head")
    assert head == {
        "path": "a.txt",
        "size": 6,
        "mime": "text/plain",
        "hash": hashlib.sha256("hellö".encode()).hexdigest(),
        "updatedAtMs": NOW_NS // 10**6,
    }
    assert found == {
        "big": [1_300_000, True],
        "texts": ["hellö", "ab", "blob", "response"],
        "slice": [1, 2, 3],
        "long": True,
        "generator": 600_001,
        "streamed": 1_300_000,
        "list": ["big", "blob"],
        "gone": [True, None, None],
        "error": "a blob is text, bytes, or a stream of them",
    }


def test_javascript_streams_a_blob_to_the_client(storage):
    """A blob as a response is never whole in the guest's memory."""
    App(storage)("blobs", "put", path="p", data={"text": "x" * 700_000})
    code = 'export default { async fetch() { return new Response(await blobs.stream("p")); } };'
    built = build(code, storage=ALL)
    asked = ask(built, handlers=storage.handlers("shop"))
    assert asked.text == "x" * 700_000


def test_javascript_sql_and_jobs(storage):
    """Rows are objects, bytes are arrays; a job is asked for by its id."""
    built = javascript("""async () => {
      await sql.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v, b)");
      const values = [undefined, new Uint8Array([1, 255])];
      const done = await sql.execute("INSERT INTO t (v, b) VALUES (?, ?)", values);
      const select = ["SELECT v FROM t WHERE id = :id", { id: 1 }];
      const batch = await sql.batch(["UPDATE t SET v = 2", select]);
      const rows = await sql.query("SELECT * FROM t");
      const id = await jobs.spawn("mail", { to: "x" }, { delayMs: 1000, uniqueKey: "u", retry: 2 });
      const job = await jobs.get(id);
      const out = { done, batch: batch.map((one) => [one.changes, one.rows]) };
      out.row = [rows[0].id, rows[0].v, rows[0].b instanceof Uint8Array, [...rows[0].b]];
      out.job = [job.name, job.data, job.state, job.uniqueKey, job.retry];
      out.job.push(job.dueAtMs - job.createdAtMs);
      out.jobs = [(await jobs.list({ state: "pending" })).length];
      out.jobs.push(await jobs.cancel(id), await jobs.cancel(id));
      try { await sql.query("DROP TABLE t"); } catch (error) { out.error = error.code; }
      return out;
    }""")
    assert run(storage, built) == {
        "done": {"changes": 1, "lastId": 1, "rows": []},
        "batch": [[1, []], [0, [{"v": 2}]]],
        "row": [1, 2, True, [1, 255]],
        "job": ["mail", {"to": "x"}, "pending", "u", 2, 1000],
        "jobs": [1, True, False],
        "error": "SQL_DENIED",
    }


@pytest.mark.parametrize("template", [PY, PY_ASYNC], ids=["plain", "async"])
def test_python_storage(storage, template):
    """The same calls, awaited in async code and plain elsewhere."""
    built = python(
        """
out = {}
first = await kv.set("a/1", {"n": 1}, ttl_ms=60000)
out["kv"] = [await kv.get("a/1"), await kv.get("x"), await kv.get("x", 5)]
out["cas"] = [await kv.cas("a/1", 0, 1), (await kv.cas("a/1", first, 2)) > first]
out["entry"] = (await kv.entry("a/1"))["value"]
out["list"] = [entry["key"] for entry in await kv.list("a/")]
out["gone"] = [await kv.delete("a/1"), await kv.delete("a/1")]
for name, age in (("ann", 30), ("bob", 25)):
    await docs.insert("people", {"name": name, "age": age})
out["docs"] = [doc["name"] for doc in await docs.find("people", {"age": {"$gt": 1}}, order="-age")]
bob = await docs.find_one("people", {"name": "bob"})
await docs.update("people", bob["id"], {"$inc": {"age": 1}})
out["age"] = (await docs.get("people", bob["id"]))["age"]
out["counts"] = [await docs.count("people"), await docs.index("people", "age")]
out["deleted"] = await docs.delete("people", {"age": 26})
head = await blobs.put("p", b"x" * 1300000, mime="x/y")
blob = await blobs.get("p")
out["blob"] = [head["size"], blob.bytes == b"x" * 1300000, blob.mime]
await blobs.put("t", "tëxt")
await blobs.put("i", (str(number) for number in range(3)))
out["texts"] = [(await blobs.get("t")).text(), (await blobs.get("i")).text()]
out["stream"] = sum(len(piece) for piece in blobs.stream("p"))
out["blobs"] = [one["path"] for one in await blobs.list()]
out["none"] = [await blobs.get("x"), await blobs.head("x"), await blobs.delete("x")]
await sql.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
out["sql"] = await sql.execute("INSERT INTO t (v) VALUES (?)", [b"ab"])
rows = await sql.query("SELECT v FROM t WHERE id = :id", {"id": 1})
out["rows"] = [row["v"].decode() for row in rows]
done = await sql.batch(["UPDATE t SET v = 1", ("SELECT ?", [1])])
out["batch"] = [one["changes"] for one in done]
job_id = await jobs.spawn("mail", {"to": "x"}, delay_ms=1000, unique_key="u", priority="high")
out["job"] = (await jobs.get(job_id))["data"]
out["jobs"] = [len(await jobs.list(state="pending")), await jobs.cancel(job_id)]
try:
    await docs.find("people", {"$where": 1})
except EffectError as error:
    out["error"] = error.code
return out
""",
        template,
    )
    assert run(storage, built)["value"] == {
        "kv": [{"n": 1}, None, 5],
        "cas": [None, True],
        "entry": 2,
        "list": ["a/1"],
        "gone": [True, False],
        "docs": ["ann", "bob"],
        "age": 26,
        "counts": [2, True],
        "deleted": 1,
        "blob": [1_300_000, True, "x/y"],
        "texts": ["tëxt", "012"],
        "stream": 1_300_000,
        "blobs": ["i", "p", "t"],
        "none": [None, None, False],
        "sql": {"changes": 1, "last_id": 1, "rows": []},
        "rows": ["ab"],
        "batch": [1, 0],
        "job": {"to": "x"},
        "jobs": [1, True],
        "error": "OPERATOR_UNKNOWN",
    }


def test_python_calls_overlap(storage):
    """In async code several effects are under way at once."""
    built = python(
        """
import asyncio
await asyncio.gather(*(kv.set(f"k{number}", number) for number in range(20)))
return sum(await asyncio.gather(*[kv.get(f"k{number}") for number in range(20)]))
""",
        PY_ASYNC,
    )
    assert run(storage, built) == {"value": 190}


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_storage_that_the_manifest_does_not_name(storage, language):
    """What is not asked for in the manifest is denied, whatever the code says."""
    code = (
        JS % "() => kv.get('k')"
        if language == "javascript"
        else PY % indented("return kv.get('k')")
    )
    asked = ask(build(code, language, storage=["docs"]), handlers=storage.handlers("shop"))
    assert asked.status == 500
    assert "DENIED" in asked.printed.upper()


JS_JOB = """
export default {
  async job(job, env) {
    const before = await job.lastCheckpoint();
    await job.progress(50);
    await job.checkpoint({ at: job.attempt });
    if (before === null) throw new Error("first attempt");
    const cancelled = await job.cancelled();
    await kv.set("seen", { before, name: job.name, data: job.data, cancelled });
    return "ended";
  },
  async scheduled(event) { await kv.set("fired", event); },
};
"""
PY_JOB = """
from cloche_app import kv

def job(job):
    before = job.last_checkpoint()
    job.progress(50)
    job.checkpoint({"at": job.attempt})
    if before is None:
        raise ValueError("first attempt")
    seen = {"before": before, "name": job.name, "data": job.data, "cancelled": job.cancelled()}
    kv.set("seen", seen)
    return "ended"

async def scheduled(event):
    await kv.set("fired", event)
"""


@pytest.mark.parametrize(("language", "code"), [("javascript", JS_JOB), ("python", PY_JOB)])
def test_jobs_and_schedules_in_guests(storage, language, code):
    """The loop runs handlers of an app: a job twice, a schedule once, each with its storage."""
    built, on = build(code, language, storage=ALL), host()

    def execute(app, row, _control):
        tenant, app_id = app_parts(app)
        kind, event = event_of(row)
        handlers = storage.handlers(app_id, tenant=tenant, job=row)
        run_id = f"{row.id}-{row.attempt}"
        done = on.handle_event(built, kind, event, handlers=handlers, run_id=run_id)
        if done.failure is not None:
            raise JobFailedError(done.failure.message)
        return done.value

    app = App(storage)
    job_id = app("jobs", "spawn", name="mail", data=[1], retry=1, backoff_ms=1)
    storage.desk.set_schedules("/shop", {"tick": "* * * * *"}, NOW_NS)
    loop = JobLoop(storage.desk, execute, Limits(), owner="w", now_ns=storage.clock)
    storage.clock.now_ns += 60 * 10**9
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        loop.step()
        if app("jobs", "get", id=job_id)["state"] == "done" and app("kv", "get", key="fired"):
            break
        storage.clock.now_ns += 10**6
        loop._woken.wait(0.01)
    loop.stop()
    found = app("jobs", "get", id=job_id)
    assert (found["state"], found["attempt"], found["result"]) == ("done", 2, "ended"), found
    assert found["progress"] == 50
    seen = {"before": {"at": 1}, "name": "mail", "data": [1], "cancelled": False}
    assert app("kv", "get", key="seen") == seen
    fired = app("kv", "get", key="fired")
    assert (fired["name"], fired["cron"], fired["scheduled_at_ms"] % 60_000) == (
        "tick",
        "* * * * *",
        0,
    )
