"""Tests of what importing the room costs and brings."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cloche.limits


def test_the_room_is_pure_until_a_loader_is_asked_for():
    """Importing limits loads no adapter; asking for a loader does."""
    program = (
        "import sys, cloche.limits as limits\n"
        "name = 'cloche.limits.adapters.settings'\n"
        "before = name in sys.modules\n"
        "limits.load_limits\n"
        "print(before, name in sys.modules, 'tomllib' in sys.modules, 'difflib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False True False False\n"


@pytest.mark.parametrize("name", cloche.limits.__all__)
def test_every_public_name_is_there(name):
    """`__all__` names nothing that cannot be had."""
    assert getattr(cloche.limits, name) is not None


def test_another_name_is_an_attribute_error():
    """As with every module."""
    with pytest.raises(AttributeError, match=r"^module 'cloche\.limits' has no attribute 'x'$"):
        _ = cloche.limits.x
