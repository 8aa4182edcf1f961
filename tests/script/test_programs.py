"""Tests of the program around a script, and of what is known of a script without running it."""

from __future__ import annotations

import pytest

from cloche.limits import Limits
from cloche.script.programs import called_tools, wrap


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("const a = await tools.add({a: 1});\ntools.fs.read ({})", [("add", 1), ("fs.read", 2)]),
        ("tools.add(tools.add(1))", [("add", 1)]),
        ("'tools.a()'; // tools.b()\n/tools.c()/; `tools.d()`", []),
        ("`${tools.a()}`", [("a", 1)]),
        ("other.tools.a(); const t = tools; t.b(); tools['c'](); tools.d", []),
        ("tools\n  .a\n  .b()", [("a.b", 1)]),
        ("tools.a.b.c(); tools.a + b()", [("a.b.c", 1)]),
    ],
)
def test_the_tools_that_javascript_calls(source, expected):
    """Those named in code, in order; strings and comments are none."""
    assert called_tools(source, "typescript") == tuple(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# tools.a()\nx = tools.b(c=1)", [("b", 2)]),
        ("f'{tools.a()}' 'tools.b()'", [("a", 1)]),
        ("x.tools.a()", []),
    ],
)
def test_the_tools_that_python_calls(source, expected):
    """The same for Python."""
    assert called_tools(source, "python") == tuple(expected)


def test_lines_keep_their_numbers():
    """The first line of a script is the first of its program."""
    assert wrap("a\nb", "javascript", limits=Limits()).split("\n")[1] == "b"
    assert repr("a\n'b'") in wrap("a\n'b'", "python", limits=Limits())
