"""The root of all errors: one shape, stable codes, nothing lost on the way to another process."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import pkgutil
import re
from pathlib import Path
from typing import get_args

import pytest

import cloche
from cloche.errors import Blame, ClocheError, InternalError

# Arguments for the parameters that constructors of errors have: by annotation, then by name.
BY_ANNOTATION = {"str": "text", "int": 3, "bool": True, "object": "text", "Path": Path("a/b")}
SAMPLES = {"known": ["a", "b"], "names": ["a", "b"], "violations": [], "result": None}


def all_errors():
    """Return every error class of the package."""
    for module in pkgutil.walk_packages(cloche.__path__, "cloche."):
        # What runs inside a guest, or inside a tool such as alembic, is not imported by a host.
        elsewhere = (".guests", ".components.python", "__main__", ".migrations")
        if not any(part in module.name for part in elsewhere):
            importlib.import_module(module.name)
    found, open_ = [], [ClocheError]
    while open_:
        kind = open_.pop()
        found.append(kind)
        open_.extend(kind.__subclasses__())
    # Classes made by a test are not the package's.
    return sorted({kind for kind in found if kind.__module__.startswith("cloche")}, key=str)


ERRORS = all_errors()


def test_errors_are_found():
    """The walk sees the errors of all rooms, or the tests below would prove nothing."""
    rooms = {kind.__module__.split(".")[1] for kind in ERRORS}
    assert {"arch", "engine", "errors", "exec", "gate", "limits"} <= rooms


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_class_data(kind):
    """Each error has a stable code, a blame of the closed set, and a docstring."""
    assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", kind.code)
    assert kind.blame in get_args(Blame)
    assert isinstance(kind.retryable, bool | property)
    assert inspect.getdoc(kind) != inspect.getdoc(Exception)


def test_code_names_one_failure():
    """Two errors share a code only if one is a special case of the other."""
    # A root of a room has no code of its own; it is never raised. INTERNAL is one arm everywhere.
    owners = [kind for kind in ERRORS if "code" in vars(kind) and kind.code != InternalError.code]
    for one in owners:
        for other in owners:
            if one.code == other.code:
                assert issubclass(one, other) or issubclass(other, one), (one, other)


def example(kind):
    """Return an error of this kind, made by its own constructor; None if that needs more."""
    arguments, keywords = [], {}
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        if parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
            continue
        if parameter.default is not parameter.empty and parameter.name != "result":
            continue
        annotation = str(parameter.annotation).split(" | ")[0].strip("'\"")
        if annotation in BY_ANNOTATION:
            value = BY_ANNOTATION[annotation]
        elif parameter.name in SAMPLES:
            value = SAMPLES[parameter.name]
        else:
            return None
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = value
        else:
            arguments.append(value)
    return kind(*arguments, **keywords)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_pickle_keeps_everything(kind):
    """An error that went through pickle says the same and has the same document."""
    error = example(kind)
    if error is None:
        pytest.skip("its constructor takes objects of its room, which tests it")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error) == error.message
    assert copy.to_document() == error.to_document()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_document_is_json(kind):
    """The document of an error is JSON and comes back unchanged."""
    error = example(kind)
    if error is None:
        pytest.skip("its constructor takes objects of its room, which tests it")
    document = error.to_document()
    assert set(document) == {"code", "message", "blame", "retryable", "fields"}
    assert json.loads(json.dumps(document)) == document


def test_fields_are_attributes():
    """Each field can be read as an attribute, and changing the document changes no error."""
    error = ClocheError("the pot is empty", pot="blue", level=0)
    assert (error.pot, error.level) == ("blue", 0)
    document = error.to_document()
    assert document == {
        "code": "CLOCHE_ERROR",
        "message": "the pot is empty",
        "blame": "cloche",
        "retryable": False,
        "fields": {"pot": "blue", "level": 0},
    }
    document["fields"]["pot"] = "red"
    assert error.to_document()["fields"]["pot"] == "blue"


def test_raised_from_a_cause_still_pickles():
    """The cause of an error stays behind; the error itself travels."""

    def fail():
        try:
            {}["x"]
        except KeyError as cause:
            raise ClocheError("no x", key="x") from cause

    with pytest.raises(ClocheError) as caught:
        fail()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.key, str(copy)) == ("x", "no x")
