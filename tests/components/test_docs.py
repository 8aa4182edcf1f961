"""The host on the page of golem:exec is a real one, and its lists are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.components import support

from cloche.components.build import ComponentToolError, wit_path

PAGE = (Path(__file__).parents[2] / "docs" / "golem-exec.md").read_text(encoding="utf-8")


@pytest.mark.timeout(600)  # it may be the one that builds
def test_the_host_on_the_page(monkeypatch, capsys):
    """Prints what its comments say."""
    try:
        monkeypatch.chdir(support.built().parent)
    except ComponentToolError as error:
        pytest.skip(error.message)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    said = re.findall(r"^print.*  # (.*)$", example, re.MULTILINE)
    exec(compile(example, "docs/golem-exec.md", "exec"), {})
    assert capsys.readouterr().out.split() == said == ["42", "2"]


def test_every_function_and_error_is_on_the_page():
    """What the interface has, the page explains."""
    wit = wit_path().read_text(encoding="utf-8")
    functions = re.findall(r"^ *([a-z-]+): func", wit, re.MULTILINE)
    variant = re.search(r"variant error \{\n(.*?)\n  \}", wit, re.DOTALL)[1]
    cases = re.findall(r"^ +([a-z-]+)", variant, re.MULTILINE)
    assert functions
    assert len(cases) == 6
    assert not [name for name in [*functions, *cases] if name not in PAGE]


def departures():
    """Return the part of the page about them."""
    return PAGE.split("### Where it departs, and why", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    ("name", "declaration"),
    [
        ("exec-stream", "resource exec-stream {"),
        ("session.close", "close: func();"),
        ("snippet", "run: func(lang"),
        ("options", "record run-options {"),
        ("language.version", "record language {"),
        ("limits.max-processes", "record limits {"),
    ],
)
def test_departures_are_told_twice(name, declaration):
    """On the page with a reason, and with a comment where the interface has it."""
    cells = [line.split("|") for line in departures().splitlines() if line.startswith("|")]
    rows = [row for row in cells if f"`{name}`" in row[1]]
    assert len(rows) == 1
    assert len(rows[0][2].strip()) > 20
    lines = [line.strip() for line in wit_path().read_text(encoding="utf-8").splitlines()]
    place = next(at for at, line in enumerate(lines) if line.startswith(declaration))
    assert lines[place - 1].startswith("/// ")


def test_every_departure_is_checked():
    """The list above is that of the page."""
    assert len(re.findall(r"^\| (?!departure)[^-]", departures(), re.MULTILINE)) == 5


def test_what_is_not_enforced_is_on_a_page():
    """What the component leaves to its host on its page, what nobody can on that of limitations."""
    left = PAGE.split("### What it leaves to its host", 1)[1].split("\n## ", 1)[0]
    for name in ("limits.time-ms", "limits.memory-bytes"):
        assert f"`{name}` is ignored" in left
    limitations = (Path(__file__).parents[2] / "docs" / "limitations.md").read_text("utf-8")
    assert (
        "`max-processes` and a language's version are accepted and have no meaning" in limitations
    )
