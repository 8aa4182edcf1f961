"""Every store keeps every rule of the port."""

from __future__ import annotations

import pytest

from cloche.testing.store import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_store(store, check):
    """The check's own docstring says what holds."""
    check(store)
