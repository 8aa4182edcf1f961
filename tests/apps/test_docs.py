"""The page about apps: every example does what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from apps.support import LIMITS, MAINS, ask, build, host
from cloche.apps.manifest import parse_manifest

PAGE = (Path(__file__).parents[2] / "docs" / "apps.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
ASKED = re.compile(
    r"`(GET|POST) (\S+)` is answered with (\d+):\n\n```text\n(.*?)```", re.DOTALL
)  # fmt: skip
FILES = {"public/index.html": b"", "main.js": b""}


def examples():
    """Return (language, code, [(method, target, status, body)]) of every module on the page."""
    found = []
    blocks = [block for block in BLOCK.finditer(PAGE) if block[1] in MAINS]
    for index, block in enumerate(blocks):
        end = blocks[index + 1].start() if index + 1 < len(blocks) else len(PAGE)
        asked = ASKED.findall(PAGE, block.end(), end)
        found.append((block[1], block[2], asked))
    return found


@pytest.mark.parametrize(("language", "code", "asked"), examples())
def test_examples(language, code, asked):
    """Each module is asked what the page asks it, and answers what the page says."""
    assert asked
    built = build(code, language)
    for method, target, status, body in asked:
        found = ask(built, target, method=method)
        assert found.execution.failure is None, found.printed
        assert (found.status, found.text.strip()) == (int(status), body.strip())


def test_the_events_of_the_page():
    """The module with events gets them."""
    (code,) = (code for _, code, _ in examples() if "scheduled" in code)
    built = build(code)
    assert host().handle_event(built, "job", {"data": 4}).value == {"doubled": 8}
    assert host().handle_event(built, "scheduled", {"name": "tick"}).failure is None


def test_the_manifest_of_the_page():
    """It can be read, and its names are those of the table, all of them."""
    document = json.loads(next(block[2] for block in BLOCK.finditer(PAGE) if block[1] == "json"))
    parse_manifest(document, LIMITS, files=FILES)
    table = PAGE.partition("## The manifest")[2].partition("## ")[0]
    names = set(
        re.findall(r"`(\w+)(?:\.net)?`", " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    )
    assert names == {*document, "language", "image"}


def test_there_are_examples():
    """The expressions above find them."""
    assert len(examples()) == 10
    assert sum(len(asked) for _, _, asked in examples()) == 12
