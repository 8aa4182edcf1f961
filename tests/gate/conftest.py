"""Shared pieces of the gate tests: limits and a small recorded run."""

from __future__ import annotations

import pytest
from gate_support import make_limits


@pytest.fixture
def limits():
    """Default limits of the gate."""
    return make_limits()
