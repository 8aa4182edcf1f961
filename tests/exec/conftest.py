"""The stores, and the sessions, that the tests of this folder run on."""

from __future__ import annotations

from tests.exec.session_support import session, store
from tests.store.conftest import postgresql_url, server

__all__ = ["postgresql_url", "server", "session", "store"]
