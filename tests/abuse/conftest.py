"""What attacks share: the clock of their runs, and a running server."""

from __future__ import annotations

import time

import pytest
from tests.server.process import serving

from abuse.support import CLOCK


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Give all runs of this process the clock that an attack stops until it is there."""
    monkeypatch.setattr(time, "monotonic_ns", CLOCK.now_ns)
    yield
    CLOCK.reset()


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A real server, for all attacks that need one."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder) as found:
        found.folder = folder
        yield found
