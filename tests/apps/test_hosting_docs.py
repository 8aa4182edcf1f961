"""The page about hosting apps: its example runs, its commands and limits are there."""

from __future__ import annotations

import re
from pathlib import Path

from cloche.cli.apps import app
from cloche.limits.limits import SPECIFICATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "hosting.md").read_text(encoding="utf-8")


def test_the_example():
    """It deploys an app."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/hosting.md", "exec"), {})


def test_commands():
    """Each command that the page shows is one, and each that there is is on the page."""
    known = {command.name for command in app.registered_commands}
    shown = set(re.findall(r"cloche app ([a-z]+)", PAGE))
    assert shown <= known
    assert known - shown == {"list", "open"}


def test_limits():
    """Each limit that the page names is one."""
    named = set(re.findall(r"`(apps\.\w+)`", PAGE))
    assert named
    assert named <= set(SPECIFICATIONS)
