"""The Python types carry exactly the names, cases and fields of `wit/golem-exec.wit`."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
import typing
from pathlib import Path

import pytest

from cloche.exec import api, errors
from cloche.exec import types as exec_types

WIT = Path(__file__).parents[2] / "wit" / "golem-exec.wit"
_ITEM = re.compile(r"\b(record|enum|variant|resource|interface|world)\s+([\w-]+)\s*\{")
_FUNCTION = re.compile(r"^\s*([\w-]+): func\((.*?)\)(?: -> (.*?))?;", re.MULTILINE)


def without_comments():
    """Return the WIT without comments."""
    return re.sub(r"//.*", "", WIT.read_text(encoding="utf-8"))


def body_at(text, start):
    """Return what is between the brace before `start` and its partner."""
    depth, position = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        position += 1
    return text[start : position - 1]


def split_top(text):
    """Split at commas that are in no brackets."""
    parts, depth, current = [], 0, ""
    for letter in text:
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [part.strip() for part in [*parts, current] if part.strip()]


def items(kind):
    """Return the items of one kind: name -> list of members as text."""
    text = without_comments()
    return {
        found.group(2): split_top(body_at(text, found.end()))
        for found in _ITEM.finditer(text)
        if found.group(1) == kind
    }


def fields(members):
    """Return name -> type of the members of a record."""
    return dict(re.fullmatch(r"([\w-]+):\s*(.+)", member).groups() for member in members)


def cases(members):
    """Return name -> payload (or None) of the cases of a variant."""
    return dict(re.fullmatch(r"([\w-]+)(?:\((.+)\))?", member).groups() for member in members)


def camel(name):
    """Return a WIT name as a class is called."""
    return "".join(part.capitalize() for part in name.split("-"))


_SIMPLE = {
    "string": str,
    "u64": int,
    "u32": int,
    "s32": int,
    "list<u8>": bytes,
}


def python_type(wit):
    """Return the Python type that stands for a WIT type."""
    wit = wit.strip()
    if wit in _SIMPLE:
        return _SIMPLE[wit]
    if found := re.fullmatch(r"option<(.+)>", wit):
        return python_type(found.group(1)) | None
    return getattr(exec_types, camel(wit))


RECORDS = {name: value for name, value in items("record").items() if name != "run-options"}


def test_the_parser_sees_everything():
    """The small parser finds each item of the file, or the tests below would prove nothing."""
    assert set(items("record")) == {
        "language",
        "file",
        "limits",
        "stage-result",
        "exec-result",
        "run-options",
    }
    assert set(items("enum")) == {"language-kind", "encoding"}
    assert set(items("variant")) == {"error", "exec-event"}
    assert set(items("resource")) == {"exec-stream", "session"}
    assert set(items("world")) == {"exec-library"}
    assert without_comments().startswith("package golem:exec@1.0.0;")
    names = {found.group(1) for found in _FUNCTION.finditer(without_comments())}
    assert {"run", "run-streaming", "get-next", "download", "close"} <= names


@pytest.mark.parametrize("name", RECORDS)
def test_record(name):
    """Each record is a frozen dataclass with the same fields, in the same order, of these types."""
    kind = getattr(exec_types, camel(name))
    hints = typing.get_type_hints(kind, vars(exec_types))
    expected = {
        field.replace("-", "_"): python_type(wit) for field, wit in fields(RECORDS[name]).items()
    }
    assert hints == expected
    assert [field.name for field in dataclasses.fields(kind)] == list(expected)
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)


@pytest.mark.parametrize("name", items("enum"))
def test_enum(name):
    """Each enum has the same cases, and the name of each is its value."""
    kind = getattr(exec_types, camel(name))
    assert issubclass(kind, enum.Enum)
    assert [case.value for case in kind] == items("enum")[name]
    assert [case.name for case in kind] == [value.upper() for value in items("enum")[name]]


def test_errors():
    """Each arm of the error variant has one exception, and there is no other exception."""
    found = {
        kind.case: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ExecError) and "case" in vars(kind)
    }
    arms = cases(items("variant")["error"])
    assert list(found) == list(arms)
    carrying = [name for name, payload in arms.items() if payload == "stage-result"]
    assert carrying == ["compilation-failed", "runtime-failed"]
    # Python gives more than the WIT does: each exception can carry the whole result.
    for kind in found.values():
        assert "result" in inspect.signature(kind).parameters


def test_events():
    """Each case of the event variant is a class of that name."""
    arms = cases(items("variant")["exec-event"])
    union = typing.get_args(exec_types.ExecEvent)
    assert [kind.__name__ for kind in union] == [camel(name) for name in arms]
    payloads = {kind.__name__: typing.get_type_hints(kind, vars(exec_types)) for kind in union}
    assert payloads == {
        "StdoutChunk": {"data": bytes},
        "StderrChunk": {"data": bytes},
        "Finished": {"result": exec_types.ExecResult},
        "Failed": {"error": errors.ExecError},
    }


def test_run_options_are_arguments():
    """Each run option is an argument of run, and of run_streaming."""
    options = {name.replace("-", "_") for name in fields(items("record")["run-options"])}
    assert options == {"stdin", "args", "env", "limits"}
    assert options <= set(inspect.signature(api.make_request).parameters)
    for function in (api.run, api.run_streaming, api.events):
        parameters = inspect.signature(function).parameters
        assert parameters["options"].kind is inspect.Parameter.VAR_KEYWORD


def test_functions_exist():
    """The functions of the executor interface are there by their names."""
    assert isinstance(api.run, types.FunctionType)
    assert inspect.isasyncgenfunction(api.run_streaming)
    assert inspect.isgeneratorfunction(api.events)


def test_language_version_is_ignored():
    """A version is accepted and means nothing: each kind has one."""
    kind = exec_types.LanguageKind.PYTHON
    assert exec_types.Language(kind=kind, version="2.7").kind is kind
    assert exec_types.Language(kind=kind).version is None


def test_encoding_defaults_to_none():
    """The optional fields of all records are None unless given, except results' stages."""
    assert exec_types.File(name="a", content=b"").encoding is None
    assert exec_types.Limits() == exec_types.Limits(
        time_ms=None, memory_bytes=None, file_size_bytes=None, max_processes=None
    )
