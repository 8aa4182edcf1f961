"""Tables of expressions and what node gives for them (`cases/*.json`).

A result is the text of the value; `! name|code|first line of the message` when it throws. Rows
where the library says something else on purpose hold its own words; docs/guests-javascript-lib.md
lists them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from .driver import run

CASES = Path(__file__).parent / "cases"
HARNESS = """
globalThis.fs = require("fs");
const AsyncFunction = (async () => {}).constructor;
const show = (value) => typeof value === "bigint" ? `${value}n` : String(value);
const fail = (error) => `! ${error?.name}|${error?.code ?? ""}|` +
  `${String(error?.message).split("\\n")[0]}`;
for (const expression of EXPRESSIONS) {
  let result;
  try { result = show(await new AsyncFunction(`return (${expression})`)()); }
  catch (error) { result = fail(error); }
  console.log(result);
}
"""


def _rows(area: str) -> list[list[str]]:
    return json.loads((CASES / f"{area}.json").read_text())


AREAS = sorted(path.stem for path in CASES.glob("*.json"))
ROWS = [(area, index) for area in AREAS for index in range(len(_rows(area)))]


@cache
def _results(area: str) -> list[str]:
    expressions = json.dumps([expression for expression, _ in _rows(area)])
    return run(f"const EXPRESSIONS = {expressions};{HARNESS}").lines


@pytest.mark.parametrize(("area", "index"), ROWS, ids=[f"{area}-{index}" for area, index in ROWS])
def test_an_expression_gives_what_node_gives(area: str, index: int) -> None:
    """Each expression of a table has its expected result, in order, in one program."""
    expression, expected = _rows(area)[index]

    assert _results(area)[index] == expected, expression
