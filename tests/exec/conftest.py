"""The stores that the tests of this folder run on."""

from __future__ import annotations

from tests.store.conftest import postgresql_url, server

__all__ = ["postgresql_url", "server"]
