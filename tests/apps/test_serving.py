"""Requests for apps: files, handlers, streams, errors, limits, versions that change under load."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from dataclasses import replace
from itertools import islice

import pytest

from apps.storage.support import App
from cloche.apps.bundle import bundle_of
from cloche.apps.errors import (
    AppEnvironmentError,
    AppRouteError,
    AppVariableError,
    BuildError,
    ManifestError,
)
from cloche.apps.events import job_loop
from cloche.apps.open import open_apps
from cloche.apps.routing import AppName
from cloche.apps.serving import AppServer
from cloche.limits import Limits
from cloche.store.open import open_store
from cloche.web.adapters.fixture import FixtureServices
from cloche.web.request import Request

SHOP = AppName(tenant="default", name="shop")
HELLO = (
    "export default { fetch(request) {"
    " return new Response('hello ' + new URL(request.url).pathname) } }"
)


class World:
    """A server of apps on a store in memory.

    Args:
        storage: limits of the group `storage`.
        limits: those of the group `apps`.
    """

    def __init__(self, *, storage=None, **limits):
        patient = {"timeout_ms": 30_000}  # of waiting for others, on a busy machine
        self.limits = Limits().replace(
            {"apps": limits, "storage": storage or {}, "capacity": patient}
        )
        self.store = open_store("memory:")
        self.apps = open_apps(self.store, self.limits)
        self.reports = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.server = AppServer(self.apps, random_bytes=os.urandom, report=self.reports.append)

    def deploy(self, main=HELLO, name=SHOP, *, files=None, manifest=None, suffix="js", **options):
        """Deploy a version; return it."""
        whole = {f"main.{suffix}": main.encode(), **(files or {})}
        if manifest is not None:
            whole["cloche.app.json"] = json.dumps(manifest).encode()
        found = self.apps.deploy(name, bundle_of(whole, self.limits), who="ann", **options)
        self.server.refresh()
        return found[0]

    def ask(self, *requests):
        """Return the answers to requests, which are made at the same time."""

        async def main():
            return await asyncio.gather(*(self.answer(*each) for each in requests))

        return self.run(main())

    def run(self, work):
        """Return what a coroutine returns, on the loop of this world."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def one(self, method, path, **options):
        """Return what one request is answered with."""
        return self.run(self.answer(method, path, **options))

    async def answer(self, method, path, *, host="shop.localhost", body=b"", fields=(), client=""):
        """Return status, fields and body of an answer; None when no app is asked."""
        request = Request(
            method=method,
            target=path,
            services=FixtureServices(),
            fields=[(b"host", host.encode()), *fields],
            body=body,
            client=client,
        )
        found = self.server.find(request)
        if found is None:
            return None
        response = await self.server.answer(request, found)
        pieces = response.body
        if response.is_stream:
            pieces = b"".join([piece async for piece in _each(response.body)])
        return response.status, dict(response.fields), pieces

    def get(self, path, **options):
        """Return what a GET is answered with: status and body."""
        status, _, body = self.one("GET", path, **options)
        return status, body

    def settle(self):
        """Wait until what ran has been told of: a response comes before its run has ended."""
        while any(each.running for each in self.server.numbers.values()):
            time.sleep(0.005)

    def close(self):
        """End it."""
        self.server.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.store.close()


async def _each(pieces):
    if hasattr(pieces, "__aiter__"):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


@pytest.fixture
def world():
    """A server."""
    found = World()
    yield found
    found.close()


def test_a_handler(world):
    """An app answers at its name and below its path, which it does not see."""
    world.deploy()
    assert world.get("/a?b=1") == (200, b"hello /a")
    assert world.get("/apps/shop/a", host="localhost:8787") == (200, b"hello /a")
    assert world.get("/apps/shop", host="localhost:8787") == (200, b"hello /")
    assert world.ask(("GET", "/a"))[0][0] == 200
    assert (world.one("GET", "/", host="other.localhost")) is None


def test_python(world):
    """The same in Python."""
    world.deploy("def handle(request):\n    return {'path': request.path}\n", suffix="py")
    status, body = world.get("/x")
    assert (status, json.loads(body)) == (200, {"path": "/x"})


