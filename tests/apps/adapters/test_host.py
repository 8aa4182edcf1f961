"""Requests through real guests: what handlers get and give, in both languages."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from apps.support import LIMITS, ask, build, host, parts
from cloche.apps.messages import AppRequest, Collected
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
        guests = one.guests
        return [len(ready) for ready in guests._pool._ready.values() if ready], list(guests._warm)

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
        ("map(str, [1, 2])", 200, "text/plain; charset=utf-8", "12"),
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


def test_wait_until_goes_on_behind_the_response():
    """The client has its answer; the run ends when what was promised is done."""
    code = """export default { fetch(request, env, ctx) {
      ctx.waitUntil(env.kv.get("a").then((value) => console.log("later", value)));
      return new Response("now") } }"""
    has_answer = threading.Event()

    class Reply(Collected):
        def end(self) -> None:
            super().end()
            has_answer.set()

    class Later:
        """Has a value when the client has its answer."""

        def perform(self, request, run_id):
            return has_answer.wait(60)

    asked = ask(build(code, storage=["kv"]), reply=Reply(), handlers={"kv": Later()})
    assert (asked.text, asked.printed) == ("now", "later true\n")


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


@pytest.mark.parametrize(("language", "code"), [("javascript", JS_ECHO), ("python", PY_ECHO)])
def test_a_request_that_is_over_leaves_nothing_for_the_garbage_collector(language, code):
    """Counting references alone frees all that a request was: thousands a second pass."""
    built = build(code, language, env={"NAME": "v"})
    answering = host()
    request = AppRequest(method="GET", target="/", lines=((b"x-one", b"z"),), host="app.example")
    answering.handle(built, request, Collected())  # what is made once
    gc.collect()
    gc.disable()
    try:
        replies = [Collected() for _ in range(5)]
        remains = [weakref.ref(reply) for reply in replies]
        while replies:
            assert answering.handle(built, request, replies.pop()).status == 201
        assert [remain() for remain in remains] == [None] * 5
    finally:
        gc.enable()
