"""Cases S1 to S20: what a script cannot do. Each test names its number."""

from __future__ import annotations

import os

import pytest
from tests.clock import stop_clock
from tests.script.cases import LONG_GRACE, TELL, WAIT_S, Slow, add, run, until, write

import cloche

JAVASCRIPT = ("javascript", "typescript")
ABANDONED_CALL = f"""
import asyncio
f = tools.wait(ms=60000, name='a')
await asyncio.sleep(0)
{TELL["python"]}
1
"""


def code_of(result):
    """Return how a script failed."""
    return None if result.error is None else result.error["code"]


def test_s01_writing_a_prototype_has_no_effect():
    """S1: Object.prototype stays as it is."""
    source = "try { Object.prototype.x = 1 } catch (e) { return [e.name, ({}).x ?? null] }"
    assert run(source).value == ["TypeError", None]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "tools.add = 1"),
        ("typescript", "delete tools.add"),
        ("typescript", "Object.defineProperty(tools, 'add', { value: 1 })"),
        ("typescript", "Object.setPrototypeOf(tools, {})"),
        ("python", "tools.add = 1"),
        ("python", "setattr(tools, 'add', 1)"),
        ("python", "del tools.add"),
    ],
)
def test_s02_assigning_a_tool_throws(language, source):
    """S2: tools are read-only."""
    result = run(source, add, language=language)
    assert code_of(result) == "SCRIPT_RUNTIME"
    assert run("return await tools.add({ a: 1, b: 2 })", add).value == 3


def test_s03_require_is_refused_before_the_run():
    """S3: told with its place, and nothing ran."""
    result = run("console.log('ran');\nconst fs = require('fs');")
    assert (code_of(result), result.output) == ("SCRIPT_BANNED_IDENTIFIER", "")
    assert (result.error["fields"]["line"], result.error["fields"]["column"]) == (2, 12)


@pytest.mark.parametrize("source", ["await import('fs')", "import fs from 'fs'", "import('./x')"])
def test_s04_import_is_refused(source):
    """S4: there are no modules."""
    assert code_of(run(source)) == "SCRIPT_BANNED_IDENTIFIER"


@pytest.mark.parametrize(
    ("language", "source"), [("javascript", "for (;;) {}"), ("python", "while True: pass")]
)
def test_s05_an_endless_loop_times_out(language, source, monkeypatch):
    """S5: stopped at its time, with what it printed."""
    begun = {"javascript": "console.log('begun'); ", "python": "print('begun')\n"}[language]
    result = run(
        begun + TELL[language] + source,
        language=language,
        limits={"timeout_ms": 300},
        on_progress=stop_clock(monkeypatch).start,
    )
    assert (code_of(result), result.output) == ("SCRIPT_TIMEOUT", "begun\n")


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "const f = () => Promise.resolve().then(f); await f()"),
        ("python", "import asyncio\nwhile True: await asyncio.sleep(0)"),
    ],
)
def test_s06_endless_microtasks_time_out(language, source):
    """S6: giving way for ever is no way out."""
    assert code_of(run(source, language=language, limits={"timeout_ms": 300})) == "SCRIPT_TIMEOUT"


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "javascript",
            "const all = []; try { for (;;) all.push(new Array(1e5).fill(1.5)) } catch {} return 1",
        ),
        ("python", "all = []\nwhile True: all.append(bytearray(1 << 20))"),
    ],
)
def test_s07_a_huge_array_is_a_memory_error(language, source):
    """S7: it cannot be caught."""
    result = run(source, language=language, limits={"memory_limit_bytes": 48 * 2**20})
    assert code_of(result) == "SCRIPT_MEMORY"


@pytest.mark.parametrize(
    ("language", "source"),
    [("javascript", "const f = () => f() + 1; f()"), ("python", "def f(): return f()\nf()")],
)
def test_s08_deep_recursion_is_a_stack_error(language, source):
    """S8: the host's stack is safe."""
    assert code_of(run(source, language=language)) == "SCRIPT_STACK_OVERFLOW"


def test_s09_eval_is_not_there():
    """S9: a ReferenceError where the text hides it, a banned word where it does not."""
    assert code_of(run("eval('1')")) == "SCRIPT_BANNED_IDENTIFIER"
    assert run("try { [eval] } catch (e) { return e.name }").value == "ReferenceError"


def test_s10_the_function_constructor_is_closed():
    """S10: `tests/abuse/test_code_from_text.py` has all ways to it."""
    source = "try { (() => {}).constructor('return 1')() } catch (e) { return e.name }"
    assert run(source).value == "EvalError"
    assert code_of(run("new Function('return 1')")) == "SCRIPT_BANNED_IDENTIFIER"


