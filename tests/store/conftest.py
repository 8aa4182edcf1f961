"""The stores that the tests of this folder run on."""

from __future__ import annotations

import pytest

from cloche.store.open import open_store

from .server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Return a running PostgreSQL server of our own, or skip where there is none."""
    server = Server.start(tmp_path_factory.mktemp("postgres"))
    if server is None:
        pytest.skip("no PostgreSQL server program is installed")
    yield server
    server.stop()


@pytest.fixture
def postgresql_url(server):
    """Return the URL of an empty place in the server."""
    return server.new_url()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the URL of an empty store of each kind."""
    if request.param == "memory":
        return "memory:"
    if request.param == "sqlite":
        return str(tmp_path / "store" / "cloche.db")
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
def store(url):
    """Return an empty, open store of each kind."""
    store = open_store(url)
    yield store
    store.close()