def test_files(world):
    """Files of the static folder come before the handler, an index for a folder."""
    files = {"site/a.txt": b"text", "site/index.html": b"<h1>", "site/d/index.html": b"inner"}
    world.deploy(files=files, manifest={"name": "shop", "main": "main.js", "static": "site"})
    assert world.get("/a.txt") == (200, b"text")
    assert world.get("/") == (200, b"<h1>")
    assert world.get("/d/") == (200, b"inner")
    assert world.get("/d")[0] == 308
    assert world.get("/main.js") == (200, b"hello /main.js")
    assert world.get("/../main.js") == (200, b"hello /main.js")
    _, fields, _ = world.one("GET", "/a.txt")
    assert fields[b"content-type"] == b"text/plain; charset=utf-8"
    again = (b"if-none-match", fields[b"etag"])
    assert (world.one("GET", "/a.txt", fields=[again]))[0] == 304
    # It has no date: that of a version before would hide it from who knows the one behind.
    assert b"last-modified" not in fields
    since = (b"if-modified-since", b"Fri, 31 Dec 2038 00:00:00 GMT")
    assert (world.one("GET", "/a.txt", fields=[since]))[0] == 200


def test_files_of_another_version(world):
    """They are news to who has a file of the same size, before and after a rollback."""
    manifest = {"name": "shop", "main": "main.js", "static": "site"}
    tags = []
    for text in (b"one", b"two"):
        world.deploy(files={"site/a.txt": text}, manifest=manifest)
        assert world.get("/a.txt") == (200, text)
        tags.append(world.one("GET", "/a.txt")[1][b"etag"])
    since = (b"if-none-match", tags[0])
    assert world.one("GET", "/a.txt", fields=[since])[0] == 200
    world.apps.registry.rollback(SHOP, who="ann")
    world.server.refresh()
    assert world.get("/a.txt") == (200, b"one")
    assert world.one("GET", "/a.txt", fields=[since])[0] == 304


def test_files_of_the_code(world):
    """A file of the code is never sent for one of the same name in the static folder."""
    code = {"z.js": b"export const secret = 1", "site/z.js": b"public", "site/y.js": b"public"}
    files = {**code, "y.js": b"export const secret = 2"}
    world.deploy(files=files, manifest={"name": "shop", "main": "main.js", "static": "site"})
    assert world.get("/z.js") == (200, b"public")
    assert world.get("/y.js") == (200, b"public")


def test_files_alone(world):
    """An app without a handler shows its files, its fallback, and nothing else."""
    files = {"site/index.html": b"app", "site/x.js": b"1"}
    bundle = {
        **files,
        "cloche.app.json": json.dumps(
            {"name": "shop", "static": {"folder": "site", "fallback": "index.html"}}
        ).encode(),
    }
    world.apps.deploy(SHOP, bundle_of(bundle, world.limits), who="ann")
    world.server.refresh()
    assert world.get("/x.js") == (200, b"1")
    assert world.get("/some/route") == (200, b"app")
    assert world.ask(("POST", "/some/route"))[0][0] == 404


def test_bodies(world):
    """Small ones and large ones arrive whole; one that is too large is 413."""
    world.deploy(
        "export default { async fetch(r) { const b = await r.arrayBuffer();"
        " return new Response(String(b.byteLength)) } }"
    )
    small, large = b"x" * 1000, b"y" * 3_000_000
    for body in (b"", small, large):
        ((status, _, found),) = [(world.one("POST", "/", body=body))]
        assert (status, found) == (200, str(len(body)).encode())
    status, _, found = world.one("POST", "/", body=bytes(17 << 20))
    assert (status, json.loads(found)["code"]) == (413, "APP_REQUEST_TOO_LARGE")


def test_streams(world):
    """What an app streams comes piece by piece, however large, in little memory."""
    world.deploy(
        "def handle(request):\n    for number in range(300):\n        yield 'x' * 10_000\n",
        suffix="py",
    )
    status, body = world.get("/")
    assert (status, len(body)) == (200, 3_000_000)


async def leave(world, path):
    """Ask, and go when the first piece has come."""
    request = Request(
        method="GET",
        target=path,
        services=FixtureServices(),
        fields=[(b"host", b"shop.localhost")],
    )
    response = await world.server.answer(request, world.server.find(request))
    async for _ in response.body:
        break
    await response.body.aclose()


