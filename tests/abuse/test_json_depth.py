"""Attack: a million brackets for a parser that recurses."""

from __future__ import annotations

import pytest

from abuse.support import completes, fails


@pytest.mark.parametrize("text", ["'[' * 10**6", "'[' * 10**6 + ']' * 10**6", "'{\"a\":' * 10**6"])
def test_python_says_recursion_error(text):
    """The parser counts its depth."""
    fails("RecursionError", f"import json\njson.loads({text})", "python", resource="stack")


@pytest.mark.parametrize(
    "text", ["'['.repeat(1e6)", "'['.repeat(1e6) + ']'.repeat(1e6)", "'{\"a\":'.repeat(1e6)"]
)
def test_javascript_says_range_error(text):
    """The parser counts its depth."""
    fails("RangeError", f"JSON.parse({text})", "javascript", resource="stack")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        (
            "import json\ntry: json.loads('[' * 10**6)\nexcept RecursionError: print('caught')",
            "python",
        ),
        ("try { JSON.parse('['.repeat(1e6)) } catch { console.log('caught') }", "javascript"),
    ],
)
def test_the_error_can_be_caught(code, language):
    """It is an error as any other: the program goes on."""
    assert completes(code, language) == "caught\n"
