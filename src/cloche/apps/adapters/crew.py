"""Threads that run apps: work is handed over without a future.

Invariants: there are at most as many threads as were asked for, made when there is
work for them; what was given runs once, in order of arrival, or, behind `close`, never.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Crew:
    """Threads for one sort of work. Callable from any thread.

    Args:
        count_max: how many threads.
        name: what their names begin with.
        start: starts a thread that has this to do and this name. A guest runs on the stack of its
            thread: on one that is too small, each of its turns would take a thread more.
    """

    def __init__(
        self,
        count_max: int,
        name: str,
        start: Callable[[Callable[[], None], str], threading.Thread],
    ) -> None:
        self._count_max = count_max
        self._name = name
        self._start = start
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle_count = 0
        self._is_closed = False

    def give(self, work: Callable[[], object]) -> None:
        """Let a thread do this; what it raises ends that thread, and is told as such things are.

        Raises:
            RuntimeError: closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("nobody works here any more")
            self._work.put(work)
            if self._idle_count > 0:
                self._idle_count -= 1
            elif len(self._threads) < self._count_max:
                name = f"{self._name}-{len(self._threads)}"
                self._threads.append(self._start(self._serve, name))

    async def run(self, work: Callable[[], Result]) -> Result:
        """Let a thread do this, and return what it returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def settle(result: Callable[[], None]) -> None:
            if not done.done():
                result()

        def perform() -> None:
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                failure = error
                loop.call_soon_threadsafe(settle, lambda: done.set_exception(failure))
            else:
                loop.call_soon_threadsafe(settle, lambda: done.set_result(value))

        self.give(perform)
        return await done

    def close(self) -> None:
        """Forget what waits, and wait for what is at work."""
        with self._lock:
            self._is_closed = True
            threads = list(self._threads)
            while not self._work.empty():
                self._work.get()
            for _ in threads:
                self._work.put(None)
        for thread in threads:
            thread.join()

    def _serve(self) -> None:
        try:
            while (work := self._work.get()) is not None:
                work()
                del work  # it may hold much, and the next may be long in coming
                with self._lock:
                    self._idle_count += 1
        finally:
            with self._lock:
                self._threads.remove(threading.current_thread())
