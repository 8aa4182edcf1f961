"""Tests of the room's errors as data."""

from __future__ import annotations

import inspect
import json
import pickle

import pytest

from cloche.limits import GROUPS, Layer, LimitError, Limits, errors, merge, parse_quantity
from cloche.limits.adapters.settings import load_limits

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LimitError)
]


def raise_all(tmp_path):
    """Return one error of each kind, raised by the real code."""
    calls = [
        lambda: GROUPS["guests"](timeout_ms=0),
        lambda: Limits(guests=object()),
        lambda: merge([Layer(origin="x", values={"a.b": object()})]),
        lambda: merge([Layer(origin="x", values={"capacity.users": object()})]),
        lambda: parse_quantity("x", "ms"),
        lambda: load_limits(config_path=tmp_path / "missing.toml"),
    ]
    found = []
    for call in calls:
        with pytest.raises(LimitError) as caught:
            call()
        found.append(caught.value)
    return found


def test_every_kind_survives_pickling_and_is_json(tmp_path):
    """A real error of each kind keeps its class, message and fields, and they are JSON-ready."""
    raised = raise_all(tmp_path)
    assert {type(error) for error in raised} == set(KINDS) - {LimitError}
    for error in raised:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert again.to_document() == error.to_document()
        assert json.loads(json.dumps(error.to_document())) == error.to_document()
        assert (error.blame, error.retryable) == ("caller", False)


def test_codes_are_stable():
    """The same failure has the same code for ever."""
    assert {kind.__name__: kind.code for kind in KINDS} == {
        "LimitError": "LIMIT_INVALID",
        "LimitFileError": "LIMIT_FILE",
        "LimitQuantityError": "LIMIT_MALFORMED",
        "LimitRangeError": "LIMIT_OUT_OF_RANGE",
        "LimitReadOnlyError": "LIMIT_READ_ONLY",
        "LimitTypeError": "LIMIT_WRONG_TYPE",
        "LimitUnknownError": "LIMIT_UNKNOWN",
    }


def test_what_is_shown_is_short():
    """A long text or representation is cut, so that a message stays a message."""
    assert errors.shown("x" * 1000) == "x" * 128 + "…"
    assert errors.shown([1] * 1000).endswith("…")
    assert errors.shown(2**127) == 2**127
    assert errors.shown(-(2**128)) == "a number of 129 bits"
    assert errors.shown(None) is None
