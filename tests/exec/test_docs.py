"""The page on running programs says what happens: every example of it is run."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.support import environment

import cloche
from cloche.cli.run import run_command
from cloche.exec import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/running.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CONSOLES = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_examples():
    """The page has examples of both kinds, or the tests below would prove nothing."""
    assert (len(PYTHON), len(CONSOLES)) == (8, 3)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_example(number):
    """Each example in Python runs as it stands, and says by `assert` what it shows."""
    assert "assert" in PYTHON[number]
    exec(PYTHON[number], {"__name__": "example"})


@pytest.fixture
def path(tmp_path):
    """A search path on which `cloche` is this package."""
    program = tmp_path / "bin/cloche"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from cloche.cli import main; main()" "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


@pytest.mark.timeout(600)  # a process for each command
@pytest.mark.parametrize("number", range(len(CONSOLES)))
def test_console_example(number, path, tmp_path):
    """Each command prints what the page shows below it."""
    for part in CONSOLES[number].split("$ ")[1:]:
        command, _, shown = part.partition("\n")
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=tmp_path,
            env=environment(PATH=path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.stdout, done.stderr) == (shown, ""), command


def rows(heading):
    """Return the first cells of the table under a heading."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]]


def test_every_option_is_there():
    """The table of options has each option of `cloche run`, and no other."""
    found = set(re.findall(r"--[a-z]+", " ".join(rows("option"))))
    declared = set()
    for parameter in inspect.signature(run_command, eval_str=True).parameters.values():
        # The first name of an annotated option stands where its default would.
        option = parameter.annotation.__metadata__[0]
        declared.update([str(option.default), *(option.param_decls or ())])
    assert found == {name for name in declared if name.startswith("--")} - {"--code"}
    assert "`-c CODE`" in rows("option")[0]


def test_every_error_is_there():
    """The table of exceptions has each arm by the name of its class and of its case."""
    named = [name.strip("`") for name in rows("exception")]
    assert all(hasattr(cloche, name) for name in named)
    arms = {
        kind.__name__: kind.case
        for kind in vars(errors).values()
        if isinstance(kind, type) and "case" in vars(kind)
    }
    assert set(named) - {"InvalidRunError"} == set(arms)
    for name, case in arms.items():
        assert f"| `{name}` | {case} |" in PAGE
