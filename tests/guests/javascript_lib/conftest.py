"""The bundle must be there: the tests build it once if it is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .driver import BUNDLE, LIBRARY


@pytest.fixture(scope="session", autouse=True)
def _bundle() -> None:
    if not BUNDLE.exists():
        subprocess.run([sys.executable, str(LIBRARY / "build.py")], check=True)
