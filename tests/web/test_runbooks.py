"""The runbooks, the change policy and the list of tasks name what is there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import typer.main

from cloche.cli.app import _COMMANDS, _app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs/runbooks/release.md",
    ROOT / "docs/runbooks/debugging.md",
    ROOT / "docs/architecture/change-policy.md",
    ROOT / "docs/web/tasks.md",
]
CODE = re.compile(r"`([^`\n]+)`")
NAMES = {page.name: sorted(set(CODE.findall(page.read_text(encoding="utf-8")))) for page in PAGES}
COMMANDS = typer.main.get_command(_app(tuple(_COMMANDS)))


def every(start):
    """Return all names in code that begin so, with their page."""
    return [(page, name) for page, names in NAMES.items() for name in names if start(name)]


def is_command(name):
    """Whether it is a command of ours, or an option of one."""
    return name.startswith(("cloche ", "--")) and not name.startswith("--randomly")


def check_command(name):
    """Check that a command is there, with its options."""
    words, found = name.split()[1:], COMMANDS
    while words and hasattr(found, "commands"):
        if words[0].startswith("--"):
            break
        assert words[0] in found.commands, name
        found = found.commands[words.pop(0)]
    known = {option for each in found.params for option in each.opts}
    for word in words:
        if word.startswith("--"):
            assert word in {*known, "--help", "--version"}, name


@pytest.mark.parametrize(("page", "name"), every(is_command))
def test_commands(page, name):
    """Each command is there, with each option that is named."""
    check_command(name if name.startswith("cloche") else f"cloche web serve {name}")


@pytest.mark.parametrize(("page", "name"), every(lambda name: name.startswith("cloche.")))
def test_names(page, name):
    """Each Python name is there."""
    words, rest = name.split("."), []
    while words:
        try:
            found = import_module(".".join(words))
        except ModuleNotFoundError:
            rest.insert(0, words.pop())
        else:
            break
    for word in rest:
        is_slot = word in getattr(found, "__slots__", ())
        found = getattr(found, word, found if is_slot or word == "state" else None)
        assert found is not None, name


@pytest.mark.parametrize(("page", "name"), every(lambda name: name.startswith("make ")))
def test_targets(page, name):
    """Each target of make is there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{name.split()[1]}:", makefile, re.MULTILINE)


FILES = re.compile(r"(?:^|[ .])((?:tests|bench|docs|src|arch|\.ci)/[\w./-]*\w)")


@pytest.mark.parametrize(("page", "name"), every(FILES.search))
def test_files(page, name):
    """Each file and folder is there."""
    for path in FILES.findall(name):
        if path != "tests/traffic.x7wt":  # of the application that is debugged
            assert (ROOT / path).exists(), path


def test_the_gates_of_ci():
    """What has to hold on every change is run by CI, the contract first: seed 003."""
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    targets = " ".join(re.findall(r"^(?:if ! )?make ([\w ]+)", script, re.MULTILINE)).split()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = {
        target: re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
        for target in targets
    }
    assert "pytest" in recipes["test"]
    assert "ruff check" in recipes["lint"]
    assert "ruff format --check" in recipes["lint"]
    assert "mypy" in recipes["types"]
    assert "cloche arch check" in recipes["arch"]
    assert "set -euo pipefail" in script
    assert targets == ["arch", "lint", "types", "test"]
    assert script.rstrip().endswith("echo CI_OK")


def test_the_pages_are_not_empty():
    """The tests above find something on each page."""
    for start in (is_command, lambda name: name.startswith("cloche."), FILES.search):
        assert len(every(start)) > 3
    assert all(len(names) > 8 for names in NAMES.values())


def test_names_that_are_missing():
    """They would be noticed."""
    with pytest.raises(AssertionError):
        check_command("cloche web none")
    with pytest.raises(AssertionError):
        check_command("cloche web openapi --none")


def test_every_format_has_its_version_in_its_name():
    """A page of a format is of one version; a version 2 would be a page beside it."""
    pages = {path.stem for path in (ROOT / "docs/architecture/encodings").glob("*.md")}
    assert all(re.search(r"-v\d+$", name) for name in pages - {"README"})
    index = (ROOT / "docs/architecture/encodings/README.md").read_text(encoding="utf-8")
    assert all(f"({name}.md)" in index for name in pages - {"README"})
