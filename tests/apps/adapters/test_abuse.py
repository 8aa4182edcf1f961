"""Hostile apps: what they try with responses, prototypes and the host's own words."""

from __future__ import annotations

from contextlib import suppress

import pytest

from apps.support import LIMITS, ask, build, host
from cloche.apps.errors import BuildError

RAW = """
import cloche
from _cloche import host

def tell(target, args):
    try:
        host.effect("app", target, args)
        return "ok"
    except cloche.EffectError as error:
        return error.code

"""


def raw(lines: str, **options):
    """Return what an app brings that speaks to the host by itself."""
    body = "\n".join(f"    {line}" for line in lines.strip().splitlines())
    return ask(build(f"{RAW}def handle(request):\n{body}\n", "python"), **options)


def test_a_second_answer_is_refused():
    """The first one stands; the run that went on to answer again fails."""
    asked = raw("""
told = [tell("respond", {"status": 200, "headers": [], "body": "one"})]
for target, args in (("respond", {"status": 200, "headers": [], "body": "two"}),
                     ("respond.start", {"status": 200, "headers": []}),
                     ("respond.write", {"data": "more"}), ("respond.end", {})):
    told.append(tell(target, args))
print(*told)
return "three"
""")
    assert (asked.status, asked.text) == (200, "one")
    assert asked.printed.startswith("ok" + " ALREADY_ANSWERED" * 4 + "\n")
    assert asked.reply.is_whole
    assert asked.execution.failure.code == "RUNTIME_FAILED"


def test_writing_before_the_start_and_after_the_end():
    """Nothing of it reaches the client."""
    asked = raw("""
told = [tell("respond.write", {"data": "early"}), tell("respond.end", {}),
        tell("respond.start", {"status": 200, "headers": []}), tell("respond.write", {"data": "a"}),
        tell("respond.end", {}), tell("respond.write", {"data": "late"}), tell("respond.end", {})]
print(*told)
import os
os._exit(0)
""")
    refused = "ALREADY_ANSWERED"
    assert asked.printed == f"{refused} {refused} ok ok ok {refused} {refused}\n"
    assert (asked.text, asked.reply.is_whole, asked.execution.failure) == ("a", True, None)


@pytest.mark.parametrize(
    "args",
    [
        None,
        [],
        "text",
        {},
        {"status": "200"},
        {"status": True},
        {"status": 199},
        {"status": 600},
        {"status": 101},
        {"status": 200.0},
        {"status": 200, "headers": {"a": "b"}},
        {"status": 200, "headers": [["a"]]},
        {"status": 200, "headers": [["a", "b", "c"]]},
        {"status": 200, "headers": [["a", 1]]},
        {"status": 200, "headers": [["", "b"]]},
        {"status": 200, "headers": [["a b", "c"]]},
        {"status": 200, "headers": [["a:b", "c"]]},
        {"status": 200, "headers": [["a\r\nset-cookie", "c"]]},
        {"status": 200, "headers": [["a", "b\r\nset-cookie: c=d"]]},
        {"status": 200, "headers": [["a", "b\nc"]]},
        {"status": 200, "headers": [["a", "b\0c"]]},
        {"status": 200, "headers": [["a", "ā"]]},
        {"status": 200, "headers": [["a" * 300, "b"]]},
        {"status": 200, "headers": [["a", "b" * 40_000]]},
        {"status": 200, "headers": [[f"a{n}", "b"] for n in range(200)]},
        {"status": 200, "headers": [], "body": 1},
        {"status": 200, "headers": [], "body": {"b64": "%%%"}},
        {"status": 200, "headers": [], "body": {"b64": "YQ==", "x": 1}},
    ],
    ids=repr,
)
def test_a_response_that_none_can_be(args):
    """It is refused as a whole, before anything of it goes on; then the host answers 500."""
    asked = raw(f"print(tell('respond', {args!r}))\nimport os\nos._exit(0)")
    assert asked.printed == "BAD_RESPONSE\n"
    assert (asked.status, asked.json["error"]["code"]) == (500, "APP_NO_RESPONSE")


def test_lines_of_the_connection_are_left_out():
    """Length, encoding and the like are the server's own; they cannot desynchronise it."""
    asked = raw("""
pairs = [["Content-Length", "5"], ["Transfer-Encoding", "chunked"], ["Connection", "close"],
         ["Upgrade", "h2c"], ["Keep-Alive", "x"], ["TE", "x"], ["Trailer", "x"],
         ["X-Kept", " v\\t"]]
tell("respond", {"status": 200, "headers": pairs, "body": "b"})
import os
os._exit(0)
""")
    assert asked.reply.lines == [(b"x-kept", b"v")]


def test_splitting_a_response_by_the_usual_ways():
    """Neither language's own classes let a line end through."""
    js = """export default { fetch(r) {
      const told = [];
      for (const make of [() => new Response("", { headers: { "x": "a\\r\\nb: c" } }),
                          () => new Headers([["x\\r\\ny", "a"]]),
                          () => Response.redirect("https://a.example/\\r\\nx: y")])
        try { const m = make(); told.push(m.headers?.get("location") ?? "made") }
        catch (e) { told.push(e.name) }
      return Response.json(told) } }"""
    assert ask(build(js)).json == ["TypeError", "TypeError", "https://a.example/x:%20y"]
    py = "def handle(r): return 200, {'location': '/\\r\\nset-cookie: a=b'}, ''"
    asked = ask(build(py, "python"))
    assert (asked.status, asked.header("set-cookie")) == (500, [])


