"""Tests of the engine's errors as data."""

from __future__ import annotations

import inspect
import json
import pickle
from pathlib import Path

import pytest

from cloche.engine import errors
from cloche.errors import ClocheError

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ClocheError) and kind.__module__ == errors.__name__
]
SAMPLES = {"known": ["a", "b"], "line": 3, "path": Path("/key"), "text": "let c: = 3;"}


def make(kind):
    """Return an error of this class."""
    if "message" in inspect.signature(kind).parameters and kind is not errors.KeyFileError:
        return kind("a message", detail=1)
    names = inspect.signature(kind).parameters
    return kind(**{name: SAMPLES.get(name, f"the {name}") for name in names})


@pytest.mark.parametrize("kind", CLASSES)
def test_round_trip(kind):
    """An error pickles, is JSON-ready, and has its fields as attributes."""
    error = make(kind)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.to_document()) == (kind, error.to_document())
    assert json.loads(json.dumps(error.to_document())) == error.to_document()
    assert all(getattr(error, name) == value for name, value in error.fields.items())


def test_codes_are_stable():
    """Code, who is to blame, and whether a retry helps, of each class."""
    assert {kind.__name__: (kind.code, kind.blame, kind.retryable) for kind in CLASSES} == {
        "CacheError": ("CACHE_UNUSABLE", "environment", False),
        "CompileLockError": ("COMPILE_BUSY", "environment", True),
        "ImageError": ("IMAGE_UNAVAILABLE", "environment", False),
        "InstanceClosedError": ("INSTANCE_CLOSED", "caller", False),
        "KeyFileError": ("KEY_UNUSABLE", "environment", False),
        "SnapshotError": ("SNAPSHOT_REFUSED", "caller", False),
        "TypeScriptError": ("TYPESCRIPT_INVALID", "guest", False),
        "UnknownImageError": ("IMAGE_UNKNOWN", "caller", False),
    }


@pytest.mark.parametrize(
    ("line", "text", "message", "display"),
    [
        (3, "let c: = 3;", "a.ts:3: no", "a.ts:3\nlet c: = 3;\nSyntaxError: no"),
        (3, "", "a.ts:3: no", "a.ts:3\nSyntaxError: no"),
        (0, "", "a.ts: no", "a.ts\nSyntaxError: no"),
    ],
)
def test_typescript_errors_look_like_a_compilers(line, text, message, display):
    """Place, text and reason, each where it is known; the same after pickling."""
    error = errors.TypeScriptError(filename="a.ts", reason="no", line=line, text=text)
    assert (error.message, error.display()) == (message, display)
    assert pickle.loads(pickle.dumps(error)).display() == display