def test_a_client_that_leaves(world):
    """An app whose client has left is stopped, and the next one is answered."""
    world.deploy(
        "def handle(request):\n"
        "    if request.path == '/':\n        return 'here'\n"
        "    if request.path == '/late':\n        return slow()\n"
        "    def forever():\n        while True:\n            yield 'x' * 10_000\n"
        "    return forever()\n"
        "def slow():\n"
        "    import time\n"
        "    yield 'x'\n    time.sleep(100)\n",
        suffix="py",
        manifest={"name": "shop", "main": "main.py", "instances": "fresh"},
    )

    for path in ("/forever", "/late"):
        world.run(leave(world, path))
        world.settle()
    numbers = world.server.numbers[SHOP]
    assert (numbers.requests, numbers.failures) == (2, 0)
    assert world.apps.logs.read(SHOP) == []
    assert world.apps.recordings.page(SHOP) == []
    assert world.get("/") == (200, b"here")


def test_an_app_ends_by_itself(world):
    """Before it is stopped, an app whose client has left gives back what it has."""
    world.deploy(
        "export default () => new Response(new ReadableStream({"
        " pull(c) { c.enqueue(new Uint8Array(100_000)) },"
        " cancel() { console.log('given back') } }))"
    )
    world.run(leave(world, "/"))
    world.settle()
    assert [line.message for line in world.apps.logs.read(SHOP)] == ["given back"]


def test_a_job_that_is_cancelled(world):
    """It did not fail: its log says that it was stopped, and nothing is recorded."""
    world.deploy(
        "export default { async fetch(r, env) {"
        "  const id = new URL(r.url).searchParams.get('id');"
        "  if (id === null) return new Response(await env.jobs.spawn('slow'));"
        "  return Response.json(await env.jobs.cancel(id)) },"
        " async job() { console.log('begun');"
        "  for (;;) await new Promise((r) => setTimeout(r, 20)) } }",
        manifest={"name": "shop", "storage": ["jobs"]},
    )

    def wait_for(message):
        while message not in (line.message for line in world.apps.logs.read(SHOP)):
            time.sleep(0.005)

    loop = job_loop(world.server)
    loop.start()
    try:
        _, job = world.get("/")
        wait_for("begun")
        assert world.get(f"/?id={job.decode()}") == (200, b"true")
        wait_for("the job was stopped")
        world.settle()
    finally:
        loop.stop()
    (_, line) = world.apps.logs.read(SHOP)
    assert (line.level, line.fields) == ("info", {"reason": "cancelled"})
    assert world.server.numbers[SHOP].failures == 0
    assert world.apps.recordings.page(SHOP) == []


@pytest.mark.parametrize("is_here", [True, False], ids=["here", "elsewhere"])
def test_a_job_whose_app_is_removed(world, is_here):
    """What it still says, and its recording, are not those of a new app of that name."""
    world.deploy(
        "export default { async fetch(r, env) { return new Response(await env.jobs.spawn('s')) },"
        " async job() { console.log('begun');"
        "  for (;;) await new Promise((r) => setTimeout(r, 20)) } }",
        manifest={"name": "shop", "storage": ["jobs"], "record": {"sample": 1}},
    )
    apps = world.apps
    if not is_here:  # another process has all but the storage of a store in memory
        apps = replace(open_apps(world.store, world.limits), storage=apps.storage)
    ended = []
    called = world.server.call
    world.server.call = lambda *given, **options: ended.append(called(*given, **options))
    loop = job_loop(world.server)
    loop.start()
    try:
        world.get("/")
        while "begun" not in (line.message for line in world.apps.logs.read(SHOP)):
            time.sleep(0.005)
        while world.server.numbers[SHOP].running > 1:  # the request has been told of
            time.sleep(0.005)
        apps.remove(SHOP)
        hello = {"main.js": HELLO.replace("{ return", "{ console.log('mine'); return").encode()}
        apps.deploy(SHOP, bundle_of(hello, world.limits), who="bob")
        world.server.refresh()
        while not ended:
            loop.wake()
            time.sleep(0.005)
    finally:
        loop.stop()
    world.apps.logs.flush()
    assert world.apps.logs.read(SHOP) == []
    assert world.apps.recordings.page(SHOP) == []
    assert world.get("/") == (200, b"hello /")
    world.settle()
    assert [line.message for line in world.apps.logs.read(SHOP)] == ["mine"]


