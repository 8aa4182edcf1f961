"""Requests through real guests: what handlers get and give, in both languages."""

from __future__ import annotations

import threading
import time

import pytest

from apps.support import LIMITS, ask, build, host, parts
from cloche.apps.errors import AppMethodError, AppRequestError
from cloche.apps.messages import Collected
from cloche.apps.ports import ClientGoneError
from cloche.exec.adapters.effects import CancelToken
from cloche.gate.adapters.memory import MemorySink
from cloche.gate.journal import HEADER, load_journal
from cloche.gate.ports import EffectFailure

JS_ECHO = """
export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    return Response.json({
      method: request.method, url: request.url, path: url.pathname, q: url.searchParams.get("q"),
      header: request.headers.get("X-One"), body: await request.text(), env: env.NAME,
    }, { status: 201, headers: { "x-two": "b" } });
  },
};
"""
PY_ECHO = """
from cloche_app import Response, env

def handle(request):
    return Response({
        "method": request.method, "url": request.url, "path": request.path,
        "q": request.query.get("q"), "header": request.headers["X-One"], "body": request.text(),
        "env": env["NAME"],
    }, status=201, headers={"X-Two": "b"})
"""


@pytest.mark.parametrize(("language", "code"), [("javascript", JS_ECHO), ("python", PY_ECHO)])
def test_a_handler_gets_the_request_and_gives_the_response(language, code):
    """Method, address, fields, body and environment go in; status, fields and body come out."""
    built = build(code, language, env={"NAME": "v"})
    asked = ask(built, "/a/%20b?q=1", method="POST", headers={"x-one": "z"}, body="hälo".encode())
    assert asked.execution.failure is None, asked.printed
    assert asked.status == 201
    assert asked.header("x-two") == ["b"]
    assert asked.header("content-type") == ["application/json"]
    assert asked.json == {
        "method": "POST",
        "url": "https://app.example/a/%20b?q=1",
        "path": "/a/%20b" if language == "javascript" else "/a/ b",
        "q": "1",
        "header": "z",
        "body": "hälo",
        "env": "v",
    }


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (
            "javascript",
            "let n = 0; export default { fetch() { n += 1; return new Response(`${n}`) } }",
        ),
        ("python", "n = 0\ndef handle(request):\n    global n\n    n += 1\n    return str(n)"),
    ],
)
def test_fresh_instances_know_nothing_of_each_other_and_warm_ones_do(language, code):
    """`fresh` begins with the image each time; `warm` goes on, up to as many as the limit says."""
    built = build(code, language)
    assert [ask(built).text for _ in range(3)] == ["1", "1", "1"]
    limits = LIMITS.replace({"apps": {"warm_request_count_max": 3}})
    warm = build(code, language, instances="warm", host_limits=limits)
    one = host(limits)
    assert [ask(warm, on=one).text for _ in range(5)] == ["1", "2", "3", "1", "2"]
    one.close()


@pytest.mark.parametrize("instances", ["fresh", "warm"])
def test_a_warm_instance_is_dropped_after_an_error(instances):
    """Nobody knows what a handler that failed has left behind."""
    code = """let n = 0; export default { fetch(request) {
        n += 1; if (request.url.endsWith("bad")) throw new Error("x");
        return new Response(`${n}`) } }"""
    built, one = build(code, instances=instances), host()
    assert ask(built, on=one).text == "1"
    assert ask(built, "/bad", on=one).status == 500
    assert ask(built, on=one).text == "1"
    one.close()


@pytest.mark.parametrize("instances", ["fresh", "warm"])
def test_a_version_that_was_released_holds_nothing(instances):
    """Neither what waited nor what a late request leaves; built again it is as before."""
    code = "let n = 0; export default () => new Response(`${n += 1}`)"
    one = host()
    bundle, manifest = parts(code, instances=instances)

    def held():
        return [len(ready) for ready in one._pool._ready.values() if ready], list(one._warm)

    built = one.build(bundle, manifest)
    ask(built, on=one)
    assert held() != ([], [])
    one.release(built)
    assert held() == ([], [])
    assert ask(built, on=one).text == "1"
    assert held() == ([], [])
    again = one.build(bundle, manifest)
    assert ask(again, on=one).text == "1"
    assert held() != ([], [])
    one.close()


