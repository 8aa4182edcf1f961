"""Each arm of golem:exec's error, on purpose, in both languages; output before it is kept."""

from __future__ import annotations

import threading

import pytest
from tests.clock import stop_clock
from tests.exec.support import ENDLESS, FAILING, PATIENT_MS, both, printed, small, start

import cloche
from cloche import (
    CompilationFailedError,
    ResourceExceededError,
    RunCancelledError,
    RuntimeFailedError,
    TimeoutExceededError,
    UnsupportedLanguageError,
)
from cloche.exec.adapters.effects import CancelToken


def test_unsupported_language():
    """A language that is not there: nothing ran, so there is no result."""
    with pytest.raises(UnsupportedLanguageError) as caught:
        cloche.run("puts 1", language="ruby")
    assert caught.value.result is None


SYNTAX = {
    "python": "print('never')\nx = = 1\n",
    "javascript": "console.log('never');\nlet = = 1;\n",
    "typescript": "console.log('never');\nlet x: = 1;\n",
}


@pytest.mark.parametrize("language", SYNTAX)
def test_compilation_failed(language):
    """A program that is not valid does not begin; the compile stage says where it is wrong."""
    with pytest.raises(CompilationFailedError) as caught:
        cloche.run(SYNTAX[language], language=language)
    result = caught.value.result
    assert caught.value.message.startswith("SyntaxError: ")
    assert (result.run.stdout, result.run.exit_code, result.compile.exit_code) == ("", None, 1)
    assert result.compile.stdout == ""
    suffix = {"python": "py", "javascript": "js", "typescript": "ts"}[language]
    assert f"main.{suffix}" in result.compile.stderr
    assert "2" in result.compile.stderr


@both
def test_runtime_failed(language):
    """An error that nobody caught keeps the output, and its trace names line and function."""
    code, message, place = FAILING[language]
    with pytest.raises(RuntimeFailedError) as caught:
        cloche.run(code, language=language)
    run = caught.value.result.run
    assert caught.value.message == message
    assert (run.stdout, run.exit_code, run.signal) == ("before\n", 1, None)
    assert place in run.stderr
    assert message in run.stderr


@both
def test_timeout(language):
    """A program over its time is stopped."""
    limits = small(timeout_ms=500)
    with pytest.raises(TimeoutExceededError) as caught:
        cloche.run(ENDLESS[language], language=language, limits=limits)
    error = caught.value
    assert (error.limit, error.limit_ms) == ("guests.timeout_ms", 500)
    run = error.result.run
    assert (run.exit_code, run.signal) == (None, "SIGKILL")
    assert start(ENDLESS[language], language, limits=limits).exit_code == 124


@both
def test_output_before_a_timeout_is_kept(language, monkeypatch):
    """Whenever the time of a program is over, what it printed until then is in its result."""
    clock = stop_clock(monkeypatch)

    def on_output(stream, data):
        clock.pass_ms(PATIENT_MS)

    execution = start(ENDLESS[language], language, on_output=on_output)
    assert type(execution.error) is TimeoutExceededError
    assert execution.error.result.run.stdout == "before\n"


UNENDED = {
    "python": "import sys\nprint('a', end='')\nsys.stderr.write('b')\nwhile True: pass",
    "javascript": "process.stdout.write('a'); process.stderr.write('b'); for (;;);",
}


@both
def test_a_line_without_its_end_is_kept(language, monkeypatch):
    """What was written is with the host at once, also where no line has ended."""
    clock, pieces = stop_clock(monkeypatch), []

    def on_output(stream, data):
        pieces.append(data)
        if pieces == [b"a", b"b"]:
            clock.pass_ms(PATIENT_MS)

    execution = start(UNENDED[language], language, on_output=on_output)
    assert type(execution.error) is TimeoutExceededError
    run = execution.error.result.run
    assert (run.stdout, run.stderr) == ("a", "b")


