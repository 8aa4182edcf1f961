"""Threads that run apps."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cloche.apps.adapters.crew import Crew
from cloche.engine.adapters.stack import has_room, start_with_room

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


WAIT_S = 60


def crew(count_max: int, *, at_once: int | None = None) -> Crew:
    """Return a crew of threads for guests."""
    return Crew(count_max, "crew", start_with_room, at_once=at_once)


def names() -> list[str]:
    """Return the threads of crews that there are."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("crew-")]


def on_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """Return a test that runs on an event loop of its own."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        asyncio.run(test(**fixtures))

    return run


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s, "it never was"
        await asyncio.sleep(0.001)


@on_loop
async def test_work_is_done_on_threads_with_room_for_guests() -> None:
    """A guest needs no thread of its own there."""
    made = crew(1)
    assert await made.run(has_room) is True
    made.close()


@on_loop
async def test_all_work_is_done_in_order_by_no_more_threads_than_were_asked_for() -> None:
    """What is given while all are at work waits for its turn."""
    made, gate, found = crew(2), threading.Barrier(3, timeout=WAIT_S), list[int]()
    for _ in range(2):
        made.give(gate.wait)
    for index in range(50):
        made.give(lambda index=index: found.append(index))
    assert len(names()) == 2
    gate.wait()
    await until(lambda: len(found) == 50)
    made.close()
    assert sorted(found) == list(range(50))
    assert names() == []


@on_loop
async def test_a_thread_that_waits_is_asked_before_another_is_made() -> None:
    """Work that comes one after the other takes one thread."""
    made = crew(8)
    for _ in range(5):
        assert await made.run(lambda: 1) == 1
        await until(lambda: made._idle_count == 1)
    assert len(names()) == 1
    made.close()


@on_loop
async def test_few_are_at_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of work that takes the processor so much is begun, and the rest one by one."""
    # A thread that has to wait for the processor seems to wait for something else.
    monkeypatch.setattr("cloche.apps.adapters.crew.PATIENCE_S", 2 * WAIT_S)
    made, lock, at_work, most, done = crew(8, at_once=2), threading.Lock(), [0], [0], [0]

    def work() -> None:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        with lock:
            at_work[0] -= 1
            done[0] += 1

    for _ in range(100):
        made.give(work)
    await until(lambda: done[0] == 100)
    made.close()
    assert most[0] <= 2


@on_loop
async def test_who_seems_to_wait_makes_room_for_others() -> None:
    """Work that waits keeps nothing else from being done, up to the number of threads."""
    made, gate, begun = crew(8, at_once=1), threading.Event(), list[int]()
    for number in range(9):
        made.give(lambda number=number: (begun.append(number), gate.wait(WAIT_S)))
    await until(lambda: len(begun) == 8)
    assert len(names()) == 8  # none of them can begin the last one, and there is no other
    gate.set()
    await until(lambda: len(begun) == 9)
    made.close()


@on_loop
async def test_a_result_or_what_was_raised_comes_back_to_the_loop() -> None:
    """`run` is for work that somebody waits for."""
    made = crew(1)
    with pytest.raises(ZeroDivisionError):
        await made.run(lambda: 1 // 0)
    assert await made.run(lambda: 6) == 6
    made.close()


@on_loop
async def test_work_that_breaks_its_thread_keeps_no_other_from_being_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread takes its place, and what was raised is told."""
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    made = crew(1, at_once=1)
    made.give(lambda: 1 // 0)
    assert await made.run(lambda: 5) == 5
    await until(lambda: told == [ZeroDivisionError] and not made._begun)
    made.close()


@on_loop
async def test_what_waits_when_it_closes_is_never_begun() -> None:
    """Who closes waits for what is at work alone."""
    made, begun, gate, late = crew(1), threading.Event(), threading.Event(), list[int]()
    made.give(lambda: (begun.set(), gate.wait(WAIT_S)))
    assert begun.wait(WAIT_S)
    made.give(lambda: late.append(1))

    def open_when_closed() -> None:
        while not made._is_closed:
            time.sleep(0.001)
        with made._lock:  # it is done with what waits
            gate.set()

    opener = threading.Thread(target=open_when_closed)
    opener.start()
    made.close()
    opener.join()
    assert late == []
    with pytest.raises(RuntimeError):
        made.give(lambda: None)
