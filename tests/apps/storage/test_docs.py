"""The page of storage says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from apps.support import ask, build
from cloche.apps.storage import errors
from cloche.apps.storage.changes import parse_changes
from cloche.apps.storage.errors import AppStorageError, OperatorUnknownError
from cloche.apps.storage.query import OPERATORS
from cloche.limits import Limits

from .support import opened

PAGE = Path(__file__).parents[3] / "docs" / "app-storage.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(js|python)\n(.*?)```", TEXT, re.DOTALL)
APPS = [(kind, code) for kind, code in BLOCKS if "handle(" in code or "export default" in code]
PAGES = [code for kind, code in BLOCKS if (kind, code) not in APPS]


@pytest.mark.parametrize(("kind", "code"), APPS)
def test_apps_answer_what_the_page_says(tmp_path, kind, code):
    """The last comment of each app is what it answers."""
    language = "javascript" if kind == "js" else "python"
    expected = re.findall(r"^(?://|#) (.*)$", code, re.MULTILINE)[-1]
    built = build(code, language, storage=["blobs", "docs", "jobs", "kv", "sql"])
    with opened(tmp_path, str(tmp_path / "cloche.db")) as storage:
        asked = ask(built, handlers=storage.handlers("shop"))
    assert asked.execution.failure is None, asked.printed
    assert asked.json == json.loads(expected)


def test_examples_for_hosts_run():
    """The other Python examples run as they stand."""
    assert len(APPS) == 5
    assert len(PAGES) == 1
    for code in PAGES:
        exec(code, {})


def test_every_error_is_in_the_table():
    """Each code is there once, and whether a retry helps is that of the class."""
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| .* \| (.*) \|$", TEXT, re.MULTILINE))
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, AppStorageError)
        and value is not AppStorageError
    ]
    assert set(rows) == {kind.code for kind in classes} | {"STORAGE_UNAVAILABLE"}
    for kind in classes:
        if kind.retryable:
            assert rows[kind.code] != "no", kind


def test_every_operator_is_in_the_table():
    """Operators of queries and of changes."""
    named = set(re.findall(r"\$[a-z]+", TEXT))
    with pytest.raises(OperatorUnknownError) as raised:
        parse_changes({"$x": {}}, operator_count_max=1)
    assert named == {*OPERATORS, *raised.value.known.split(), "$each"}


def test_every_limit_that_is_named_exists():
    """Names of limits are those of the group."""
    named = set(re.findall(r"`apps\.([a-z_]+)`", TEXT))
    assert named
    assert named <= set(Limits().apps.to_dict())
