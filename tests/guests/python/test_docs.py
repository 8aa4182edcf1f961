"""The page about the Python guest says what the guest does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloche.engine.adapters.images import python_artifacts
from cloche.engine.catalogue import CATALOGUE, choose_image

from .driver import output, run

TEXT = (Path(__file__).parents[3] / "docs" / "guests-python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
# As on the page: the name of the module where it is not the name of the package.
MODULES = {
    "scikit-learn": "sklearn",
    "Pillow": "PIL",
    "beautifulsoup4": "bs4",
    "PyYAML": "yaml",
    "python-dateutil": "dateutil",
    "charset-normalizer": "charset_normalizer",
    "more-itertools": "more_itertools",
    "typing-extensions": "typing_extensions",
}


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_print_what_they_say(example: str) -> None:
    """Each `print` with a comment prints that."""
    expected = re.findall(r"print\(.*\)  # (.*)$", example, re.MULTILINE)
    assert expected
    assert output(example).splitlines() == expected


def test_page_is_short() -> None:
    """The page stays readable: at most 150 lines, four examples."""
    assert len(TEXT.splitlines()) <= 150
    assert len(EXAMPLES) == 4


def test_images_are_those_of_the_catalogue() -> None:
    """The table has every Python image, and the libraries that choose it."""
    rows = table("Images")
    names = [row[0].strip("`") for row in rows]
    assert names == [name for name, image in CATALOGUE.items() if image.language == "python"]
    for name, _, libraries in rows[1:]:
        for library in libraries.split(", "):
            assert choose_image("python", f"import {library}") == name.strip("`")


@pytest.mark.timeout(600)
def test_libraries_can_be_imported() -> None:
    """Every package that the page names can be imported."""
    rows = dict(table("Libraries"))
    packages = [name for what in list(rows)[1:] for name in rows[what].split(", ")]
    assert len(packages) > 30
    modules = [MODULES.get(name, name) for name in packages]
    code = "import importlib, warnings\nwarnings.simplefilter('ignore')\n"
    code += f"for name in {modules!r}: importlib.import_module(name)"
    outcome = run(code, image="python+matplotlib")
    assert (outcome.error, outcome.message) == ("", "")


def test_missing_things_are_missing() -> None:
    """The modules that the page calls missing are."""
    for name in ("ssl", "pwd", "curses", "tkinter", "pip", "_decimal", "_hashlib", "_zstd"):
        assert run(f"import {name}").message.startswith("ModuleNotFoundError: "), name


def test_the_size_of_the_module() -> None:
    """The page says how large it is, and why."""
    size_mb = (python_artifacts() / "python-snapshot.wasm").stat().st_size / 1_000_000
    said = re.search(r"The module has (\d+) MB, more than the 10 MB", TEXT)
    assert said is not None
    assert int(said[1]) == round(size_mb)
