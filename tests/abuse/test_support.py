"""The helpers of these tests: an attack that succeeds must not look like one that fails."""

from __future__ import annotations

import pytest

from abuse import support


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_harmless_code_completes(language):
    """What the program printed comes back without the line that every attack prints first."""
    code = {"python": "print(1)", "javascript": "console.log(1)"}[language]
    assert support.completes(code, language) == "1\n"


@pytest.mark.parametrize(
    ("expect", "code"),
    [
        (support.completes, "1 / 0"),
        (support.times_out, "print(1)"),
        (support.times_out, "1 / 0"),
        (lambda code, language: support.exceeds("memory", code, language), "print(1)"),
        (lambda code, language: support.exceeds("output", code, language), "raise MemoryError"),
        (lambda code, language: support.fails("KeyError", code, language), "1 / 0"),
        (lambda code, language: support.fails("KeyError", code, language), "print(1)"),
        (
            lambda code, language: support.fails("RecursionError", code, language),
            "raise RecursionError",
        ),
    ],
)
def test_an_ending_that_is_another_is_noticed(expect, code):
    """Each expectation fails when the run ends in another way."""
    with pytest.raises(AssertionError):
        expect(code, "python")


def test_the_next_run_is_checked(monkeypatch):
    """An attack after which runs give wrong answers is noticed."""
    monkeypatch.setitem(support._NEXT_ANSWER, "python", "another")
    with pytest.raises(AssertionError):
        support.attack("", "python")


def test_lost_output_is_noticed():
    """A run whose first line is missing did not keep its output."""
    with pytest.raises(AssertionError):
        support.attack("", "python", limits={"output_limit_bytes": 1})


@pytest.mark.parametrize(
    ("code", "language"), [("while True: pass", "python"), ("for (;;);", "javascript")]
)
def test_time_begins_with_the_attack(code, language):
    """A time limit that is shorter than any beginning ends the attack, and not the beginning."""
    support.times_out(code, language, limits={"timeout_ms": 1})
