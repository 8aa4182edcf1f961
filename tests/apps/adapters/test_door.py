"""Doors of apps, on a loop whose clock is the test's."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cloche.apps.adapters.door import Doors
from cloche.apps.errors import AppBusyError
from cloche.apps.routing import AppName
from cloche.limits import Limits

SHOP, BLOG = AppName(tenant="", name="shop"), AppName(tenant="", name="blog")


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock goes forward when the test says so."""

    now_s = 0.0

    def time(self):
        """Return the time of the test."""
        return self.now_s


async def turns():
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def on_loop(test):
    """Run a test on such a loop."""

    def run():
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(test())

    run.__doc__ = test.__doc__
    return run


def doors(*, room=1, queue=2, total=500, wait_ms=5000):
    """Return doors with these limits."""
    apps = {"request_concurrency_max": room, "request_queue_max": queue}
    capacity = {"max_requests": total, "timeout_ms": wait_ms}
    return Doors(Limits().replace({"apps": apps, "capacity": capacity}))


@on_loop
async def test_first_come_first_in():
    """So many are inside, the others follow in order, each when one has left."""
    door = doors(room=2).of(SHOP)
    entered = []

    async def enter(name):
        await door.enter()
        entered.append(name)

    tasks = [asyncio.ensure_future(enter(name)) for name in "abcd"]
    await turns()
    assert entered == ["a", "b"]
    door.leave()
    await turns()
    assert entered == ["a", "b", "c"]
    thread = threading.Thread(target=door.leave)  # those inside run on threads
    thread.start()
    thread.join()
    await asyncio.gather(*tasks)
    assert entered == ["a", "b", "c", "d"]


@on_loop
async def test_too_many_wait():
    """One more than may wait is refused at once, and the others are not disturbed."""
    both = doors()
    door = both.of(SHOP)
    tasks = [asyncio.ensure_future(door.enter()) for _ in range(3)]
    await turns()
    with pytest.raises(AppBusyError) as caught:
        await door.enter()
    assert caught.value.fields == {"limit": "apps.request_queue_max", "limit_value": 2}
    await both.of(BLOG).enter()  # another app has its own room
    for _ in range(3):
        await turns()
        door.leave()
    await asyncio.gather(*tasks)


@on_loop
async def test_too_many_of_all_apps():
    """The bound of the server holds for those inside and those that wait, of any app."""
    both = doors(room=30, queue=100, total=50)
    waiting = [asyncio.ensure_future(both.of(SHOP).enter()) for _ in range(40)]
    for _ in range(10):
        await both.of(BLOG).enter()
    await turns()
    with pytest.raises(AppBusyError) as caught:
        await both.of(BLOG).enter()
    assert caught.value.fields == {"limit": "capacity.max_requests", "limit_value": 50}
    both.of(BLOG).leave()
    await both.of(BLOG).enter()
    for task in waiting[30:]:
        task.cancel()
    await turns()
    for _ in range(10):
        await both.of(BLOG).enter()  # those that left made room
    with pytest.raises(AppBusyError):
        await both.of(BLOG).enter()


@on_loop
async def test_waiting_ends():
    """Nobody waits longer than may be; the next in line does not lose its turn by that."""
    both = doors(wait_ms=2000)
    door = both.of(SHOP)
    await door.enter()
    late = asyncio.ensure_future(door.enter())
    await turns()
    asyncio.get_running_loop().now_s = 1.5
    patient = asyncio.ensure_future(door.enter())
    await turns()
    asyncio.get_running_loop().now_s = 2.1
    with pytest.raises(AppBusyError) as caught:
        await late
    assert caught.value.fields == {"limit": "capacity.timeout_ms", "limit_value": 2000}
    assert caught.value.retryable
    door.leave()
    await patient
    door.leave()
    assert both.count == 0


@on_loop
async def test_a_turn_that_comes_too_late():
    """Who gave up while its turn was on its way hands it on."""
    both = doors()
    door = both.of(SHOP)
    await door.enter()
    first, second = (asyncio.ensure_future(door.enter()) for _ in range(2))
    await turns()
    door.leave()
    first.cancel()
    await second
    assert both.count == 1
    door.leave()
    await door.enter()
    assert both.count == 1
