"""Threads that run apps."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cloche.apps.adapters.crew import Crew
from cloche.engine.adapters.stack import has_room, start_with_room


def test_work_is_done_on_threads_with_room_for_guests() -> None:
    """A guest needs no thread of its own there."""
    crew, done = Crew(1, "crew", start_with_room), threading.Event()
    found: list[bool] = []
    crew.give(lambda: (found.append(has_room()), done.set()))
    assert done.wait(10)
    crew.close()
    assert found == [True]


def test_no_more_threads_than_were_asked_for_and_all_work_is_done_in_order() -> None:
    """What is given while all are at work waits for its turn."""
    crew, gate = Crew(2, "crew", start_with_room), threading.Barrier(3, timeout=10)
    names: list[str] = []
    done = threading.Semaphore(0)
    for _ in range(2):
        crew.give(gate.wait)
    for index in range(6):
        crew.give(lambda index=index: (names.append(str(index)), done.release()))
    gate.wait()
    for _ in range(6):
        assert done.acquire(timeout=10)
    assert sorted(names) == list("012345")
    assert sum(thread.name.startswith("crew-") for thread in threading.enumerate()) == 2
    crew.close()
    assert not any(thread.name.startswith("crew-") for thread in threading.enumerate())


def test_a_thread_that_waits_is_asked_before_another_is_made() -> None:
    """Work that comes one after the other takes one thread."""
    crew = Crew(8, "crew", start_with_room)
    for _ in range(5):
        done = threading.Event()
        crew.give(done.set)
        assert done.wait(10)
        while crew._idle_count == 0:
            pass
    assert len(crew._threads) == 1
    crew.close()


def test_a_result_or_what_was_raised_comes_back_to_the_loop() -> None:
    """`run` is for work that somebody waits for."""

    async def main() -> None:
        crew = Crew(1, "crew", start_with_room)
        assert await crew.run(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await crew.run(lambda: 1 // 0)
        assert await crew.run(lambda: 6) == 6
        crew.close()

    asyncio.run(main())


def test_what_waits_when_it_closes_is_never_begun() -> None:
    """Who closes waits for what is at work alone."""
    crew, begun, gate = Crew(1, "crew", start_with_room), threading.Event(), threading.Event()
    crew.give(lambda: (begun.set(), gate.wait(10)))
    assert begun.wait(10)
    late: list[int] = []
    crew.give(lambda: late.append(1))
    threading.Timer(0.05, gate.set).start()
    crew.close()
    assert late == []
    with pytest.raises(RuntimeError):
        crew.give(lambda: None)
