"""Tests of the gate's errors as data."""

from __future__ import annotations

import inspect
import json
import pickle

import pytest

from cloche.errors import ClocheError
from cloche.gate import errors

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ClocheError) and kind.__module__ == errors.__name__
]
# What the parameters of the constructors are given, by name.
SAMPLES = {
    "recorded": {"kind": "tool"},
    "requested": None,
    "index": 3,
    "missing_bytes": 4,
    "found": 2,
    "expected": 1,
    "limit_bytes": 10,
    "size_bytes": 11,
    "limit_value": 12,
    "used": 13,
    "record_count": 14,
}


def make(kind):
    """Return an error of this class."""
    if kind is errors.JournalError:
        return kind("a message")
    names = inspect.signature(kind).parameters
    numeric = kind in (errors.BudgetExhaustedError, errors.BudgetConcurrencyError)
    values = {name: SAMPLES.get(name, f"the {name}") for name in names}
    return kind(**{**values, "limit": 5} if numeric else values)


@pytest.mark.parametrize("kind", CLASSES)
def test_round_trip(kind):
    """An error pickles, is JSON-ready, and has its fields as attributes."""
    error = make(kind)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.to_document()) == (kind, error.to_document())
    assert json.loads(json.dumps(error.to_document())) == error.to_document()
    assert all(getattr(error, name) == value for name, value in error.fields.items())


def test_codes_are_unique():
    """No two classes share a code."""
    assert len({kind.code for kind in CLASSES}) == len(CLASSES)


def test_codes_are_stable():
    """The codes that guests and hosts rely on (lines are added, never changed)."""
    assert {kind.code for kind in CLASSES} >= {
        "APPROVAL_UNAVAILABLE",
        "BUDGET_CONCURRENCY",
        "BUDGET_EXHAUSTED",
        "DIVERGENCE",
        "EFFECT_INVALID",
        "GATE_CLOSED",
        "GATE_MISUSE",
        "JOURNAL_CORRUPT",
        "JOURNAL_EXISTS",
        "JOURNAL_STORAGE",
        "JOURNAL_TOO_LARGE",
        "JOURNAL_TRUNCATED",
        "JOURNAL_UNFINISHED",
        "JOURNAL_VALUE_TOO_LARGE",
        "JOURNAL_VERSION",
        "POLICY_DENIED",
        "POLICY_INVALID",
        "VALUE_INVALID",
    }
