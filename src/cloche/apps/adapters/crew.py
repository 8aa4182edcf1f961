"""Threads that run apps: work is handed over without a future, and to few of them at a time.

Only one thread at a time executes Python, so that many which could all go on only take each other's
turns and caches; many that wait for something are fine. So a few are at work, and whoever has been
for a while is taken for one that waits: as many more are let in.

Invariants: there are at most as many threads as were asked for, made when there is work for them;
what was given runs once, begun in order of arrival, or, behind `close`, never.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S: Final = 0.005  # most requests take less when they have the processor

Result = TypeVar("Result")


class Crew:
    """Threads for one sort of work.

    Args:
        count_max: how many threads.
        name: what their names begin with.
        start: starts a thread that has this to do and this name. A guest runs on the stack of its
            thread: on one that is too small, each of its turns would take a thread more.
        at_once: how many are at work, beside those that seem to wait; None for all.
    """

    def __init__(
        self,
        count_max: int,
        name: str,
        start: Callable[[Callable[[], None], str], threading.Thread],
        *,
        at_once: int | None = None,
    ) -> None:
        self._count_max = count_max
        self._name = name
        self._start = start
        self._at_once = count_max if at_once is None else at_once
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[Callable[[], object]] = deque()
        self._open_count = 0  # of what waits, how many a thread that sleeps is to take
        self._idle_count = 0  # threads that sleep, and were not told to take anything
        self._begun: dict[int, float] = {}  # when each work that is being done was begun
        self._late: set[int] = set()  # those that seem to wait
        self._next = 0
        self._threads: list[threading.Thread] = []
        self._is_watched = False
        self._is_closed = False

    def give(self, work: Callable[[], object]) -> None:
        """Let a thread do this; called on an event loop.

        What it raises ends the thread, and is told as such things are.

        Raises:
            RuntimeError: closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("nobody works here any more")
            self._waiting.append(work)
            self._let_in()
            if len(self._waiting) > self._open_count and not self._is_watched:
                self._is_watched = True
                loop = asyncio.get_running_loop()
                loop.call_later(PATIENCE_S, self._watch, loop)

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
            self._waiting.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _room(self) -> int:
        """Return how many more may begin; of threads there may be fewer."""
        return self._at_once + 2 * len(self._late) - len(self._begun) - self._open_count

    def _let_in(self) -> None:
        while len(self._waiting) > self._open_count and self._room() > 0:
            if self._idle_count > 0:
                self._idle_count -= 1
                self._changed.notify()
            elif len(self._threads) < self._count_max:
                name = f"{self._name}-{len(self._threads)}"
                self._threads.append(self._start(self._serve, name))
            else:
                return
            self._open_count += 1

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Find who seems to wait, as long as anything waits for them."""
        with self._lock:
            before = time.monotonic() - PATIENCE_S
            self._late.update(number for number, began in self._begun.items() if began <= before)
            self._let_in()
            self._is_watched = not self._is_closed and len(self._waiting) > self._open_count
            if self._is_watched:
                loop.call_later(PATIENCE_S, self._watch, loop)

    def _serve(self) -> None:
        number = 0
        try:
            number, work = self._first()
            while work is not None:
                work()
                del work  # it may hold much, and the next may be long in coming
                number, work = self._next_behind(number)
        finally:
            with self._lock:
                self._threads.remove(threading.current_thread())
                self._begun.pop(number, None)
                self._late.discard(number)

    def _first(self) -> tuple[int, Callable[[], object] | None]:
        """Return what a thread that was just made or waked begins with."""
        with self._lock:
            return self._take()

    def _next_behind(self, number: int) -> tuple[int, Callable[[], object] | None]:
        """Return what comes next for a thread that is done with something."""
        with self._lock:
            del self._begun[number]
            self._late.discard(number)
            if self._waiting and len(self._waiting) > self._open_count and self._room() > 0:
                self._open_count += 1
                return self._take()
            self._idle_count += 1
            while not self._is_closed:
                self._changed.wait()
                if self._open_count > 0 and self._waiting:
                    return self._take()
            return 0, None

    def _take(self) -> tuple[int, Callable[[], object] | None]:
        if self._is_closed or not self._waiting:
            return 0, None
        self._open_count -= 1
        self._next += 1
        self._begun[self._next] = time.monotonic()
        return self._next, self._waiting.popleft()
