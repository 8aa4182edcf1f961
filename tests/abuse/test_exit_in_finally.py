"""Attack: leaving, and not letting go."""

from __future__ import annotations

import pytest

from abuse.support import completes, exceeds, fails, times_out


def test_python_finally_that_never_ends():
    """An exit is an exception in Python; its finally runs inside the time limit."""
    times_out("import sys\ntry: sys.exit(3)\nfinally:\n    while True: pass", "python")


def test_python_finally_that_exits_again():
    """The last exit code counts."""
    completes("import sys\ntry: sys.exit(3)\nfinally: sys.exit(4)", "python", exit_code=4)


def test_python_that_catches_its_exit_goes_on():
    """As everywhere: SystemExit can be caught."""
    code = "import sys\ntry: sys.exit(3)\nexcept SystemExit: print('caught')"
    assert completes(code, "python") == "caught\n"


def test_python_that_leaves_at_once():
    """os._exit runs no finally."""
    code = "import os\ntry: os._exit(5)\nfinally: print('still here')"
    assert completes(code, "python", exit_code=5) == ""


@pytest.mark.parametrize("ending", ["for (;;);", "process.exit(4)", "console.log('still here')"])
def test_javascript_exit_returns_to_nobody(ending):
    """Neither catch nor finally runs after process.exit."""
    code = f"try {{ process.exit(3) }} catch {{ {ending} }} finally {{ {ending} }}"
    assert completes(code, "javascript", exit_code=3) == ""


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("try: 1 / 0\nfinally:\n    while True: pass", "python"),
        ("try { null.x } finally { for (;;); }", "javascript"),
    ],
)
def test_an_error_whose_finally_never_ends(code, language):
    """The time limit holds while an error is on its way."""
    times_out(code, language)


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("try: raise KeyError\nfinally: raise ValueError", "python"),
        ("try { null.x } finally { throw new RangeError('x') }", "javascript"),
    ],
)
def test_the_last_error_is_told(code, language):
    """What finally raises replaces what was on its way."""
    fails("ValueError" if language == "python" else "RangeError", code, language)


def test_printing_without_end_in_finally():
    """The output limit holds while an error is on its way."""
    exceeds("output", "try: 1 / 0\nfinally:\n    while True: print('x' * 99)", "python")


@pytest.mark.parametrize("status", ["2**100", "-1", "256", "True"])
def test_exit_codes_that_do_not_fit(status):
    """Only the low eight bits of an integer are an exit code."""
    code = int(eval(status)) & 0xFF
    completes(f"import sys\nsys.exit({status})", "python", exit_code=code)
