"""Deadlines of many tasks with one timer."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.egress.patient import run

from cloche.egress.adapters.deadlines import Deadlines


async def late(deadlines, seconds, log=None):
    """Wait for ever, with a deadline; return how long that took."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    try:
        with deadlines.within(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        if log is not None:
            log.append(seconds)
        return loop.time() - start_s


def timers(loop):
    """Return how many timers of a loop are set."""
    return sum(not handle.cancelled() for handle in loop._scheduled)


def test_each_ends_at_its_time():
    """Whatever the order in which they begin, each is cancelled at its own time, with one timer."""

    async def main():
        for order in itertools.permutations((0.02, 0.04, 0.06)):
            deadlines, log = Deadlines(), []
            tasks = [asyncio.create_task(late(deadlines, seconds, log)) for seconds in order]
            await asyncio.sleep(0)
            assert timers(asyncio.get_running_loop()) == 1
            for seconds, took_s in zip(order, await asyncio.gather(*tasks), strict=True):
                assert seconds <= took_s < seconds + 0.01
            assert log == sorted(order)
            assert timers(asyncio.get_running_loop()) == 0

    run(main())


def test_who_ends_in_time_is_left_alone():
    """A context that was left is never cancelled; the timer goes on to the next."""

    async def main():
        deadlines = Deadlines()
        with deadlines.within(0.01):
            pass
        waiting = asyncio.create_task(late(deadlines, 0.05))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        assert await waiting >= 0.05
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_a_deadline_in_the_past():
    """It ends at the first wait."""

    async def main():
        assert await late(Deadlines(), -1) < 0.01

    run(main())


def test_cancelling_is_no_timeout():
    """Who cancels the task gets that, also where the deadline passes at the same time."""

    async def main():
        for wait_s in (0, 0.03):
            deadlines = Deadlines()
            task = asyncio.create_task(late(deadlines, 0.02))
            await asyncio.sleep(0)
            if wait_s:
                for deadline in deadlines._open:
                    deadline.expire()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not deadlines._open
            deadlines.close()

    run(main())


def test_errors_pass():
    """Another error of the block is that error."""

    async def main():
        deadlines = Deadlines()
        with pytest.raises(ValueError, match="mine"), deadlines.within(1):
            raise ValueError("mine")
        deadlines.close()
        assert timers(asyncio.get_running_loop()) == 0

    run(main())


def test_outside_of_a_task():
    """There is nothing that could be cancelled."""

    async def main():
        def callback():
            with pytest.raises(RuntimeError, match="for a task"), Deadlines().within(1):
                pass
            done.set_result(None)

        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(callback)
        await done

    run(main())
