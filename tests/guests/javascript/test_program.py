"""How programs run and end: turns, timers, modules, failures, and the stack."""

from __future__ import annotations

import pytest

from .driver import run

SHOW = "catch (e) { console.log(e.name + ': ' + e.message) }"
OVERFLOW = "RangeError: Maximum call stack size exceeded\n"


def test_order_of_the_event_loop() -> None:
    """Synchronous code, then microtasks, then immediates and timers in order of their time."""
    code = """
    setTimeout(() => console.log("timer"), 5);
    setTimeout((a, b) => console.log("args", a, b), 1, 1, 2);
    queueMicrotask(() => console.log("microtask"));
    clearTimeout(setTimeout(() => console.log("never"), 1)); clearTimeout(99); clearTimeout();
    console.log("sync");
    """
    assert run(code).stdout == "sync\nmicrotask\nargs 1 2\ntimer\n"


def test_time_is_virtual() -> None:
    """A day of sleep takes no time, and the clock shows it."""
    code = """
    const start = Date.now();
    await new Promise((done) => setTimeout(done, 86400000));
    console.log(Date.now() - start >= 86400000);
    """
    assert run(code).stdout == "true\n"


def test_timer_needs_a_function() -> None:
    """A text instead of a function is a TypeError with node's code."""
    assert run(f"try {{ setTimeout('x') }} {SHOW}").stdout.startswith('TypeError: The "callback"')


def test_uncaught_error_shows_place_and_own_frames() -> None:
    """The line, a caret, the message, and no frame of the prelude."""
    outcome = run("function f() { throw new TypeError('bad') }\n\nsetTimeout(() => f(), 1)")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        "main.js:1:26\nfunction f() { throw new TypeError('bad') }\n                         ^\n\n"
        "TypeError: bad\n    at f (main.js:1:26)\n    at main.js:3:18\n"
    )


def test_unhandled_rejection_is_a_failure() -> None:
    """A rejected promise that nobody handles ends the run like an uncaught error."""
    outcome = run("Promise.reject(new Error('no')); setTimeout(() => console.log('never'), 1)")
    assert (outcome.error, outcome.exit_code, outcome.stdout) == ("RuntimeFailedError", 1, "")


def test_rejection_handled_within_its_microtasks_is_none() -> None:
    """Who handles a rejection before the microtasks end is in time."""
    code = "const p = Promise.reject(1); await null; await null; p.catch(() => console.log('ok'))"
    assert run(code).stdout == "ok\n"


@pytest.mark.parametrize("first", ["", "const fs = require('fs');"], ids=["module", "commonjs"])
def test_syntax_error_is_a_failed_compilation(first: str) -> None:
    """A program that cannot be parsed fails before anything of it runs."""
    outcome = run(f"console.log('ran'); {first}\nconst b = ;")
    assert (outcome.error, outcome.stdout) == ("CompilationFailedError", "")


def test_syntax_error_thrown_while_running_is_no_failed_compilation() -> None:
    """`eval` of bad source, or a thrown SyntaxError, is a failure of the run."""
    assert run("eval('1+')").error == "RuntimeFailedError"
    assert run("throw new SyntaxError('mine')").error == "RuntimeFailedError"


def test_lines_of_commonjs_are_its_own() -> None:
    """The wrapper around CommonJS moves no line."""
    outcome = run("const fs = require('fs')\n\nthrow new Error('x')")
    assert outcome.stderr.startswith("main.js:3:")


def test_unsettled_await_exits_with_13() -> None:
    """Nothing is left that could settle the program: node's exit code, and a warning."""
    outcome = run("await new Promise(() => {})")
    assert outcome.exit_code == 13
    assert "unsettled top-level await" in outcome.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("process.exit(3)", 3),
        ("process.exitCode = 7", 7),
        ("try { process.exit(4) } finally {}", 4),
    ],
)
def test_exit_code(code: str, expected: int) -> None:
    """The program's own exit code is the run's."""
    assert run(code).exit_code == expected