def test_randomness_differs_between_requests():
    """Instances of one image share their state, not their dice; warm ones neither."""
    code = "export default () => new Response(crypto.randomUUID() + Math.random())"
    for instances in ("fresh", "warm"):
        built, one = build(code, instances=instances), host()
        assert len({ask(built, on=one).text for _ in range(4)}) == 4
        one.close()
    python = "import random, uuid\ndef handle(r): return f'{random.random()} {uuid.uuid4()}'"
    built = build(python, "python")
    assert len({ask(built).text for _ in range(4)}) == 4


def test_time_is_that_of_the_request():
    """The clock of a request is the world's, though its image is older."""
    for language, code in (
        ("javascript", "export default () => new Response(String(Date.now()))"),
        ("python", "import time\ndef handle(r): return str(int(time.time() * 1000))"),
    ):
        before_ms = time.time_ns() // 1_000_000
        told_ms = int(ask(build(code, language)).text)
        assert before_ms <= told_ms <= time.time_ns() // 1_000_000 + 1000


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("export default (request, env, ctx) => new Response('f')", "f"),
        ("export default { fetch: async () => { await null; return new Response('a') } }", "a"),
        (("class A { name = 'c'; fetch() { return new Response(this.name) } }\n"
         "export default new A()"), "c"),
        ("module.exports = { fetch() { return new Response(require('path').join('a', 'b')) } }",
         "a/b"),
        ("import { t } from './lib.js'; export default { fetch: () => new Response(t) }", "lib"),
        (("import fs from 'fs'; const t = fs.readFileSync('data.txt', 'utf8');\n"
         "export default { fetch: () => new Response(t) }"), "data"),
        ("export default { fetch: () => new Response(new Uint8Array([104, 105])) }", "hi"),
        ("export default { fetch: () => new Response(null, { status: 204 }) }", ""),
        ("const x = await Promise.resolve('top'); export default { fetch: () => new Response(x) }",
         "top"),
    ],
)  # fmt: skip
def test_forms_of_a_handler_in_javascript(code, text):
    """Functions, objects, instances, CommonJS, modules and files of the version."""
    asked = ask(build(code, files={"lib.js": "export const t = 'lib'", "data.txt": "data"}))
    assert asked.execution.failure is None, asked.printed
    assert asked.text == text


def test_typescript():
    """Types are stripped, in the entry module and in those that it imports."""
    code = """import { greet, type Name } from "./greet.ts";
    export default {
      fetch(request: Request): Response { return new Response(greet("t" as Name)) },
    };
    """
    files = {
        "greet.ts": "export type Name = string;\n"
        "export const greet = (n: Name): string => `hi ${n}`"
    }
    assert ask(build(code, "typescript", files=files)).text == "hi t"


@pytest.mark.parametrize(
    ("result", "status", "kind", "text"),
    [
        ("'t'", 200, "text/plain; charset=utf-8", "t"),
        ("b'\\x01'", 200, "application/octet-stream", "\x01"),
        ("{'a': [1, None]}", 200, "application/json", '{"a": [1, null]}'),
        ("[1]", 200, "application/json", "[1]"),
        ("None", 204, None, ""),
        ("(404, 'no')", 404, "text/plain; charset=utf-8", "no"),
        ("(201, {'content-type': 'text/html'}, '<p>')", 201, "text/html", "<p>"),
        ("(200, [('set-cookie', 'a=1'), ('set-cookie', 'b=2')], '')", 200,
         "text/plain; charset=utf-8", ""),
        ("Response('r', 202, content_type='text/css')", 202, "text/css", "r"),
        ("(piece for piece in ['a', b'b', 'c'])", 200, "text/plain; charset=utf-8", "abc"),
        ("agen()", 200, "text/plain; charset=utf-8", "xy"),
        ("coroutine()", 200, "text/plain; charset=utf-8", "co"),
    ],
)  # fmt: skip
def test_what_a_handler_in_python_may_return(result, status, kind, text):
    """Plain values, pairs, triples, responses, generators, and what is awaited."""
    code = f"""
from cloche_app import Response
async def agen():
    yield "x"
    yield "y"
async def coroutine():
    return "co"
def handle(request):
    return {result}
"""
    asked = ask(build(code, "python"))
    assert asked.execution.failure is None, asked.printed
    assert (asked.status, asked.text) == (status, text)
    assert asked.header("content-type") == ([kind] if kind else [])


