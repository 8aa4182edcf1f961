"""Mutated inputs for everything that reads bytes of strangers; `bench/web_fuzz.py` goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.testing import web_fuzz
from cloche.testing.web_fuzz import SIZE_MAX, TARGETS, make_input, run_one

ROOT = Path(__file__).parents[2]
COUNT = 1500


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name):
    """Nothing breaks the invariant: see the beginning of `cloche.testing.web_fuzz`."""
    findings = [run_one(name, number) for number in range(COUNT)]
    assert [finding for finding in findings if finding is not None] == []


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_accepted(name):
    """What mutations begin with is sound, so that they come deep."""
    check, seeds = TARGETS[name]
    for seed in seeds:
        check(seed, random.Random(0))
    assert len(seeds) >= 2


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name):
    """Noise breaks nothing either."""

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=300), st.randoms(use_true_random=False))
    def law(data, source):
        TARGETS[name][0](data, source)

    law()


def test_inputs_are_made_again():
    """A number names one input: the same now and in another process."""
    assert make_input("parser", 7, 1) == make_input("parser", 7, 1)
    assert make_input("parser", 7, 1) != make_input("parser", 8, 1)
    sizes = [len(make_input("parser", number, 0)) for number in range(500)]
    assert max(sizes) <= SIZE_MAX
    assert len(set(sizes)) > 50


def test_a_canary(monkeypatch):
    """A reader with a defect is found."""

    def broken(data, source):
        assert b"\xff" not in data, "the canary"

    monkeypatch.setitem(web_fuzz.TARGETS, "parser", (broken, web_fuzz.REQUESTS))
    findings = [found for number in range(COUNT) if (found := run_one("parser", number))]
    assert findings
    assert findings[0].problem.startswith("AssertionError: the canary")
    assert run_one("parser", findings[0].number) == findings[0]


def test_the_command():
    """It counts what it tried, and exits with 0 where nothing was found."""
    done = subprocess.run(
        [sys.executable, "bench/web_fuzz.py", "--count", "60", "--seed", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("60 inputs, seed 3, 0 of a corpus: 0 findings in ")
