"""Apps that fail: cancelled, too slow, broken off, and what is recorded of it."""

from __future__ import annotations

import threading

import pytest

from apps.support import LIMITS, ask, build, host
from cloche.apps.errors import AppMethodError, AppRequestError
from cloche.apps.messages import Collected
from cloche.exec.adapters.effects import CancelToken
from cloche.gate.adapters.memory import MemorySink
from cloche.gate.journal import HEADER, load_journal
from cloche.gate.ports import EffectFailure


def test_cancelling_stops_a_request():
    """A token stops a handler that computes, and one that sleeps."""
    for code in (
        "export default { fetch() { for (;;); } }",
        "export default { async fetch() { await new Promise((r) => setTimeout(r, 1e6)) } }",
    ):
        built, token = build(code), CancelToken()
        timer = threading.Timer(0.2, token.cancel)
        timer.start()
        asked = ask(built, cancel=token)
        timer.join()
        assert asked.status == 500  # and not 504, when its time is over


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
        ("python", "def handle(r): return {1}", "APP_HANDLER_FAILED",
         "a response cannot be made of a value of type set; return text, bytes, a dict, list"),
        ("python", "async def handle(r): return 200, {'a': 1}.keys()", "APP_HANDLER_FAILED",
         "of type dict_keys"),
        ("python", "def handle(r): return range(3)", "APP_HANDLER_FAILED", "of type range"),
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
