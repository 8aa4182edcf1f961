"""The page about the engine says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from cloche.engine.abi import StopKind
from cloche.engine.vfs import NAME_LIMIT_BYTES, SYMLINK_HOPS_MAX
from cloche.limits import Limits

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/engine.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_there_are_examples():
    """One about turns, one about files, one about TypeScript."""
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("example", EXAMPLES, ids=["turns", "files", "typescript"])
def test_examples_run(example):
    """Every example of the page runs as it stands."""
    exec(example, {})


def test_the_page_is_one_page():
    """It can be read at once."""
    assert len(TEXT.splitlines()) <= 200


def test_limits_exist():
    """Each limit that the page names is one."""
    limits = Limits()
    named = re.findall(r"`(guests|engine)\.([a-z_]+)`", TEXT)
    named += [("guests", name) for name in re.findall(r"`([a-z]+_[a-z_]*(?:bytes|max))`", TEXT)]
    assert len(named) >= 10
    group_and_field = [(group, name) for group, name in named if name != "catalogue"]
    assert all(hasattr(getattr(limits, group), name) for group, name in group_and_field)
    assert f"{NAME_LIMIT_BYTES} bytes a name" in TEXT
    assert f"{SYMLINK_HOPS_MAX} links" in TEXT


def test_stops_exist():
    """Each kind of stop that the page names is one."""
    named = set(re.findall(r"`Stop\(\"(\w+)\"\)`", TEXT))
    assert len(named) >= 8
    assert named <= set(get_args(StopKind))


def test_files_exist():
    """Each file that the page names is there."""
    named = re.findall(r"`((?:tests|src)/[^`]*|[a-z_]+\.py)`", TEXT)
    assert len(named) >= 5
    assert all((ROOT / n).exists() or (ROOT / "src/cloche/engine" / n).exists() for n in named)