def test_bodies_beyond_the_limit():
    """A stream ends where the limit is, and its client is told that it is not whole."""
    limits = LIMITS.replace({"apps": {"response_limit_bytes": 1000}})
    source = "(async function* () { for (;;) yield 'x'.repeat(99) })()"
    code = f"export default () => new Response({source})"
    asked = ask(build(code, host_limits=limits), on=host(limits))
    assert (asked.status, len(asked.text), asked.reply.is_aborted) == (200, 990, True)
    whole = ask(
        build("export default () => new Response('x'.repeat(1001))", host_limits=limits),
        on=host(limits),
    )
    assert (whole.status, whole.json["error"]["code"]) == (500, "APP_HANDLER_FAILED")


def test_effects_beyond_the_limit():
    """An app that asks without end is stopped."""
    limits = LIMITS.replace({"apps": {"effect_count_max": 50}})
    code = "export default () => new Response((async function* () { for (;;) yield 'x' })())"
    asked = ask(build(code, host_limits=limits), on=host(limits))
    assert asked.reply.is_aborted
    assert len(asked.text) < 50


@pytest.mark.parametrize(
    "trick",
    [
        "Object.prototype.toJSON = () => ({ status: 200, headers: [], body: 'stolen' })",
        "Object.prototype.status = 500; Object.prototype.body = 'x'",
        "Array.prototype[Symbol.iterator] = function* () { yield ['x', 'a\\r\\nb: c'] }",
        "Array.prototype.map = Array.prototype.flatMap = () => [['x', 'a\\nb']]",
        "String.prototype.toLowerCase = () => 'x\\r\\ny'; RegExp.prototype.test = () => true",
        "Promise.prototype.then = function () { return this }",
        "JSON.stringify = () => '{}'; JSON.parse = () => ({})",
        "globalThis.Response = class {}; globalThis.Request = class {}",
        "Map.prototype.get = () => ['x\\r\\n']; Map.prototype.set = () => {}",
        "Object.defineProperty(Object.prototype, 'then', { get() { throw new Error('t') } })",
        "Reflect.ownKeys = 1; Function.prototype.call = 1; Function.prototype.bind = 1",
    ],
)
def test_tricks_with_prototypes(trick):
    """An app may break itself; what goes out are single lines, and the next request is new."""
    code = f"""const R = Response; export default {{ fetch(request) {{
      if (request.url.endsWith("/trick")) {{ {trick} }}
      return new R("fine", {{ headers: {{ "x-a": "b" }} }});
    }} }}"""
    built = build(code)
    asked = ask(built, "/trick")
    assert asked.status in (200, 500, 504)
    for name, value in asked.reply.lines:
        assert b"\r" not in name + value
        assert b"\n" not in name + value
    after = ask(built)
    assert (after.status, after.text, after.header("x-a")) == (200, "fine", ["b"])


@pytest.mark.parametrize(
    "trick",
    ["Promise.prototype.then = 1", "Array.prototype.push = 1", "delete globalThis.URL"],
)
def test_tricks_at_the_top_level_break_the_app_alone(trick):
    """What they do to one image no other app sees."""
    with suppress(BuildError):
        ask(build(f"{trick}; export default () => new Response('x')"))
    other = build("export default () => new Response(new URL('http://a/b').pathname)")
    assert ask(other).text == "/b"


def test_words_of_the_host_that_do_not_fit():
    """Unknown targets, `ready` and `return` outside their time, arguments of any shape."""
    asked = raw("""
told = [tell(t, a) for t, a in (("ready", {"handlers": []}), ("return", {"value": 1}), ("no", {}),
        ("log", 1), ("log", {"message": 1}), ("log", {"message": "m", "fields": []}),
        ("log", {"level": "shout", "message": "m" * 100000}), ("request.read", [1]),
        ("respond.start", {"status": 200, "headers": []}), ("respond.write", None),
        ("respond.write", {"data": 5}))]
print(*told)
""")
    told = asked.printed.split("\n", 1)[0].split()
    assert told == [
        "APP_TARGET", "APP_TARGET", "APP_TARGET", "APP_ARGUMENTS", "APP_ARGUMENTS",
        "APP_ARGUMENTS", "ok", "ok", "ok", "BAD_RESPONSE", "BAD_RESPONSE",
    ]  # fmt: skip
    ((level, message, _),) = asked.log
    assert (level, len(message)) == ("info", LIMITS.apps.log_line_limit_bytes)


def test_output_without_end():
    """What is printed has a limit; the request is stopped there."""
    code = "export default () => { for (;;) console.log('x'.repeat(10000)) }"
    asked = ask(build(code))
    assert (asked.status, asked.json["error"]["code"]) == (500, "APP_LIMIT")


def test_large_requests():
    """Fields and targets as large as a server lets through arrive whole."""
    code = "export default (r) => Response.json([r.url.length, r.headers.get('x-a').length])"
    asked = ask(build(code), "/" + "a" * 60_000, headers={"x-a": "b" * 60_000})
    assert asked.json == [len("https://app.example/") + 60_000, 60_000]
