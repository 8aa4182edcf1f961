"""Tests of what is known of arguments without running anything."""

from __future__ import annotations

import pytest
from tests.script.test_harness import harness, run

from cloche.script.literals import literal_calls


@pytest.mark.parametrize(
    ("language", "call", "arguments"),
    [
        (
            "typescript",
            "tools.a({ x: 1, 'y': [true, null, -2.5], z: {} })",
            {"x": 1, "y": [True, None, -2.5], "z": {}},
        ),
        ("javascript", "tools.a('x', `y`,)", ["x", "y"]),
        ("javascript", "tools.a()", {}),
        ("javascript", "tools.a(1.0, 0.5)", [1, 0.5]),
        (
            "python",
            "tools.a(x=1, y=[True, None], z={'k': -2})",
            {"x": 1, "y": [True, None], "z": {"k": -2}},
        ),
        ("python", "tools.a('x', 2)", ["x", 2]),
        ("python", "tools.a(''' x ''')", None),
        ("python", "tools.a(1, x=2)", None),
        ("python", "tools.a(**x)", None),
        ("python", "tools.a(x=f'{y}')", None),
        ("python", "tools.a('a' 'b')", None),
        ("python", "tools.a('a' + b)", None),
        ("python", "tools.a(x for x in y)", None),
        ("python", "tools.a({'a', 'b'})", None),
        ("javascript", "tools.a({ x })", None),
        ("javascript", "tools.a({ ...x })", None),
        ("javascript", "tools.a({ [x]: 1 })", None),
        ("javascript", "tools.a('\\n')", None),
        ("javascript", "tools.a(`${x}`)", None),
        ("javascript", "tools.a(1 + 1)", None),
        ("javascript", "tools.a({ x: 1 }.x)", None),
        ("javascript", "tools.a({ x: 1", None),
        ("javascript", "tools.a(", None),
        ("javascript", f"tools.a({'[' * 100})", None),
    ],
)
def test_literal_arguments(language, call, arguments):
    """They are found where they are certain, and passed over everywhere else."""
    expected = [] if arguments is None else [("a", 2, arguments)]
    assert list(literal_calls(f"\n{call}", language)) == expected


@pytest.mark.parametrize(
    ("language", "source", "problem"),
    [
        (
            "typescript",
            "await tools.add({ a: 1 });\ntools.add({ a: 'x' })",
            "got `str` - at `$.a` (line 2)",
        ),
        ("python", "tools.add(b=1)", "missing required field `a` (line 1)"),
    ],
)
def test_a_dry_run_checks_literal_arguments(language, source, problem):
    """What would fail for certain is told, with its line; nothing is called."""
    using = harness(mode="dry-run")
    error = run(source, language, using=using).error
    assert (error["code"], error["fields"]["problem"].endswith(problem)) == (
        "TOOL_VALIDATION",
        True,
    )
    assert run("const a: any = 'x'; await tools.add({ a })", using=using).status == "checked"
    assert run("await tools.add({ a: 1, b: 2 })", using=using).status == "checked"
