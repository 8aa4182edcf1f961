"""Tests of snippets: imports and exports of a module as statements of a script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.snippets import as_script


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('import a from "x";f(a)', 'const { default: a } = await import("x");f(a)'),
        ('import {a, b as c} from "x"', 'const { a, b: c } = await import("x");'),
        ("import * as n from 'y'", "const n = await import('y');"),
        ('import d, * as n from "y"', 'const n = await import("y"), { default: d } = n;'),
        ('import d, {e} from "y"', 'const { default: d, e } = await import("y");'),
        ('import "z"', 'await import("z");'),
        ('import {a} from "m" with { type: "json" };', 'const { a } = await import("m");'),
        ('import {"s t" as u} from "w"', 'const { "s t": u } = await import("w");'),
        ("export const q = 1", " const q = 1"),
        ("export function f() {}", " function f() {}"),
        ("export default 5", "void  5"),
        ("export default class C {}", " class C {}"),
        ("let q; export { q }", "let q; "),
    ],
)
def test_declarations(source, expected):
    """Each form becomes the statement that means the same."""
    assert as_script(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        'const x = await import("q")',
        "import.meta.url",
        'if (x) { import("a") }',
        "/* import a from 'b' */ 1",
        "// import a from 'b'\n2",
        "`import a from 'b'\nimport c from 'd'`",
        "x = { import: 1, export: 2 }",
        "f(\nimport('x'))",
        'export * from "x"',
        "import",
        "export",
        "import {",
    ],
)
def test_what_is_no_declaration_stays(source):
    """Calls, comments, strings, property names, and what nobody understands."""
    assert as_script(source) == source


def test_lines_stay():
    """What follows a declaration of several lines keeps its line numbers."""
    source = 'import {\n  a,\n  b,\n} from "m";\nthrow new Error("line 5")'
    lines = as_script(source).split("\n")
    assert len(lines) == 5
    assert lines[4] == 'throw new Error("line 5")'


@given(st.text(alphabet="import exporfm{}*,'\"`;.()as\n /$x", max_size=60))
def test_any_text_is_taken(source):
    """Nothing raises, and no line is lost, whatever the program is."""
    assert as_script(source).count("\n") == source.count("\n")
