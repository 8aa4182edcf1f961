"""The tests of the parser notice when it is broken; `bench/http1_mutants.py` tries all ways."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[3] / "bench/http1_mutants.py"


@pytest.fixture(scope="module")
def mutants():
    """Return the command as a module."""
    spec = importlib.util.spec_from_file_location("http1_mutants", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_mutant_is_a_change(mutants, tmp_path):
    """What each exchanges is still in the source, once, and it is another program then."""
    assert len(mutants.MUTANTS) >= 40
    for number, mutant in enumerate(mutants.MUTANTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        mutants.build(folder, mutant)
        changed = folder / "cloche/web/http1" / mutant[0]
        compile(changed.read_text(), str(changed), "exec")
        assert changed.read_text() != (mutants.SOURCE / "web/http1" / mutant[0]).read_text()


@pytest.mark.parametrize("number", [0, 18, 34])
def test_mutants_are_noticed(mutants, number):
    """One of each kind: framing, grammar, limits."""
    assert not mutants.survives(mutants.MUTANTS[number])