def test_the_request_in_python():
    """Cookies, forms, JSON, repeated names, and `in`."""
    code = """
def handle(request):
    h = request.headers
    return [request.cookies, request.form(), h.get_all("x-a"), h["x-a"], "X-A" in h, h.get("no"),
            request.query_items, request.client, sorted(h)]
"""
    asked = ask(
        build(code, "python"),
        "/?a=1&a=2&b=",
        method="PUT",
        headers={"cookie": "k=v; w=x=y", "x-a": "1"},
        body=b"f=1+2&g=%C3%A4",
    )
    assert asked.json == [
        {"k": "v", "w": "x=y"}, {"f": "1 2", "g": "ä"}, ["1"], "1", True, None,
        [["a", "1"], ["a", "2"], ["b", ""]], "192.0.2.1", ["cookie", "host", "x-a"],
    ]  # fmt: skip


# --- streams ---


class Slow(Collected):
    """Takes a piece when it is told to, and may leave."""

    def __init__(self, *, leaves_after: int = 10**9) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.times: list[float] = []
        self._leaves_after = leaves_after

    def write(self, data: bytes) -> None:
        if len(self.pieces) >= self._leaves_after:
            raise ClientGoneError
        self.pieces.append(data)
        self.times.append(time.monotonic())


STREAMS = [
    ("javascript", """export default { fetch() {
        let n = 0;
        return new Response(new ReadableStream({
          pull(c) { n += 1; c.enqueue(`piece ${n};`); if (n === 3) c.close(); },
        })) } }"""),
    ("javascript", """export default { fetch() {
        const numbers = [1, 2, 3];
        return new Response((async function* () { for (const n of numbers) yield `piece ${n};` })())
      } }"""),
    ("python", "def handle(r):\n    yield from (f'piece {n};' for n in (1, 2, 3))"),
    ("python", ("async def handle(r):\n    async def g():\n        for n in (1, 2, 3):\n"
     "            yield f'piece {n};'\n    return g()")),
]  # fmt: skip


