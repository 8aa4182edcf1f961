"""Attack: regular expressions that backtrack for ever."""

from __future__ import annotations

import pytest

from abuse.support import attack, times_out

TEXT_LENGTH = 40


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){12}$"])
def test_python_backtracking_is_stopped(pattern):
    """The matcher is native code, and is stopped in the middle."""
    times_out(f"import re\nre.match(r'{pattern}', 'a' * {TEXT_LENGTH} + 'b')", "python")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){12}$"])
def test_javascript_backtracking_is_stopped(pattern):
    """The matcher is native code, and is stopped in the middle."""
    times_out(f"/^{pattern}/.test('a'.repeat({TEXT_LENGTH}) + 'b')", "javascript")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import re\nre.compile('(' * 10**5 + ')' * 10**5)", "python"),
        ("new RegExp('(?:'.repeat(1e5) + ')'.repeat(1e5))", "javascript"),
        ("new RegExp('()'.repeat(1e5))", "javascript"),
        ("new RegExp('['.repeat(1e5) + ']'.repeat(1e5), 'v')", "javascript"),
    ],
)
def test_a_pattern_that_nests_too_deep_is_refused(code, language):
    """The compiler of patterns says so with an error of its own language."""
    _, error = attack(code, language)
    assert error is not None
    assert error.case == "runtime-failed", error