def test_what_no_app_gets(world):
    """A method that apps do not answer is refused, counted once, and nothing is left running."""
    world.deploy()
    status, _, body = world.one("PROPFIND", "/")
    assert (status, json.loads(body)["code"]) == (501, "APP_METHOD")
    world.settle()
    numbers = world.server.numbers[SHOP]
    assert (numbers.requests, numbers.failures, numbers.running) == (1, 1, 0)


def test_an_app_that_fails(world):
    """Its client is told a code and nothing else; its log says what went wrong, and where."""
    world.deploy("export default { fetch() { throw new Error('my secret') } }")
    status, body = world.get("/")
    assert (status, "secret" in body.decode()) == (500, False)
    world.settle()
    lines = world.apps.logs.read(SHOP)
    assert any("my secret" in line.message for line in lines)
    (request,) = world.apps.recordings.page(SHOP)
    assert (request.status, request.target) == (500, "/")
    assert {line.request for line in lines} == {request.id}


def test_a_version_that_cannot_start(world):
    """It is refused, with what it printed, and the one before goes on answering."""
    world.deploy()
    for _ in range(2):
        with pytest.raises(BuildError, match="boom"):
            world.deploy("throw new Error('boom')")
    assert len(world.apps.registry.versions(SHOP)) == 1
    assert world.apps.versions._making == {}
    assert world.deploy("export default () => new Response('2')").number == 2
    world.apps.rollback(SHOP, who="ann")
    world.server.refresh()
    assert world.get("/") == (200, b"hello /")


def test_environment(world):
    """What a manifest names must be given; the app sees it, and a change is seen at once."""
    main = "export default { fetch(r, env) { return new Response(env.COLOR) } }"
    manifest = {"name": "shop", "main": "main.js", "env": {"COLOR": None}}
    with pytest.raises(AppEnvironmentError, match="COLOR"):
        world.deploy(main, manifest=manifest)
    world.deploy(main, manifest=manifest, env={"COLOR": "red"})
    assert world.get("/") == (200, b"red")
    world.apps.registry.set_env(SHOP, {"COLOR": "blue"}, who="ann")
    world.server.refresh()
    assert world.get("/") == (200, b"blue")


def test_variables_that_cannot_be(world):
    """They are refused by name and change nothing, in a deployment as later."""
    world.deploy()
    for name, value in (("1A", "x"), ("", "x"), ("A=B", "x"), ("A", "x\0")):
        with pytest.raises(AppVariableError, match="the environment cannot have"):
            world.apps.set_env(SHOP, {name: value}, who="ann")
        with pytest.raises(AppVariableError):
            world.deploy(env={name: value})
    assert world.apps.registry.app(SHOP).env == {}
    world.apps.set_env(SHOP, {"1A": None}, who="ann")  # what is not there can be removed


def test_schedules_of_a_canary(world):
    """They wait until it answers everybody, and go with it."""

    def deploy(cron, **options):
        schedules = [{"cron": cron}]
        world.deploy(manifest={"name": "shop", "schedules": schedules}, **options)
        return world.apps.storage.desk.next_due_ns()

    rare = deploy("0 0 29 2 *")
    assert deploy("* * * * *", canary_share=10) == rare
    world.apps.rollback(SHOP, who="ann")
    assert world.apps.storage.desk.next_due_ns() == rare
    assert deploy("* * * * *", canary_share=10) == rare
    world.apps.promote(SHOP, who="ann")
    assert world.apps.storage.desk.next_due_ns() < rare


def test_a_rollback_to_what_cannot_start(world):
    """It is refused, and what answers goes on."""
    manifest = {"name": "shop", "main": "main.js", "env": {"COLOR": None}}
    world.deploy(manifest=manifest, env={"COLOR": "red"})
    world.deploy(HELLO.replace("hello", "two"))
    world.apps.set_env(SHOP, {"COLOR": None}, who="ann")
    for to in ("", "v1"):
        with pytest.raises(AppEnvironmentError):
            world.apps.rollback(SHOP, who="ann", to=to)
        assert world.get("/") == (200, b"two /")
    world.apps.set_env(SHOP, {"COLOR": "blue"}, who="ann")
    world.apps.rollback(SHOP, who="ann")
    world.server.refresh()
    assert world.get("/") == (200, b"hello /")