# resource: (limits, program in Python, in JavaScript, limit that is named, exit code)
WRITE_PY = "with open('/f{n}', 'wb') as f: f.write(b'x' * {size})"
WRITE_JS = "require('fs').writeFileSync('/f{n}', 'x'.repeat({size}));"
RESOURCES = {
    "memory": (
        {"memory_limit_bytes": 64 << 20},
        "x = [bytes(1 << 20) for _ in range(1000)]",
        "const x = []; for (;;) x.push(new Uint8Array(1 << 20).fill(1));",
        "memory_limit_bytes",
        137,
    ),
    "output": (
        {"output_limit_bytes": 1000},
        "while True: print('y' * 99)",
        "for (;;) console.log('y'.repeat(99));",
        "output_limit_bytes",
        1,
    ),
    "file": (
        {"file_limit_bytes": 1000},
        WRITE_PY.format(n=1, size=1001),
        WRITE_JS.format(n=1, size=1001),
        "file_limit_bytes",
        1,
    ),
    "files": (
        {"files_limit_bytes": 1000},
        "\n".join(WRITE_PY.format(n=n, size=501) for n in range(2)),
        "\n".join(WRITE_JS.format(n=n, size=501) for n in range(2)),
        "files_limit_bytes",
        1,
    ),
    "file count": (
        {"file_count_max": 5},
        "\n".join(WRITE_PY.format(n=n, size=1) for n in range(9)),
        "\n".join(WRITE_JS.format(n=n, size=1) for n in range(9)),
        "file_count_max",
        1,
    ),
    "fuel": (
        {"fuel": 50_000_000},
        "while True: pass",
        "for (;;);",
        "fuel",
        1,
    ),
}


@both
@pytest.mark.parametrize("resource", RESOURCES)
def test_resource_exceeded(resource, language):
    """Each resource has its limit: the error names it, and what was printed is kept."""
    guests, in_python, in_javascript, limit, exit_code = RESOURCES[resource]
    code = {
        "python": f"print('before', flush=True)\n{in_python}",
        "javascript": f"console.log('before');\n{in_javascript}",
    }[language]
    # A busy machine must not be the one that stops it.
    execution = start(code, language, limits=small(timeout_ms=60_000, **guests))
    error = execution.error
    assert type(error) is ResourceExceededError
    assert (error.limit, error.limit_value) == (f"guests.{limit}", guests[limit])
    assert execution.exit_code == exit_code
    assert execution.result.run.stdout.startswith("before\n")
    if resource == "output":
        assert len(execution.result.run.stdout.encode()) == 1000


def test_host_calls():
    """A program that calls the host without end is stopped by their number."""
    code = "console.log('before'); const fs = require('fs'); for (;;) fs.statSync('/');"
    limits = small(timeout_ms=60_000, host_call_count_max=3000)
    execution = start(code, "javascript", limits=limits)
    assert execution.error.limit == "guests.host_call_count_max"
    assert execution.result.run.stdout == "before\n"


@both
def test_stack(language):
    """Endless recursion is the language's own error, says so, and can be caught."""
    code = {
        "python": "def f(): f()\nprint('before')\n{}",
        "javascript": "function f() { f() }\nconsole.log('before');\n{}",
    }[language]
    execution = start(code.replace("{}", "f()"), language)
    assert type(execution.error) is RuntimeFailedError
    assert (execution.error.resource, execution.exit_code) == ("stack", 1)
    assert execution.result.run.stdout == "before\n"
    caught = {
        "python": "try:\n  f()\nexcept RecursionError: print('caught')",
        "javascript": "try { f() } catch (e) { console.log('caught') }",
    }[language]
    assert printed(code.replace("{}", caught), language) == "before\ncaught\n"


@both
def test_internal(language):
    """A run that is cancelled is stopped before its time is over, and keeps its output."""
    cancel = CancelToken()

    def on_output(stream, data):
        threading.Thread(target=cancel.cancel).start()

    execution = start(ENDLESS[language], language, cancel=cancel, on_output=on_output)
    assert type(execution.error) is RunCancelledError
    assert (execution.error.code, execution.error.blame) == ("CANCELLED", "caller")
    assert (execution.error.message, execution.error.reason) == (
        "the run was cancelled",
        "cancelled",
    )
    assert (execution.exit_code, execution.result.run.stdout) == (130, "before\n")


def test_cancelled_before_it_began():
    """A token that was cancelled before the run stops it at once."""
    cancel = CancelToken()
    cancel.cancel()
    execution = start(ENDLESS["javascript"], "javascript", cancel=cancel)
    assert execution.exit_code == 130


@both
def test_cancelled_while_it_waits(language):
    """A run that waits for a tool is cancelled too, without waiting for the tool's end."""
    cancel, release, ended = CancelToken(), threading.Event(), threading.Event()

    def slow():
        cancel.cancel()
        release.wait(60)
        ended.set()

    code = {"python": "await tools.slow()", "javascript": "await tools.slow()"}[language]
    try:
        execution = start(code, language, tools={"slow": slow}, cancel=cancel)
        assert not ended.is_set()
    finally:
        release.set()
    assert execution.exit_code == 130
