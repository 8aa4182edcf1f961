"""Keeps `docs/parity.md` honest: what it says is there is there, and its sums are right.

The page is written by hand. `problems` finds everything that is wrong with it at once; a wrong
summary is answered with the rows that belong there.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "parity.md"
STATES = ("done", "partial", "planned")
ROOMS = {
    "apps",
    "arch",
    "bench",
    "cli",
    "docs",
    "egress",
    "engine",
    "exec",
    "gate",
    "guests",
    "limits",
    "script",
    "server",
    "testing",
    "web",
}
NO_TEST = "none"
HEADING = re.compile(r"^## Seed (\d{3}): (.+)$")
IDENTIFIER = re.compile(r"^(\d{3})-[A-Z]+\d{2}[a-z]?$")
SUM = re.compile(r"^\| (\d{3}|all)\b[^|]*\|(?: \d+ \|){4}$")
# Rows are added, never removed: what a source asks for does not go away.
LEAST = {"001": 161, "002": 209, "003": 186, "004": 163}


@cache
def functions(path: Path) -> frozenset[str]:
    """Return the names of all functions of a Python file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def cells(line):
    """Return the cells of a table row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def quoted(cell):
    """Return the `quoted` parts of a cell, or None where there is anything else."""
    parts = [part.strip() for part in cell.split(",")]
    if not all(re.fullmatch(r"`[^`]+`", part) for part in parts):
        return None
    return [part.strip("`") for part in parts]


def place_problems(name, where, root):
    """Return what is wrong with the places of a done or partial row."""
    places = quoted(where)
    if places is None:
        return [f"{name}: where is {where!r}; it must be `paths`"]
    return [f"{name}: there is no {place}" for place in places if not (root / place).exists()]


def proof_problems(name, tests, root):
    """Return what is wrong with the proving tests of a done or partial row."""
    found = []
    for test in quoted(tests) or [""]:
        path, separator, function = test.partition("::")
        if not separator or not function.startswith("test_"):
            found.append(f"{name}: proving test is {tests!r}; it must be `path::test`")
        elif not (root / path).is_file():
            found.append(f"{name}: there is no {path}")
        elif function not in functions(root / path):
            found.append(f"{name}: {path} has no {function}")
    return found


def row_problems(row, seed, root):
    """Return what is wrong with one row of a table."""
    if len(row) != 5:
        return [f"{row[0]}: has {len(row)} cells instead of 5"]
    name, requirement, state, where, tests = row
    found = []
    match = IDENTIFIER.match(name)
    if match is None or match[1] != seed:
        found.append(f"{name}: is no id of seed {seed}")
    if not requirement:
        found.append(f"{name}: says no requirement")
    if state not in STATES:
        found.append(f"{name}: status is {state!r}; it must be one of {', '.join(STATES)}")
    elif state == "planned":
        if where not in ROOMS:
            found.append(f"{name}: where is {where!r}; a planned row names its room")
        if tests != NO_TEST:
            found.append(f"{name}: is planned and names a test")
    else:
        found += place_problems(name, where, root) + proof_problems(name, tests, root)
    return found


def read(text):
    """Return the rows of each seed, its title, and the rows of the summary."""
    rows: dict[str, list[list[str]]] = {}
    titles: dict[str, str] = {}
    sums = []
    seed = None
    for line in text.splitlines():
        heading = HEADING.match(line)
        if heading:
            seed = heading[1]
            titles[seed], rows[seed] = heading[2], []
        elif SUM.match(line):
            sums.append(line)
        elif seed and line.startswith("|") and not line.startswith(("| id |", "|---")):
            rows[seed].append(cells(line))
    return rows, titles, sums


def summary(rows, titles):
    """Return the rows that the summary must have."""
    total: Counter[str] = Counter()
    lines = []
    for seed, entries in rows.items():
        states = Counter(row[2] if len(row) > 2 else "" for row in entries)
        total += states
        counts = [len(entries), *(states[state] for state in STATES)]
        lines.append(f"| {seed} {titles[seed]} | " + " | ".join(map(str, counts)) + " |")
    counts = [sum(map(len, rows.values())), *(total[state] for state in STATES)]
    return [*lines, "| all | " + " | ".join(map(str, counts)) + " |"]


def problems(text, least, root):
    """Return everything that is wrong with a page."""
    rows, titles, sums = read(text)
    found = [
        problem for seed in rows for row in rows[seed] for problem in row_problems(row, seed, root)
    ]
    names = Counter(row[0] for entries in rows.values() for row in entries)
    found += [f"{name}: stands there {count} times" for name, count in names.items() if count > 1]
    for seed, count in least.items():
        if len(rows.get(seed, ())) < count:
            found.append(f"seed {seed} has {len(rows.get(seed, ()))} rows of at least {count}")
    if sums != summary(rows, titles):
        found.append("the summary must be:\n" + "\n".join(summary(rows, titles)))
    return found


def test_the_page_is_honest():
    """Ids, states, places, tests and sums of the page hold."""
    assert problems(PAGE.read_text(encoding="utf-8"), LEAST, ROOT) == []


SAMPLE = """\
| 001 Things | 2 | 1 | 0 | 1 |
| all | 2 | 1 | 0 | 1 |