def test_routes_of_the_server(world):
    """Paths of the server itself, and names of others, are for no app."""
    for manifest in (
        {"name": "shop", "paths": ["/v1/x"]},
        {"name": "shop", "paths": ["/console"]},
        {"name": "shop", "paths": ["/apps/other"]},
    ):
        with pytest.raises(AppRouteError):
            world.deploy(manifest={**manifest, "main": "main.js"})
    stranger = AppName(tenant="acme", name="shop")
    for wanted in ({"hosts": ["example.org"]}, {"paths": ["/mine"]}):
        manifest = {**wanted, "name": "shop", "main": "main.js"}
        with pytest.raises(AppRouteError):
            world.deploy(name=stranger, manifest=manifest, deployer="deployer")
    world.deploy(name=stranger)
    assert world.get("/a", host="shop.acme.localhost") == (200, b"hello /a")
    assert world.get("/apps/~acme/shop/a", host="localhost") == (200, b"hello /a")


def test_outbound_calls(world):
    """A tenant's app has the lists and secrets of that tenant, and none where none are wanted."""
    stranger = AppName(tenant="acme", name="shop")
    net = {"scopes": ["global"], "secrets": ["KEY"]}
    manifest = {"name": "shop", "main": "main.js", "policy": {"net": net}}
    for name, tenant in ((SHOP, None), (stranger, "acme")):
        version = world.deploy(name=name, manifest=manifest)
        policy = world.apps.versions.find(name, version.id, {}).built.policy
        assert policy.net.get("tenant") == tenant
    for wrong in ({"scopes": ["tenant:other/global"]}, {"scopes": ["global"], "tenant": "other"}):
        with pytest.raises(ManifestError, match="another tenant"):
            world.deploy(name=stranger, manifest={**manifest, "policy": {"net": wrong}})
    closed = open_apps(world.store, world.limits, allow_net=False)
    with pytest.raises(ManifestError, match="--allow-net"):
        closed.versions.get(SHOP, world.apps.registry.app(SHOP).live, {})


def test_cookies_of_the_server(world):
    """Below a path of the server an app neither sees nor sets the server's cookies."""
    world.deploy(
        "export default { fetch(r) { const h = new Headers();"
        " h.append('set-cookie', '__Host-cloche=evil; Path=/; Secure');"
        " h.append('set-cookie', 'mine=1');"
        " return new Response(r.headers.get('cookie'), { headers: h }) } }"
    )
    cookie = (b"cookie", b"a=1; __Host-cloche=secret; __HOST-cloche-csrf=x; b=2")
    status, fields, body = world.one("GET", "/apps/shop/", host="localhost", fields=[cookie])
    assert (status, body) == (200, b"a=1; b=2")
    assert fields[b"set-cookie"] == b"mine=1; Path=/apps/shop"
    assert b"sandbox" in fields[b"content-security-policy"]
    _, fields, _ = world.one("GET", "/")
    assert b"content-security-policy" not in fields


def test_stopping(world):
    """A stopped app is 503; what is running ends by itself."""
    world.deploy()
    world.apps.registry.stop(SHOP, who="ann")
    world.server.refresh()
    status, body = world.get("/")
    assert (status, json.loads(body)["code"]) == (503, "APP_STOPPED")


def test_too_many_requests():
    """Of one app so many run, so many wait, and the others are told to come back."""
    world = World(request_concurrency_max=1, request_queue_max=2)
    try:
        main = """export default { async fetch(request, env) {
          while (!(await env.kv.get("is_open"))) await new Promise((r) => setTimeout(r, 20));
          return new Response("ok") } }"""
        world.deploy(main, manifest={"name": "shop", "main": "main.js", "storage": ["kv"]})

        async def ask():
            asked = [asyncio.ensure_future(world.answer("GET", "/")) for _ in range(6)]
            refused = [await each for each in islice(asyncio.as_completed(asked), 3)]
            shop = App(world.apps.storage, SHOP.name, tenant=SHOP.tenant)
            await asyncio.to_thread(lambda: shop("kv", "set", key="is_open", value=True))
            return refused, await asyncio.gather(*asked)

        refused, answers = world.run(ask())
        assert [(status, fields[b"retry-after"]) for status, fields, _ in refused] == [
            (503, b"1")
        ] * 3
        assert sorted(status for status, _, _ in answers) == [200, 200, 200, 503, 503, 503]
    finally:
        world.close()


