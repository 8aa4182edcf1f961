"""Memory, SQLite and PostgreSQL keep every rule of the storage of apps."""

from __future__ import annotations

import pytest

from cloche.apps.storage.open import open_app_tables
from cloche.testing.app_storage import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_tables(store, check):
    """The check's own docstring says what holds."""
    check(open_app_tables(store))