@pytest.mark.parametrize(("language", "code"), STREAMS)
def test_a_stream_comes_piece_by_piece(language, code):
    """Each piece goes to the client when it is there."""
    reply = Slow()
    asked = ask(build(code, language), reply=reply)
    assert asked.execution.failure is None, asked.printed
    assert reply.pieces == [b"piece 1;", b"piece 2;", b"piece 3;"]
    assert reply.is_whole
    assert asked.execution.body_bytes == 24


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", """export default { fetch() {
            let n = 0;
            return new Response(new ReadableStream({
              pull(c) { n += 1; c.enqueue("x"); },
              cancel(reason) { console.log("cancelled", n, reason.name) },
            })) } }"""),
        ("python", ("def handle(r):\n    def g():\n        n = 0\n        try:\n"
         "            while True:\n                n += 1\n                yield 'x'\n"
         "        finally:\n            print('cancelled', n)\n    return g()")),
        ("python", ("async def handle(r):\n    async def g():\n        n = 0\n        try:\n"
         "            while True:\n                n += 1\n                yield 'x'\n"
         "        finally:\n            print('cancelled', n)\n    return g()")),
    ],
)  # fmt: skip
def test_a_client_that_leaves_ends_the_stream(language, code):
    """The source is told, and an endless stream ends; nothing has failed."""
    reply = Slow(leaves_after=2)
    asked = ask(build(code, language), reply=reply)
    assert asked.printed.startswith("cancelled ")
    assert asked.execution.client_gone
    assert asked.execution.failure is None
    assert not reply.is_whole


def test_pieces_of_a_stream_take_their_time():
    """Sleeping between two pieces is real: an app that ticks each second does not flood."""
    for language, code in (
        (
            "javascript",
            """export default { fetch: () => new Response((async function* () {
            yield "a"; await new Promise((r) => setTimeout(r, 150)); yield "b" })()) }""",
        ),
        (
            "python",
            "import time\ndef handle(r):\n    yield 'a'\n    time.sleep(0.15)\n    yield 'b'",
        ),
    ):
        reply = Slow()
        ask(build(code, language), reply=reply)
        assert reply.times[1] - reply.times[0] > 0.14


def test_large_bodies_go_out_in_pieces():
    """What is larger than an effect takes is cut, and comes together again."""
    for language, code in (
        ("javascript", "export default { fetch: () => new Response('ä😀'.repeat(400_000)) }"),
        ("python", "def handle(r): return 'ä😀' * 400_000"),
    ):
        asked = ask(build(code, language))
        assert asked.execution.failure is None, asked.printed
        assert asked.text == "ä😀" * 400_000
    for language, code in (
        (
            "javascript",
            "export default { fetch: () => new Response(new Uint8Array(3_000_001).fill(7)) }",
        ),
        ("python", "def handle(r): return b'\\x07' * 3_000_001"),
    ):
        assert bytes(ask(build(code, language)).reply.body) == b"\x07" * 3_000_001


class Pieces:
    """A body that comes in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.asked: list[int] = []

    def read(self, limit_bytes: int) -> bytes:
        self.asked.append(limit_bytes)
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", """export default { async fetch(request) {
            let n = 0; for await (const piece of request.body) n += piece.length;
            return new Response(`${n}`) } }"""),
        ("javascript", ("export default { fetch: async (r) => "
         "new Response(`${(await r.bytes()).length}`) }")),
        ("python", "def handle(r): return str(sum(map(len, r.stream())))"),
        ("python", "def handle(r): return str(len(r.body)) if r.body else ''"),
    ],
)  # fmt: skip
def test_a_large_body_is_read_as_it_comes(language, code):
    """Pieces are asked for until none is left."""
    body = Pieces(b"a" * 100_000, b"b" * 5, b"c")
    asked = ask(build(code, language), method="POST", body=body)
    assert asked.execution.failure is None, asked.printed
    assert asked.text == "100006"
    assert len(body.asked) == 4


def test_head_gets_no_body():
    """Status, fields and length are those of GET."""
    asked = ask(
        build("export default () => new Response('abc', { headers: { a: 'b' } })"), method="HEAD"
    )
    assert (asked.status, asked.text, asked.header("a")) == (200, "", ["b"])


# --- behind the response ---


def test_wait_until_goes_on_behind_the_response():
    """The client has its answer; the run ends when what was promised is done."""
    code = """export default { fetch(request, env, ctx) {
      const wait = () => new Promise((r) => setTimeout(r, 50));
      ctx.waitUntil(wait().then(() => console.log("later")));
      return new Response("now") } }"""
    ended_at: list[float] = []

    class Reply(Collected):
        def end(self) -> None:
            super().end()
            ended_at.append(time.monotonic())

    asked = ask(build(code), reply=Reply())
    assert (asked.text, asked.printed) == ("now", "later\n")
    assert time.monotonic() - ended_at[0] > 0.04


def test_the_log():
    """Lines have a level and fields; what is printed is apart."""
    code = """
from cloche_app import log
def handle(r):
    log.info('seen', user=1)
    log.error('bad')
    print('p')
"""
    asked = ask(build(code, "python"))
    assert asked.log == [("info", "seen", {"user": 1}), ("error", "bad", {})]
    assert asked.printed == "p\n"


class Kv:
    """One value per key, and a refusal."""

    def __init__(self) -> None:
        self.values = {}

    def perform(self, request, run_id):
        if request.target == "refuse":
            raise EffectFailure("KV_FULL", "full")
        self.values[request.target] = request.args
        return request.args


def test_effects_need_the_manifest():
    """A kind of storage that the manifest does not name is denied, whoever could answer it."""
    code = """import cloche
from _cloche import host
def handle(r):
    try:
        return str(host.effect("kv", "set", {"k": 1}))
    except cloche.EffectError as error:
        return error.code
