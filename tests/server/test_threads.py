"""The real host: threads that work, wait, fail, stop; bells for coroutines."""

from __future__ import annotations

import asyncio
import queue
import threading

import pytest

from cloche.limits import Limits
from cloche.server.adapters.threads import ThreadHost
from cloche.server.fairness import Entry

WAIT_S = 60


@pytest.fixture
def host():
    """A host with two workers, and what its workers could not do."""
    failures = queue.SimpleQueue()
    limits = Limits().replace({"server": {"worker_count": 2, "tenant_queue_length_max": 3}})
    found = ThreadHost(limits, failures.put)
    found.failures = failures
    yield found
    found.workers.stop(WAIT_S * 1000)
    found.close()


class Gate:
    """Work that begins and then waits until it may go on."""

    def __init__(self):
        self.begun, self.opened, self.ended = (threading.Event() for _ in range(3))

    def __call__(self):
        self.begun.set()
        assert self.opened.wait(WAIT_S)
        self.ended.set()


def entry(item, tenant="acme", session=None):
    """Return something to be executed."""
    return Entry(tenant=tenant, session=session, item=item)


def test_as_many_at_once_as_there_are_workers(host):
    """Two work, the third begins when one of them ends."""
    gates = [Gate() for _ in range(3)]
    for gate in gates:
        assert host.workers.submit(entry(gate)) is None
    assert gates[0].begun.wait(WAIT_S)
    assert gates[1].begun.wait(WAIT_S)
    assert not gates[2].begun.is_set()
    assert host.workers.counts() == (1, 2)
    gates[1].opened.set()
    assert gates[2].begun.wait(WAIT_S)
    for gate in gates:
        gate.opened.set()
        assert gate.ended.wait(WAIT_S)


def test_a_session_is_free_when_its_run_ends(host):
    """The next run of a session begins though nothing new is submitted."""
    gates = [Gate(), Gate()]
    for gate in gates:
        host.workers.submit(entry(gate, session="s"))
    assert gates[0].begun.wait(WAIT_S)
    assert not gates[1].begun.is_set()
    gates[0].opened.set()
    assert gates[1].begun.wait(WAIT_S)
    gates[1].opened.set()


def test_work_that_raises(host):
    """The worker lives on, and it is told what happened."""

    def fail():
        raise SystemExit("gone")

    for _ in range(5):
        host.workers.submit(entry(fail))
        done = threading.Event()
        host.workers.submit(entry(done.set))
        assert done.wait(WAIT_S)
    assert [str(host.failures.get(timeout=WAIT_S)) for _ in range(5)] == ["gone"] * 5


def test_taking_back(host):
    """What waits can be taken back, what was begun cannot."""
    gates = [Gate() for _ in range(3)]
    for gate in gates:
        host.workers.submit(entry(gate))
    assert gates[0].begun.wait(WAIT_S)
    assert host.workers.remove(gates[2])
    assert not host.workers.remove(gates[0])
    for gate in gates[:2]:
        gate.opened.set()
        assert gate.ended.wait(WAIT_S)
    assert not gates[2].begun.is_set()


def test_bounds_and_stopping(host):
    """A full queue and a stopped one refuse; stopping waits for what was begun."""
    gates = [Gate() for _ in range(5)]
    for gate in gates[:2]:
        host.workers.submit(entry(gate))
        assert gate.begun.wait(WAIT_S)
    for gate in gates[2:]:
        host.workers.submit(entry(gate))
    assert host.workers.has_room("acme") == "tenant"
    assert host.workers.submit(entry(print)) == "tenant"
    assert host.workers.has_room("other") is None
    assert host.workers.stop(1) is False
    assert host.workers.submit(entry(print, tenant="other")) == "all"
    assert host.workers.has_room("other") == "all"
    for gate in gates:
        gate.opened.set()
    assert host.workers.stop(WAIT_S * 1000) is True
    assert [gate.begun.is_set() for gate in gates] == [True, True, False, False, False]


def test_bells(host):
    """A ring before the wait and one during it both wake; many are one."""

    async def main():
        bell = host.bell()
        for _ in range(100):
            bell.ring()
        await asyncio.wait_for(bell.wait(), WAIT_S)
        waiting = asyncio.ensure_future(bell.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        await host.call(bell.ring)
        await asyncio.wait_for(waiting, WAIT_S)
        return bell

    asyncio.run(main()).ring()


def test_no_ring_is_lost(host):
    """Whatever a thread does between a look and a wait, the coroutine sees all of it."""
    state = {"count": 0}

    async def main():
        bell = host.bell()

        def write():
            for _ in range(20_000):
                state["count"] += 1
                bell.ring()

        writer = threading.Thread(target=write)
        writer.start()
        while state["count"] < 20_000:
            await asyncio.wait_for(bell.wait(), WAIT_S)
        writer.join()

    asyncio.run(main())
