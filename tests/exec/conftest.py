"""The stores, and the sessions, that the tests of this folder run on."""

from __future__ import annotations

import pytest
from tests.exec.session_support import session, store
from tests.exec.support import PATIENT_MS
from tests.store.conftest import postgresql_url, server

__all__ = ["postgresql_url", "server", "session", "store"]


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Give programs a minute where a test does not say how long they have."""
    monkeypatch.setenv("CLOCHE_GUESTS_TIMEOUT_MS", str(PATIENT_MS))
