"""Keeps `docs/decisions/dependencies.md` and `pyproject.toml` saying the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "decisions" / "dependencies.md"
NAME = re.compile(r"[A-Za-z0-9._-]+")
ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
HEADINGS = {"At run time": "runtime", "To build": "build"}
EXTRA = re.compile(r"\(`(\w+)`\)")  # other headings name the extra


def required(project):
    """Return the names of what a pyproject.toml requires, by group."""
    groups = {
        "build": project["build-system"]["requires"],
        "runtime": project["project"]["dependencies"],
        **project["project"]["optional-dependencies"],
    }
    return {group: sorted(NAME.match(item)[0] for item in items) for group, items in groups.items()}


def documented(text):
    """Return the names that stand in the tables of the page, by group."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {
        HEADINGS.get(title) or EXTRA.search(title)[1]: sorted(ROW.findall(body))
        for title, _, body in (section.partition("\n") for section in sections)
    }


def rows(text):
    """Return the cells of every row that names a requirement."""
    lines = (line for line in text.splitlines() if ROW.match(line))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture(scope="module")
def project():
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_dependency_has_its_row_and_no_row_is_left_over(project):
    """Each group of requirements is a section, and both hold the same names."""
    assert documented(PAGE.read_text(encoding="utf-8")) == required(project)


def test_every_row_says_what_it_is_for():
    """Use and bounds are never empty; the reason may be plain where there is one of its kind."""
    for name, use, _, bounds in rows(PAGE.read_text(encoding="utf-8")):
        assert use, name
        assert bounds, name


def test_bounds_are_those_of_the_project(project):
    """Every version in pyproject.toml stands in the bounds of its row."""
    groups = [
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    ]
    bounds = {
        (name.strip("`"), bound) for name, _, _, bound in rows(PAGE.read_text(encoding="utf-8"))
    }
    for item in (item for group in groups for item in group):
        name = NAME.match(item)[0]
        said = " ".join(bound for of, bound in bounds if of == name)
        for version in re.findall(r"[=<>]=?\s*([0-9][0-9.]*)", item):
            assert re.search(rf"(?<![0-9.]){re.escape(version)}(?![0-9]|\.[0-9])", said), item


def test_a_missing_row_and_a_spare_one_are_found():
    """The comparison sees both directions, and which group a name belongs to."""
    text = (
        "## To build\n\n| `one` | x | y | z |\n\n## To develop (`dev`)\n\n| `two` | x | y | z |\n"
    )
    project = {
        "build-system": {"requires": ["one>=1"]},
        "project": {"dependencies": [], "optional-dependencies": {"dev": ["two[extra]==2"]}},
    }
    assert documented(text) == {"build": ["one"], "dev": ["two"]}
    assert required(project) == {"build": ["one"], "runtime": [], "dev": ["two"]}