def test_files_that_are_held_ready():
    """Versions are let go when their files are too large together, and answer all the same."""
    world = World(storage={"max_vfs": 10 << 20})
    names = [AppName(tenant="default", name=name) for name in ("one", "two", "three")]
    try:
        for name in names:
            content = name.name.encode() * 1_500_000  # 4.5 MB, the last one 7.5
            manifest = {"name": name.name, "static": "site"}
            bundle = {"site/index.html": content, "cloche.app.json": json.dumps(manifest).encode()}
            world.apps.deploy(name, bundle_of(bundle, world.limits), who="ann")
        world.server.refresh()
        for name in (*names, *names):
            status, body = world.get("/", host=f"{name.name}.localhost")
            assert (status, body[: len(name.name)]) == (200, name.name.encode())
            held = [ready.files_bytes for ready in world.apps.versions._ready.values()]
            assert 0 < sum(held) <= 10 << 20
        assert len(held) == 1
    finally:
        world.close()


def test_changing_versions_under_load(world):
    """However often it is deployed and rolled back, every request is answered by one of them."""
    mains = [f"export default {{ fetch() {{ return new Response('v{n}') }} }}" for n in range(4)]
    world.deploy(mains[0])
    done = threading.Event()
    errors = []

    def change():
        try:
            for main in mains[1:]:
                world.deploy(main)
                world.apps.rollback(SHOP, who="ann")
                world.server.refresh()
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)
        done.set()

    thread = threading.Thread(target=change)
    thread.start()
    seen, statuses = set(), set()
    while not done.is_set():
        for status, _, body in world.ask(*[("GET", "/")] * 4):
            statuses.add(status)
            seen.add(body)
    thread.join()
    assert errors == []
    assert statuses == {200}
    assert seen <= {b"v0", b"v1", b"v2", b"v3"}


def test_a_canary(world):
    """Some clients get the new version, always the same ones."""
    world.deploy("export default { fetch() { return new Response('old') } }")
    world.deploy("export default { fetch() { return new Response('new') } }", canary_share=50)
    clients = [f"192.0.2.{number}" for number in range(20)]
    first = [world.get("/", client=client)[1] for client in clients]
    assert set(first) == {b"old", b"new"}
    assert [world.get("/", client=client)[1] for client in clients] == first
    world.apps.promote(SHOP, who="ann")
    world.server.refresh()
    assert {world.get("/", client=client)[1] for client in clients} == {b"new"}


def test_another_process_needs_no_build(world):
    """What one process has evaluated another one opens: the top level does not run again."""
    world.deploy(
        "console.log('evaluated'); const seed = Math.random();"
        " export default { fetch() { return new Response(String(seed)) } }"
    )
    first = world.get("/")
    apps = open_apps(world.store, world.limits)
    other = AppServer(apps, random_bytes=os.urandom, report=world.reports.append)
    builds = []
    apps.host.build = lambda *args: builds.append(args)
    other.refresh()
    before, world.server = world.server, other
    try:
        assert world.get("/") == first
        assert builds == []
    finally:
        other.close()
        world.server = before


def test_removing(world):
    """Nothing of an app is left: no answers, no files, no log, no requests, no storage."""
    world.deploy("export default { fetch() { console.log('x'); throw 1 } }")
    world.get("/")
    world.settle()
    world.apps.logs.flush()
    world.apps.remove(SHOP)
    world.server.refresh()
    assert (world.one("GET", "/")) is None
    for kind in ("versions", "actions", "logs", "requests", "images"):
        assert list(world.store.documents.list(f"apps.{kind}.default/shop")) == []
    assert world.store.blobs.collect(before_ns=2 * 10**18) > 0
