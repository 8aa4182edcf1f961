"""What holds for the tests of all guests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Give programs a minute where a test does not say how long they have: machines are busy."""
    monkeypatch.setenv("CLOCHE_GUESTS_TIMEOUT_MS", "60000")
