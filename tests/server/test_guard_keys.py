"""How keys are looked up: by one request of those that come at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cloche.limits import Limits
from cloche.server.adapters.threads import ThreadHost
from cloche.server.guard import Guard
from cloche.server.keyring import Keyring
from cloche.store.adapters.memory import MemoryStore
from cloche.web.errors import UnauthorizedError
from cloche.web.request import Request
from cloche.web.response import empty

WAIT_S = 60
COUNT = 5


class SlowKeyring(Keyring):
    """Looks a key up when it is told to, and counts how often."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.may_read, self.may_return, self.has_read = (threading.Event() for _ in range(3))
        self.may_return.set()
        self.count = 0

    def _owner_of(self, text):
        self.count += 1
        assert self.may_read.wait(WAIT_S)
        found = super()._owner_of(text)
        self.has_read.set()
        assert self.may_return.wait(WAIT_S)
        return found


@pytest.fixture
def guard():
    """A guard whose host has threads."""
    limits = Limits()
    host = ThreadHost(limits, pytest.fail)
    keyring = SlowKeyring(MemoryStore(), limits, now_ns=host.now_ns, random_bytes=host.random_bytes)
    yield Guard(host=host, limits=limits, keyring=keyring, answers=None, rejoin=None)
    host.close()


async def ask(guard, text):
    """Return who a request with this key is for, None when it is refused."""

    async def handler(request):
        return empty().with_field(b"tenant", request.context["user"].tenant.encode())

    field = (b"authorization", f"Bearer {text}".encode())
    request = Request(method="GET", target="/", services=None, fields=[field])
    try:
        answer = await guard.key(None)(request, handler)
    except UnauthorizedError:
        return None
    return answer.get(b"tenant")


async def asked(guard, text):
    """Begin requests with a key, and return them when all of them wait."""
    tasks = [asyncio.create_task(ask(guard, text)) for _ in range(COUNT)]
    while len(guard.looked_up.get(text, ())) < COUNT - 1:  # noqa: ASYNC110 - tells nobody
        await asyncio.sleep(0)
    return tasks


def test_requests_at_once_look_up_a_key_once(guard):
    """The others wait for the first one, and are let pass with what it found."""
    _, text = guard.keyring.make(tenant="acme", scopes=("run",))

    async def story():
        tasks = await asked(guard, text)
        guard.keyring.may_read.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(story()) == [b"acme"] * COUNT
    assert guard.keyring.count == 1
    assert guard.looked_up == {}


def test_a_key_that_is_revoked_while_it_is_looked_up(guard):
    """Nobody who waited is let pass with what was read before."""
    key, text = guard.keyring.make(tenant="acme", scopes=("run",))
    guard.keyring.may_return.clear()

    async def story():
        tasks = await asked(guard, text)
        guard.keyring.may_read.set()
        assert await asyncio.to_thread(guard.keyring.has_read.wait, WAIT_S)
        guard.keyring.revoke("acme", key.id)
        guard.keyring.may_return.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(story())[1:] == [None] * (COUNT - 1)


def test_who_looks_up_goes_away(guard):
    """The others look for themselves."""
    _, text = guard.keyring.make(tenant="acme", scopes=("run",))

    async def story():
        tasks = await asked(guard, text)
        tasks[0].cancel()
        guard.keyring.may_read.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert asyncio.run(story())[1:] == [b"acme"] * (COUNT - 1)