def test_s11_nothing_of_the_hosts_process_is_there(monkeypatch):
    """S11: no process, no environment."""
    monkeypatch.setenv("HOST_SECRET", "s3cret")
    assert run("return typeof globalThis.process").value == "undefined"
    source = "import os\n[dict(os.environ), os.getpid()]"
    environment, number = run(source, language="python").value
    assert "HOST_SECRET" not in environment
    assert number != os.getpid()


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "context.sessionId = 'x'"),
        ("typescript", "context.sandbox.timeoutMs = 1"),
        ("typescript", "context.capabilities.tools.push('x')"),
        ("typescript", "delete context.telemetry"),
        ("python", "context.sessionId = 'x'"),
        ("python", "context.sandbox.timeout_ms = 1"),
        ("python", "context.capabilities.tools.append('x')"),
        ("python", "del context.telemetry"),
    ],
)
def test_s12_writing_the_context_throws(language, source):
    """S12: it is frozen to its depth."""
    assert code_of(run(source, language=language)) == "SCRIPT_RUNTIME"


@pytest.mark.parametrize("source", ["context.__proto__.x = 1", "context.__proto__ = { x: 1 }"])
def test_s13_the_prototype_of_the_context_is_frozen(source):
    """S13: nor by its prototype."""
    assert code_of(run(source)) == "SCRIPT_RUNTIME"


@pytest.mark.parametrize("source", ["Promise.constructor = 1", "Promise.prototype.then = 1"])
def test_s14_promise_cannot_be_changed(source):
    """S14: writing to Promise fails."""
    assert code_of(run(source)) == "SCRIPT_RUNTIME"


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "/(a+)+b/.test('a'.repeat(40))"),
        ("python", "import re\nre.match('(a+)+b', 'a' * 40)"),
    ],
)
def test_s15_what_hangs_is_killed_and_the_host_is_fine(language, source):
    """S15: also inside a regular expression; the harness runs the next script."""
    harness = cloche.ScriptHarness(
        add, limits=cloche.Limits().replace({"scripts": {"timeout_ms": 300}})
    )
    assert code_of(harness.run(source, language=language)) == "SCRIPT_TIMEOUT"
    assert harness.run("return await tools.add({ a: 1, b: 1 })").value == 2


@pytest.mark.parametrize(
    ("language", "first", "second"),
    [
        ("javascript", "Symbol.for('x').y; globalThis.z = 1", "return typeof z"),
        ("python", "import json, builtins\nbuiltins.z = json.z = 1", "__import__('json').z"),
    ],
)
def test_s16_no_state_goes_from_script_to_script(language, first, second):
    """S16: each has an instance of its own."""
    harness = cloche.ScriptHarness()
    harness.run(first, language=language)
    after = harness.run(second, language=language)
    assert after.value == "undefined" or code_of(after) == "SCRIPT_RUNTIME"


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", f"tools.wait({{ ms: 60000, name: 'a' }}); {TELL['typescript']} return 1"),
        (
            "python",
            ABANDONED_CALL,
        ),
    ],
)
def test_s17_a_call_that_nobody_awaits_is_aborted(language, source):
    """S17: what stops in its grace does no harm; the tool was told."""
    slow = Slow()
    result = run(
        source,
        slow.wait,
        language=language,
        limits=LONG_GRACE,
        on_progress=until(slow.begun),
    )
    assert (result.status, result.value) == ("completed", 1)
    assert slow.settle(1) == ["a aborted"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", f"tools.stuck(); {TELL['typescript']} return 1"),
        (
            "python",
            f"import asyncio\nf = tools.stuck()\nawait asyncio.sleep(0)\n{TELL['python']}1",
        ),
    ],
)
def test_s17_what_does_not_stop_is_named(language, source):
    """S17: a call that goes on after its grace is an error that names it."""
    import threading

    begun, release = threading.Event(), threading.Event()

    @cloche.tool(read_only=True)
    def stuck() -> None:
        """Hear nothing."""
        begun.set()
        release.wait(WAIT_S)

    result = run(
        source, stuck, language=language, limits={"grace_ms": 50}, on_progress=until(begun)
    )
    release.set()
    assert code_of(result) == "SCRIPT_DETACHED_PROMISE"
    assert result.error["fields"]["calls"] == ["stuck"]


@pytest.mark.parametrize("name", ["Worker", "SharedArrayBuffer", "Atomics", "WebAssembly"])
def test_s18_there_are_no_workers(name):
    """S18: nor what they would share."""
    source = f"try {{ {name} }} catch (e) {{ return e.name }}"
    assert run(source, language="javascript").value == "ReferenceError"


@pytest.mark.parametrize(
    ("language", "source"),
    [("javascript", "return 'x'.repeat(200000)"), ("python", "'x' * 200000")],
)
def test_s19_too_large_a_value_is_an_error_with_its_start(language, source):
    """S19: never a silent cut."""
    result = run(source, language=language)
    assert (result.value, code_of(result)) == (None, "SCRIPT_RETURN_TOO_LARGE")
    assert result.error["fields"]["preview"].startswith('"xxx')


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "await tools.write({ path: 'a', text: '' })"),
        ("python", "tools.write(path='a', text='')"),
    ],
)
def test_s20_a_dry_run_checks_and_runs_nothing(language, source):
    """S20: tools are named, nobody is asked."""
    harness = cloche.ScriptHarness(write, mode="dry-run")
    result = harness.run(source, language=language)
    assert result.status == "checked"
    assert result.value["tools"] == [{"tool": "write", "line": 1, "known": True}]
    assert (harness.pending, result.tool_calls) == ((), ())
