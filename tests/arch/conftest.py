"""The fixture that every test of this room starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from arch.support import Project, make_shop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return the shop, whose contract holds."""
    root = tmp_path / "shop"
    root.mkdir()
    return make_shop(root)
