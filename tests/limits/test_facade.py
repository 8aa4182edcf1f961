"""Tests of what importing the room costs and brings."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cloche.limits


def test_the_room_is_pure():
    """Importing limits loads no adapter, nor what only a loader needs."""
    program = (
        "import sys, cloche.limits\n"
        "print([name for name in ('cloche.limits.adapters', 'tomllib', 'difflib') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", cloche.limits.__all__)
def test_every_public_name_is_there(name):
    """`__all__` names nothing that cannot be had."""
    assert getattr(cloche.limits, name) is not None