"""
    kv = Kv()
    assert ask(build(code, "python"), handlers={"kv": kv}).text == "POLICY_DENIED"
    assert kv.values == {}
    assert ask(build(code, "python", storage=["kv"]), handlers={"kv": kv}).text == "{'k': 1}"


def test_events():
    """`scheduled` and `job` get their event and give a value."""
    js = """export default {
      scheduled(event, env) { return `${event.name} ${env.A}` },
      async job(job) { return { twice: job.data * 2 } },
    }"""
    py = "def scheduled(event): return event['name']\n"
    py += "async def job(job): return {'twice': job['data'] * 2}"
    for language, code in (("javascript", js), ("python", py)):
        built = build(code, language, env={"A": "x"})
        assert built.handlers == {"scheduled", "job"}
        told = host().handle_event(built, "scheduled", {"name": "tick"})
        assert told.value == ("tick x" if language == "javascript" else "tick")
        if language == "javascript":
            assert host().handle_event(built, "job", {"data": 4}).value == {"twice": 8}
    for language, code in (
        ("javascript", "export default { job() { throw new Error('j') } }"),
        ("python", "def job(job): raise ValueError('j')"),
    ):
        failed = host().handle_event(build(code, language), "job", {})
        assert failed.failure.code == "RUNTIME_FAILED"
        assert failed.value is None


# --- what goes wrong ---


def test_cancelling_stops_a_request():
    """A token stops a handler that computes, and one that sleeps."""
    for code in (
        "export default { fetch() { for (;;); } }",
        "export default { async fetch() { await new Promise((r) => setTimeout(r, 1e6)) } }",
    ):
        built, token = build(code), CancelToken()
        timer = threading.Timer(0.2, token.cancel)
        timer.start()
        started = time.monotonic()
        asked = ask(built, cancel=token)
        timer.join()
        assert time.monotonic() - started < 5
        assert asked.status == 500


@pytest.mark.parametrize(
    "code",
    [
        "export default { fetch() { for (;;); } }",
        "export default { async fetch() { await new Promise((r) => setTimeout(r, 1e6)) } }",
        "export default { fetch() { for (;;) try { for (;;); } catch {} } }",
    ],
)
def test_a_handler_that_never_answers_in_time(code):
    """The client gets 504 when the time of the request is over."""
    limits = LIMITS.replace({"apps": {"request_timeout_ms": 300}})
    built = build(code, host_limits=limits)
    asked = ask(built, on=host(limits))
    assert (asked.status, asked.json["error"]["code"]) == (504, "APP_TIMEOUT")
    assert asked.execution.failure.code == "TIMEOUT"


@pytest.mark.parametrize(
    ("language", "code", "code_told", "log"),
    [
        ("javascript", "export default { fetch() { throw new RangeError('r') } }",
         "APP_HANDLER_FAILED", "RangeError: r"),
        ("javascript", "export default { async fetch() { throw null } }", "APP_HANDLER_FAILED", ""),
        ("javascript", "export default { fetch() { return 'text' } }", "APP_HANDLER_FAILED",
         "it must return a Response"),
        ("javascript", "export default { fetch() { return Response.error() } }",
         "APP_HANDLER_FAILED", "Response.error()"),
        ("javascript", "export default { fetch() { return new Promise(() => {}) } }",
         "APP_NO_RESPONSE", "unsettled"),
        ("javascript", "export default { fetch() { process.exit(0) } }", "APP_NO_RESPONSE", ""),
        ("javascript", ("export default { async fetch(r) { const s = new Response('x'); "
         "await s.text(); return s } }"), "APP_HANDLER_FAILED", "already been read"),
        ("python", "def handle(r): raise ValueError('v')", "APP_HANDLER_FAILED", "ValueError: v"),
        ("python", "def handle(r): return object()", "APP_HANDLER_FAILED", "cannot be made of"),
        ("python", "def handle(r): return (1, 2, 3, 4)", "APP_HANDLER_FAILED", "tuple of 4"),
        ("python", "import sys\ndef handle(r): sys.exit(3)", "APP_NO_RESPONSE", ""),
        ("python", "def handle(r): return float('nan')", "APP_HANDLER_FAILED", "JSON"),
        ("python", "import os\ndef handle(r): os._exit(0)", "APP_NO_RESPONSE", ""),
        ("python", "def handle(r): return [0] * 10**9", "APP_LIMIT", ""),
    ],
)  # fmt: skip
def test_a_handler_that_fails(language, code, code_told, log):
    """The client gets 500 and a code; the error is in what was printed."""
    asked = ask(build(code, language))
    assert (asked.status, asked.json["error"]["code"]) == (500, code_told)
    assert asked.execution.failure is not None
    assert log in asked.printed
    assert "RangeError" not in asked.text
    assert asked.reply.is_whole


class Busy:
    """Storage that is too busy."""

    def perform(self, request, run_id):
        after_ms = {"long": 10**9, "short": 1500}.get(request.target)
        code = "BUSY" if request.target != "broken" else "BROKEN"
        raise EffectFailure(code, "x", retryable=code == "BUSY", retry_after_ms=after_ms)


@pytest.mark.parametrize(
    ("target", "status", "after"),
    [("short", 503, ["2"]), ("plain", 503, ["1"]), ("long", 503, ["3600"]), ("broken", 500, [])],
)
def test_an_error_that_may_pass_is_503(target, status, after):
    """Nobody caught it: the client is told when to come back."""
    python = f"from _cloche import host\ndef handle(r): host.effect('kv', '{target}', 1)"
    later = f"from _cloche import host\nasync def handle(r): host.effect('kv', '{target}', 1)"
    failure = "Object.assign(new Error('x'), { retryable: true, retryAfterMs: 1500 })"
    for code in (python, later):
        asked = ask(build(code, "python", storage=["kv"]), handlers={"kv": Busy()})
        assert (asked.status, asked.header("retry-after")) == (status, after)
    for form in (f"() => {{ throw {failure} }}", f"async () => {{ throw {failure} }}"):
        asked = ask(build(f"export default {form}"))
        assert (asked.status, asked.header("retry-after")) == (503, ["2"])
        assert asked.execution.failure.code == "RUNTIME_FAILED"


def test_an_error_in_the_middle_of_a_stream_breaks_it_off():
    """The client must not take half a response for a whole one."""
    for language, code in (
        ("javascript", ("export default { fetch: () => new Response((function* () "
         "{ yield 'a'; throw new Error('half') })()) }")),
        ("javascript", ("export default { fetch: () => new Response((async function* () "
         "{ yield 'a'; throw new Error('half') })()) }")),
        ("python", "def handle(r):\n    yield 'a'\n    raise ValueError('half')"),
    ):  # fmt: skip
        asked = ask(build(code, language))
        if language == "javascript" and "async" not in code:
            assert asked.text == "[object Generator]"  # as everywhere: no body is made of it
            continue
        assert (asked.status, asked.text) == (200, "a")
        assert asked.reply.is_aborted
        assert not asked.reply.is_whole
        assert "half" in asked.printed


def test_a_broken_reply_is_the_hosts_fault():
    """What a sink raises is raised, and no client waits."""

    class Broken(Collected):
        def start(self, status, lines, length_bytes) -> None:
            if status == 200:
                raise OSError("disk")
            super().start(status, lines, length_bytes)

    reply = Broken()
    with pytest.raises(OSError, match="disk"):
        ask(build("export default () => new Response('x')"), reply=reply)
    assert reply.is_aborted


def test_requests_that_no_app_gets():
    """A method without a number, a target or a host that is none: nothing runs."""
    built = build("export default () => new Response('x')")
    with pytest.raises(AppMethodError) as caught:
        ask(built, method="TRACE")
    assert caught.value.status == 501
    for target in ("", "a", "/a b", "/ä"):
        with pytest.raises(AppRequestError):
            ask(built, target)
    with pytest.raises(AppRequestError):
        ask(build("", "javascript", main="", static="public", files={"public/a": "x"}))


@pytest.mark.parametrize("instances", ["fresh", "warm"])
@pytest.mark.parametrize(
    ("code", "is_kept"),
    [
        ("export default () => new Response('x')", False),
        ("export default () => { throw new Error('x'); }", True),
        ("import process from 'node:process'; export default () => process.exit(0)", True),
    ],
)
def test_only_what_failed_is_recorded_where_that_is_wanted(code, is_kept, instances):
    """An error, and a handler that ended without an answer; its journal runs again."""
    built, kept = build(code, instances=instances), MemorySink()
    ask(built, record=kept, only_failed=True)
    assert (kept.to_bytes() != HEADER) == is_kept
    if is_kept and instances == "fresh":
        host().replay(built, load_journal(kept.to_bytes(), LIMITS))
