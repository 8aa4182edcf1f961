"""Work that is begun at once behaves as in a task of its own."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from cloche.web.adapters.server_tasks import Runner

from .os_support import on_loops

NAME = ContextVar("name", default="nobody")


async def ready():
    """Return a runner that has a host standing ready, and call nothing in a task of a test."""
    loop = asyncio.get_running_loop()
    runner = Runner(loop)
    done = loop.create_future()
    begin(runner, _finish(done))
    await done
    await asyncio.sleep(0)
    assert runner._idle
    return runner


async def _finish(done):
    done.set_result(None)


async def turns():
    """Let everything happen that waits for nothing outside of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


def begin(runner, work, into=None):
    """Begin work from the loop, as a socket does, outside of every task."""

    def run():
        found = runner.begin(work)
        if into is not None:
            into.append(found)

    asyncio.get_running_loop().call_soon(run)


@on_loops
async def test_work_that_does_not_wait_is_done_at_once():
    """It needs no task, its host stands ready again, and there is nothing to cancel."""
    runner, seen, found = await ready(), [], []
    hosts = list(runner._idle)

    async def work():
        seen.append(asyncio.current_task())

    for _ in range(3):
        begin(runner, work(), found)
    await asyncio.sleep(0)
    assert found == [None, None, None]
    assert seen == [hosts[0].task] * 3
    assert runner._idle == hosts
    await runner.end()


@on_loops
async def test_work_that_waits_stays_under_one_task():
    """Before and behind each wait the task and the context are the same."""
    runner, seen = await ready(), []
    done = asyncio.Event()

    async def work():
        NAME.set("somebody")
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        async with asyncio.timeout(60):
            await turns()
        seen.append(asyncio.current_task())
        assert NAME.get() == "somebody"
        done.set()

    begin(runner, work())
    await done.wait()
    assert len(set(seen)) == 1
    await runner.end()


@pytest.mark.parametrize("waits", [False, True])
@on_loops
async def test_contexts_are_not_shared(waits):
    """What one work sets, the next one does not see, whether they waited or not."""
    runner, seen = await ready(), []

    async def work():
        seen.append(NAME.get())
        NAME.set("somebody")
        if waits:
            await asyncio.sleep(0)

    for _ in range(5):
        begin(runner, work())
        await turns()
    assert seen == ["nobody"] * 5
    await runner.end()


@on_loops
async def test_a_deadline_within_work():
    """`asyncio.timeout` ends what waits, and the work goes on behind it."""
    runner = await ready()
    done = asyncio.Event()

    async def work():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        done.set()

    begin(runner, work())
    await done.wait()
    await runner.end()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@on_loops
async def test_cancelling(count):
    """Work is cancelled where it waits, also before its host has taken it over."""
    runner, found, ended = await ready(), [], []
    inner = asyncio.get_running_loop().create_future()

    async def work():
        try:
            await inner
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    begin(runner, work(), found)
    await asyncio.sleep(0)
    for _ in range(count):
        await asyncio.sleep(0)
    found[0].cancel()
    await turns()
    assert ended == ["cancelled"]
    assert inner.cancelled()
    await runner.end()


@on_loops
async def test_cancelling_work_that_yields():
    """So is work that lets others have their turn."""
    runner, found, ended = await ready(), [], []

    async def work():
        try:
            while True:  # noqa: ASYNC110 - it waits for nothing
                await asyncio.sleep(0)
        finally:
            ended.append(True)

    begin(runner, work(), found)
    await asyncio.sleep(0)
    found[0].cancel()
    await turns()
    assert ended == [True]
    await runner.end()


@on_loops
async def test_a_late_cancel_hits_nobody_else():
    """A handle of work that has ended does not cancel what its host does now."""
    runner, found, ended = await ready(), [], []
    may_end = asyncio.Event()

    async def first():
        await asyncio.sleep(0)

    async def second():
        await may_end.wait()
        ended.append(True)

    begin(runner, first(), found)
    await turns()
    begin(runner, second(), found)
    await asyncio.sleep(0)
    found[0].cancel()
    await turns()
    may_end.set()
    await turns()
    assert ended == [True]
    await runner.end()


@on_loops
async def test_ending():
    """The end cancels what waits, and leaves no task."""
    before = asyncio.all_tasks()
    runner, ended = await ready(), []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    for _ in range(30):
        begin(runner, work())
    await turns()
    await runner.end()
    assert ended == [True] * 30
    assert asyncio.all_tasks() == before


@on_loops
async def test_work_that_is_begun_within_a_task():
    """There it becomes a task of its own, and its beginner's task stays the current one."""
    runner, seen = await ready(), []

    async def work():
        seen.append(asyncio.current_task())

    mine = asyncio.current_task()
    running = runner.begin(work())
    assert seen == []
    assert asyncio.current_task() is mine
    await turns()
    assert seen[0] is not mine
    running.cancel()
    await runner.end()