CAUGHT = "process.on('uncaughtException', (e) => console.log(e.message));\n"
THROW = "setTimeout(console.log, 1, 'later'); throw new Error('top')"
STUCK = "await new Promise(() => {})"
ENDINGS = {
    "a listener fills the loop again": (
        "let n = 0; process.on('beforeExit', () => { if (n++ < 2) setTimeout(console.log, 1, n) })",
        "1\n2\n",
        0,
    ),
    "microtasks alone do not": (
        "process.on('beforeExit', () => { Promise.resolve().then(() => console.log('once')); })",
        "once\n",
        0,
    ),
    "a listener fails": ("process.on('beforeExit', () => { throw new Error('no'); })", "", 1),
    "before the exit": (
        "for (const e of ['exit', 'beforeExit']) process.on(e, (c) => console.log(e, c)); " + STUCK,
        "beforeExit 0\nexit 13\n",
        13,
    ),
    "an error at the top is caught": (
        CAUGHT + THROW,
        "top\nlater\n",
        0,
    ),
    "an error after an await is caught": (
        CAUGHT + "await 1;" + THROW,
        "top\nlater\n",
        0,
    ),
    "an error of a CommonJS program is caught": (
        "require('fs');" + CAUGHT + THROW,
        "top\nlater\n",
        0,
    ),
}


@pytest.mark.parametrize(("code", "stdout", "exit_code"), ENDINGS.values(), ids=ENDINGS.keys())
def test_events_of_the_end(code: str, stdout: str, exit_code: int) -> None:
    """The events `beforeExit` and `uncaughtException` come as in node."""
    done = run(code)
    assert (done.stdout, done.exit_code) == (stdout, exit_code)


def test_modules_of_every_kind() -> None:
    """ES modules, CommonJS and JSON beside the program, and builtins, import each other."""
    files = {
        "a.mjs": "export const a = 1; export default 'd'",
        "b.cjs": "module.exports = { b: require('./c.json').c }",
        "c.json": '{"c": 3}',
    }
    code = """
    import d, { a } from "./a.mjs"; import b from "./b.cjs"; import c from "./c.json";
    import { join } from "node:path";
    console.log(a, d, b, c, join("x", "y"));
    try { await import("./nope.js") } catch (e) { console.log(e.code) }
    """
    assert run(code, files=files).stdout == ("1 d { b: 3 } { c: 3 } x/y\nERR_MODULE_NOT_FOUND\n")


def test_realm_is_tidy() -> None:
    """Nothing of the prelude is reachable, and no global is enumerable."""
    code = "console.log(typeof __cloche, typeof internal, Object.keys(globalThis))"
    assert run(code).stdout == "undefined undefined []\n"


def test_tools_are_safe_to_print_and_await() -> None:
    """`tools` is no thenable and lists nothing."""
    assert run("console.log(await tools, Object.keys(tools))").stdout == "[tools] []\n"


def test_programs_may_replace_intrinsics() -> None:
    """A program that breaks JSON breaks itself only, not how its run ends."""
    code = "JSON.parse = () => ({}); JSON.stringify = () => '{}'; console.log('ok')"
    assert run(code).stdout == "ok\n"


@pytest.mark.parametrize(
    "attack",
    [
        "(function f() { return f() + 1 })()",
        "JSON.parse('['.repeat(1e6))",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a)",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; String(a)",
        "eval('('.repeat(1e5))",
        "eval('{'.repeat(1e5))",
        "eval('!'.repeat(1e6) + '1')",
        "eval('`${'.repeat(1e5))",
        "let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x",
        "const o = { get a() { return o.a } }; o.a",
    ],
)
def test_deep_recursion_is_an_error_that_can_be_caught(attack: str) -> None:
    """Recursion of programs and of the engine itself ends in a RangeError; the run goes on."""
    assert run(f"try {{ {attack} }} {SHOW} console.log('on')").stdout == f"{OVERFLOW}on\n"


def test_reasonable_nesting_works() -> None:
    """Five thousand calls and a thousand levels of JSON are no attack."""
    code = """
    const sum = (n) => (n ? n + sum(n - 1) : 0);
    console.log(sum(5000), JSON.stringify(JSON.parse("[".repeat(1000) + "]".repeat(1000))).length);
    """
    assert run(code).stdout == "12502500 2000\n"


def test_out_of_memory_cannot_be_caught() -> None:
    """A program that swallows every error still ends when its memory does."""
    code = "const a = []; for (;;) { try { a.push(new Uint8Array(1e7)) } catch {} }"
    assert run(code).error == "ResourceExceededError"
