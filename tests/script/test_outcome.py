"""Tests of what a model is told of a failed run; the rest is tested where scripts really fail."""

from __future__ import annotations

import pytest

from cloche.script.outcome import line_of


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("", None),
        (
            "script.ts:3:7\nnull.x\n\nTypeError: x\n    at f (script.ts:3:7)\n    at script.ts:9:1",
            3,
        ),
        ("Error: x\n    at g (script.js:12:1)", 12),
        ('  File "script.py", line 4, in <module>\n  File "script.py", line 2, in g\nE: é', 2),
        ('  File "other.py", line 4', None),
    ],
)
def test_the_line_of_a_failure(stderr, line):
    """The innermost one: JavaScript names it first, Python last."""
    assert line_of(stderr) == line
