"""Values look as people know them from node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .driver import run

CASES: list[list[str]] = json.loads((Path(__file__).parent / "inspect.json").read_text("utf-8"))
MARK = "\n\0\n"


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """Every expression of the table, printed by one program."""
    sources = json.dumps([expression for expression, _ in CASES])
    program = f"for (const e of {sources}) {{ console.log((0, eval)(`(${{e}})`)); "
    outcome = run(program + 'console.log("\\0"); }')
    assert outcome.error == "", outcome.stderr
    texts = outcome.stdout.split(MARK)[: len(CASES)]
    return dict(zip([expression for expression, _ in CASES], texts, strict=True))


@pytest.mark.parametrize(("expression", "expected"), CASES, ids=[str(n) for n in range(len(CASES))])
def test_value_looks_as_in_node(shown: dict[str, str], expression: str, expected: str) -> None:
    """console.log prints the text that node prints."""
    assert shown[expression] == expected
