"""Tests of scripts that are no programs, that end otherwise than at their end, and of help."""

from __future__ import annotations

import threading

import pytest
from tests.clock import stop_clock
from tests.script.test_harness import BOTH, harness, run

from cloche.exec.adapters.effects import CancelToken
from cloche.script.tools import tool


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "try:\n    tools.block()\nexcept BaseException:\n    print('caught')\n1"),
        ("python", "try:\n    await tools.block()\nexcept BaseException:\n    print('caught')\n1"),
        ("typescript", "try { await tools.block() } catch { console.log('caught') } return 1"),
    ],
)
def test_a_plain_function_does_not_hold_its_script(language, source, monkeypatch):
    """The script ends in time, uncaught, while the function that nobody can stop goes on."""
    clock, released, returned = stop_clock(monkeypatch), threading.Event(), []

    @tool(read_only=True)
    def block() -> None:
        """Let time pass, and block."""
        clock.start()
        released.wait(timeout=60)
        returned.append("block")

    try:
        result = run(source, language, using=harness(block, limits={"timeout_ms": 500}))
        assert returned == []
    finally:
        released.set()
    assert (result.error["code"], result.output) == ("SCRIPT_TIMEOUT", "")
    assert [call.status for call in result.tool_calls] == ["cancelled"]


def test_a_plain_function_is_no_obstacle_to_cancelling():
    """A call that is in a function ends the script at once when that is cancelled."""
    token, released = CancelToken(), threading.Event()

    @tool(read_only=True)
    def block() -> None:
        """Block, and have the run cancelled."""
        token.cancel()
        released.wait(timeout=20)

    try:
        result = run("tools.block()\n1", "python", using=harness(block), cancel=token)
    finally:
        released.set()
    assert (result.status, result.error["code"]) == ("cancelled", "SCRIPT_CANCELLED")


@pytest.mark.parametrize(
    ("language", "source", "problem"),
    [
        ("python", "", "there is no program in it"),
        ("typescript", " // nothing\n", "there is no program in it"),
        ("python", "'\ud800'", "it holds half of a surrogate pair, not Unicode text"),
    ],
)
def test_what_is_no_program_does_not_run(language, source, problem):
    """A script without a message is judged as one in a message."""
    result = run(source, language)
    assert (result.run_id, result.error["fields"]["problem"]) == ("", problem)


@pytest.mark.parametrize("language", ["typescript", "javascript", "python"])
def test_a_long_program_does_not_run(language):
    """The limit holds without a message, too."""
    result = run("1;" * 200, language, using=harness(limits={"source_limit_bytes": 256}))
    assert (result.run_id, result.error["code"]) == ("", "SCRIPT_TOO_LARGE")


def test_only_three_languages():
    """Another one is a mistake of whoever calls."""
    with pytest.raises(ValueError, match="'ruby' is no language; it is one of javascript, type"):
        run("1", "ruby")


@BOTH
def test_a_byte_order_mark_is_no_part_of_a_program(language):
    """Files have them."""
    source = {"typescript": "\ufeffreturn 1", "python": "\ufeff1"}[language]
    assert run(source, language).value == 1


@pytest.mark.parametrize(
    ("language", "source", "line", "column", "snippet"),
    [
        ("javascript", "let y = ;", 1, 9, "let y = ;"),
        ("javascript", "let x = 1;\n  let y = ;", 2, 11, "  let y = ;"),
        ("typescript", "let x = 1;\n  let y: = 2", 2, None, "  let y: = 2"),
        ("typescript", "let x = 1;\nf(", 2, None, "f("),
        ("javascript", "let x = 1;\nf(", 2, None, "f("),
        ("python", "if 1:\n    x = (1,\n    y y\n", 2, 9, "    x = (1,"),
    ],
)
@pytest.mark.parametrize("mode", ["enabled", "dry-run"])
def test_a_syntax_error_names_its_place(mode, language, source, line, column, snippet):
    """Line, column where it is known, and the text of the line, as the model wrote it."""
    fields = run(source, language, mode=mode).error["fields"]
    found = {name: fields[name] for name in ("line", "column", "snippet")}
    assert found == {"line": line, "column": column, "snippet": snippet}


@pytest.mark.parametrize("language", ["typescript", "javascript"])
def test_a_dry_run_is_not_broken_out_of(language):
    """What closes the function around it is not executed."""
    source = "1\n}); for (;;); (async () => {"
    result = run(source, language, mode="dry-run")
    assert result.error["fields"]["problem"] == "a brace is closed that was not opened"
    assert result.error["fields"]["line"] == 2
    assert (
        run("const a = `${ { b: `}` }.b }`; return /}/.test(a)", language, mode="dry-run").error
        is None
    )


@pytest.mark.parametrize(
    ("language", "source", "status", "problem"),
    [
        ("python", "import sys\nsys.exit()", "completed", None),
        ("python", "import sys\nsys.exit(3)", "failed", "it ended with exit code 3"),
        ("python", "import sys\nsys.exit('bad')", "failed", "it ended with exit code 1: bad"),
        (
            "typescript",
            "await new Promise(() => {})",
            "failed",
            (
                "it ended with exit code 13: Warning: Detected unsettled top-level await: nothing "
                "is left that could settle it"
            ),
        ),
    ],
)
def test_a_script_that_does_not_come_to_its_end(language, source, status, problem):
    """It has not completed, unless it says so itself."""
    result = run(source, language)
    assert result.status == status
    assert problem is None or result.error["fields"]["problem"] == problem


@BOTH
def test_a_call_has_the_line_of_its_only_place(language):
    """Where several may have been it, none is named."""
    sources = {
        "typescript": "await tools.add({ a: 1 });\nawait tools.later('x');\nawait tools.later('y')",
        "python": "tools.add(a=1)\ntools.later(value='x')\ntools.later(value='y')",
    }
    lines = [(call.tool, call.line) for call in run(sources[language], language).tool_calls]
    assert lines == [("add", 1), ("later", None), ("later", None)]


@BOTH
def test_help_names_the_tools_that_are_there(language):
    """And tells everything about one of them."""
    sources = {
        "typescript": "return [help(), (await help('add')).name, Object.keys(tools)]",
        "python": "[help(), help(tools.add)['name'], dir(tools)]",
    }
    text, name, names = run(sources[language], language).value
    assert text.startswith("Tools: add, fail, later.")
    assert (name, set(names) >= {"add", "later", "fail", "search"}) == ("add", True)
