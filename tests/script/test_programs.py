"""Tests of the program around a script, and of what is known of a script without running it."""

from __future__ import annotations

import pytest

from cloche.limits import Limits
from cloche.script.programs import banned_word, called_tools, wrap


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


@pytest.mark.parametrize(
    "source",
    [
        "'require(1)'; `eval(1)`; /import(1)/.test('Function(1)')",
        "// import x\n/* eval(1) */ return 1",
        "const o = { require: 1, import: 2, eval() { return 1 } }; return o.require + o.eval()",
        "const require = (x) => x; return require(1)",
        "class A { constructor() { this.import = 1 } get eval() { return 1 } }",
        "return x instanceof Function",
        "// it's fine\nreturn 1",
        "function evaluate(eval_) { return eval_ } return evaluate(1)",
    ],
)
def test_words_that_are_no_uses(source):
    """In strings, comments, regular expressions, as keys, properties and names of one's own."""
    assert banned_word(source, "typescript") is None


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("require('fs')", "require"),
        ("`${require('fs')}`", "require"),
        ("import fs from 'fs'", "import"),
        ("import 'fs'", "import"),
        ("const m = await import('fs')", "import"),
        ("(0, eval)('1'); eval('1')", "eval"),
        ("new Function('1')", "Function"),
        ("new Function", "Function"),
    ],
)
def test_words_that_scripts_have_not(source, name):
    """Each is told with its place."""
    found = banned_word(source, "javascript")
    assert found is not None
    assert found.fields["name"] == name


def test_python_may_import():
    """In Python the sandbox alone is the wall."""
    assert banned_word("import os\neval('1')", "python") is None
