"""The stores that the storage of apps is tested on: those of the store's own tests."""

from __future__ import annotations

from store.conftest import postgresql_url, server, store, url

__all__ = ["postgresql_url", "server", "store", "url"]
