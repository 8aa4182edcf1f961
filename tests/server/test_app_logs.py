"""Listening to the log of an app: who may, for how long, and that nothing is left of it."""

from __future__ import annotations

import asyncio

import pytest

from cloche.apps.logs import LogLine
from cloche.apps.routing import AppName
from cloche.server import routes_apps
from cloche.server.routes_apps import AppRoutes

from .faults import WAIT_S
from .support import Asker

SHOP = AppName(tenant="default", name="shop")


@pytest.fixture
def asker(monkeypatch):
    """A server that looks often whether who listens still may."""
    monkeypatch.setattr(routes_apps, "_LOOK_S", 0.01)
    return Asker()


def listening(asker):
    """Return what somebody with a key hears, and the id of the key."""
    key, _ = asker.server.keyring.make(tenant="default", scopes=("app",))
    routes = AppRoutes(asker.server.context, asker.server.apps)
    return routes._tail(SHOP, 1, "", key.id), key.id


async def heard(asker, lines):
    """Return the first line that is heard of several that are written."""
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    logs = asker.server.apps.apps.logs
    for level, message in (("debug", "not grave enough"), ("info", "hello")):
        logs.write(SHOP, LogLine(at_ms=1, level=level, message=message))
    return await asyncio.wait_for(first, WAIT_S)


def test_who_leaves(asker):
    """Lines are heard as they are written; nothing is kept for one who has left."""

    async def talk():
        lines, _ = listening(asker)
        assert b"hello" in await heard(asker, lines)
        assert len(asker.server.apps.apps.logs._listeners) == 1
        await lines.aclose()

    asyncio.run(talk())
    assert asker.server.apps.apps.logs._listeners == []


def test_a_key_that_ends(asker):
    """Whoever listens with it hears no more, however quiet the app is."""

    async def talk():
        lines, key_id = listening(asker)
        await heard(asker, lines)
        asker.server.keyring.revoke("default", key_id)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(lines), WAIT_S)

    asyncio.run(talk())
    assert asker.server.apps.apps.logs._listeners == []
