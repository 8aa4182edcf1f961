"""The pages on sessions and durability say what happens: every example of them is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tests.cli.support import environment

from cloche.cli.session import app
from cloche.exec import errors
from cloche.exec.errors import ExecError
from cloche.exec.session import sessions_of
from cloche.exec.session_log import TAIL_COUNT_MAX
from cloche.exec.stores import store_at
from cloche.limits import Limits
from cloche.store.rows import RunStatus

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("sessions", "durability")
}
COUNTS = {"sessions": (8, 2), "durability": (3, 1)}
LINES_MAX = 280


def blocks(page, language):
    """Return the examples of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def numbered(language):
    """Return every example as page and number, for the parameters of a test."""
    return [(page, number) for page in PAGES for number in range(len(blocks(page, language)))]


@pytest.mark.parametrize("page", PAGES)
def test_there_are_examples(page):
    """Each page has examples of both kinds and a length that people read."""
    assert (len(blocks(page, "python")), len(blocks(page, "console"))) == COUNTS[page]
    assert PAGES[page].count("\n") <= LINES_MAX


@pytest.fixture
def variables(tmp_path, monkeypatch):
    """An environment with a store of its own, in which `cloche` is this package."""
    program = tmp_path / "bin/cloche"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from cloche.cli import main; main()" "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    monkeypatch.setenv("CLOCHE_STORE", str(tmp_path / "cloche.db"))
    monkeypatch.chdir(tmp_path)
    return environment(PATH=path, CLOCHE_STORE=str(tmp_path / "cloche.db"))


@pytest.mark.parametrize(("page", "number"), numbered("python"))
def test_python_example(page, number, variables):
    """Each example in Python runs as it stands, and says by `assert` what it shows."""
    example = blocks(page, "python")[number]
    assert "assert" in example
    try:
        exec(example, {"__name__": "example"})
    finally:
        store = store_at(variables["CLOCHE_STORE"])
        for opened in {id(kept): kept for kept in (store, store_at(None))}.values():
            sessions_of(opened).close()
            opened.close()


@pytest.mark.timeout(600)  # a process for each command
@pytest.mark.parametrize(("page", "number"), numbered("console"))
def test_console_example(page, number, variables, tmp_path):
    """Each command prints what the page shows below it."""
    for part in blocks(page, "console")[number].split("\n$ "):
        command, _, shown = part.removeprefix("$ ").partition("\n")
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=tmp_path,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.stdout.rstrip("\n"), done.stderr) == (shown.rstrip("\n"), ""), command


def first_cells(page, heading):
    """Return the first cells of the table under a heading."""
    table = PAGES[page].split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]]


def test_every_command_is_there():
    """The table of commands has each command of `cloche session`, and no other."""
    named = re.findall(r"`([a-z]+)(?: [^`]*)?`", " ".join(first_cells("sessions", "command")))
    assert sorted(named) == sorted(command.name for command in app.registered_commands)


def test_every_error_is_there():
    """The table of errors has each class that is not an arm of golem:exec, with its code."""
    row = r"^\| `(\w+Error)` \| ([A-Z_]+) \| .* \| (.*) \|$"
    rows = re.findall(row, PAGES["sessions"], re.MULTILINE)
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type)
        and kind.__module__ == errors.__name__
        and not issubclass(kind, ExecError)
        and issubclass(kind, errors.ClocheError)
    }
    assert {name for name, _, _ in rows} == set(kinds)
    for name, code, helps in rows:
        assert code == kinds[name].code
        assert helps.startswith("yes") == kinds[name].retryable


def test_every_status_is_there():
    """The table of runs has each status of the store."""
    assert {cell.strip("`") for cell in first_cells("durability", "status")} == set(
        get_args(RunStatus)
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_limit_is_one(page):
    """What the pages call a limit has that name."""
    groups = Limits().to_dict()
    named = re.findall(r"`(sessions|guests)\.(\w+)`", PAGES[page])
    assert named
    assert [name for group, name in named if name not in groups[group]] == []


def test_the_tail_is_as_long_as_the_page_says():
    """The number of operations that bring a snapshot in any case."""
    assert f"at {TAIL_COUNT_MAX} operations" in PAGES["durability"]
