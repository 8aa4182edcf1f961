"""The page of the server says what the code does."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from cloche.limits.web_groups import WebLimits
from cloche.web.adapters import server

TEXT = (Path(__file__).parents[3] / "docs/web/server.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example, capsys):
    """Every example of the page runs as it stands."""
    names = {"__name__": "example"}
    exec(compile(example, "example", "exec"), names)
    if "main" in names:
        asyncio.run(names["main"]())
        assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_there_are_examples():
    """The expression above finds them."""
    assert len(EXAMPLES) == 2


def test_limits_exist():
    """Each limit that the page names is one of the group."""
    table = TEXT.partition("## What a client can hold")[2].partition("## Under")[0]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")]
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert len(named) == 16
    assert named <= set(WebLimits().to_dict())


def test_exit_codes():
    """The table has the exit codes."""
    table = TEXT.partition("| exit code")[2].partition("\n\n")[0]
    listed = {int(number) for number in re.findall(r"^\| (\d) \|", table, re.MULTILINE)}
    assert listed == {server.EXIT_DRAINED, server.EXIT_FAILED, server.EXIT_CUT}
