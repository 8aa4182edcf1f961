"""What the Makefile and the checks of a clean checkout do, without doing it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALLED = ".venv/.installed"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def commands(*arguments: str) -> list[str]:
    """Return what make would execute, and nothing of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith((".venv/", "test -x"))]


def words(*arguments: str) -> list[str]:
    """Return the programs that make would start, with their first word."""
    return [" ".join(line.split()[:3]) for line in commands(*arguments)]


def test_one_command_sets_up_everything() -> None:
    """It makes an environment, installs into it, which builds the guest, and prepares images."""
    assert words("--always-make", "setup") == [
        "test -x .venv/bin/python",
        ".venv/bin/python -m pip",
        ".venv/bin/python -m compileall",
        ".venv/bin/cloche images build",
    ]
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["hooks"]
    assert hook["custom"]["path"] == "hatch_build.py"


def test_setting_up_again_installs_nothing() -> None:
    """What is installed stays; images that are there are found."""
    assert words("--assume-old", INSTALLED, "setup") == [".venv/bin/cloche images build"]


def test_one_command_builds_every_module() -> None:
    """The guests with the set-up, then the component."""
    assert words("--assume-old", INSTALLED, "modules") == [
        ".venv/bin/cloche images build",
        ".venv/bin/cloche components build",
    ]


def test_a_warning_stops_the_checks() -> None:
    """All rules of ruff, strict mypy and the architecture, each of which fails what it finds."""
    assert words("--assume-old", INSTALLED, "lint", "types", "arch") == [
        ".venv/bin/ruff check",
        ".venv/bin/ruff format --check",
        ".venv/bin/mypy src",
        ".venv/bin/cloche arch check",
    ]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert settings["ruff"]["lint"]["select"] == ["ALL"]
    assert settings["mypy"]["strict"] is True
    checks = (ROOT / ".ci" / "run").read_text().splitlines()
    assert checks[2] == "set -euo pipefail"
    assert [line for line in checks if "make " in line] == [
        "make arch lint types",
        "if ! make test; then",
    ]


def test_the_front_page_says_how_to_begin() -> None:
    """Its targets are there, and it leads to settings, limitations, demo and tests."""
    targets = re.findall(r"^    make (\w+) ", README, re.MULTILINE)
    assert {"run", "test", "modules"} <= set(targets)
    for target in targets:
        commands("--assume-old", INSTALLED, target)
    for wanted in ("docs/limits.md", "docs/limitations.md", "`EXEC_TIMEOUT_MS`", "`cloche.toml`"):
        assert wanted in README