## Seed 001: Things

| id | requirement | status | where | proving test |
|---|---|---|---|---|
| 001-A01 | it works | done | `src/a.py` | `tests/test_a.py::test_it` |
| 001-A02 | it shines | planned | web | none |
"""


@pytest.fixture
def root(tmp_path):
    """Return a project with one module and one test."""
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "src" / "a.py").write_text("")
    (tmp_path / "tests" / "test_a.py").write_text("class TestA:\n    def test_it(self): ...\n")
    return tmp_path


def test_a_true_page_has_no_problem(root):
    """The sample below is right, so every problem below comes from what is changed in it."""
    assert problems(SAMPLE, {"001": 2}, root) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("001-A02 |", "001-A01 |", ["001-A01: stands there 2 times"]),
        ("001-A02 |", "002-A02 |", ["002-A02: is no id of seed 001"]),
        ("001-A02 |", "A2 |", ["A2: is no id of seed 001"]),
        ("it shines |", " |", ["001-A02: says no requirement"]),
        ("| it shines |", "| it | shines |", ["001-A02: has 6 cells instead of 5", "summary"]),
        (
            "planned | web",
            "todo | web",
            ["001-A02: status is 'todo'; it must be one of done, partial, planned", "summary"],
        ),
        ("| web |", "| moon |", ["001-A02: where is 'moon'; a planned row names its room"]),
        ("| none |", "| `tests/test_a.py::test_it` |", ["001-A02: is planned and names a test"]),
        ("`src/a.py`", "`src/b.py`", ["001-A01: there is no src/b.py"]),
        ("`src/a.py`", "src/a.py", ["001-A01: where is 'src/a.py'; it must be `paths`"]),
        (
            "`tests/test_a.py::test_it`",
            "none",
            ["001-A01: proving test is 'none'; it must be `path::test`"],
        ),
        ("::test_it", "::test_that", ["001-A01: tests/test_a.py has no test_that"]),
        ("test_a.py::", "test_b.py::", ["001-A01: there is no tests/test_b.py"]),
        (
            "| 001-A02 | it shines | planned | web | none |\n",
            "",
            ["seed 001 has 1 rows", "summary"],
        ),
        ("| all | 2 |", "| all | 3 |", ["summary"]),
        ("| 001 Things | 2 | 1 |", "| 001 Things | 2 | 2 |", ["summary"]),
    ],
)
def test_what_is_wrong_is_found(root, old, new, expected):
    """Each kind of mistake is named, with the row that has it."""
    text = SAMPLE.replace(old, new)
    assert text != SAMPLE
    found = problems(text, {"001": 2}, root)
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith("the summary must be:" if start == "summary" else start)


def test_the_summary_is_told():
    """A wrong sum is answered with the rows that belong there."""
    rows, titles, sums = read(SAMPLE)
    assert summary(rows, titles) == sums
