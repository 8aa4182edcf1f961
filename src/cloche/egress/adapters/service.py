"""Outbound HTTP for code that blocks: one event loop on one thread of the process.

Invariants: everything of an `Egress` happens on its loop, so that its counts are exact however many
threads call; a closed service answers nothing; a process that ends does not wait for calls.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from cloche.egress.adapters.egress import Egress

T = TypeVar("T")


class NetService:
    """An egress with its own loop and thread, both made on first use.

    Args:
        make: makes the egress; called on the loop's thread.
    """

    def __init__(self, make: Callable[[], Egress]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._egress: Egress | None = None

    def submit(self, work: Callable[[Egress], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start work on the loop; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(self._work(work), self._started())

    def call(self, work: Callable[[Egress], T]) -> T:
        """Do something with the egress on its loop, and wait for it."""

        async def done(egress: Egress) -> T:
            return work(egress)

        return self.submit(done).result()

    def close(self) -> None:
        """End every connection, store the log, and stop the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    async def _work(self, work: Callable[[Egress], Coroutine[Any, Any, T]]) -> T:
        if self._egress is None:
            self._egress = self._make()
        return await work(self._egress)

    async def _close(self) -> None:
        egress, self._egress = self._egress, None
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if egress is not None:
            await egress.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="cloche-net", daemon=True
                )
                self._thread.start()
            return self._loop
