"""The real host: threads that execute runs, threads for what blocks, the wall clock.

Guests run without the interpreter's lock, so threads execute them in parallel. Invariants:
- at most `server.worker_count` runs at once, chosen by the fair queue;
- a worker thread outlives whatever its work raises;
- after `stop` nothing is begun.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from cloche.server.fairness import Bounds, Entry, FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.limits import Limits
    from cloche.server.fairness import Refusal, TenantBounds

T = TypeVar("T")
MS_PER_S: Final = 1000
# Calls that block are short (a row, a file); runs have threads of their own.
_CALL_THREAD_COUNT: Final = 16
# Room for a guest at its limit, 8 MiB, and what calls it.
_STACK_BYTES: Final = 16 << 20
_DRAWN_BYTES: Final = 1024


class ThreadWorkers:
    """Executes runs on threads, which are started as they are needed.

    Work that has a method `begin` is begun on the thread at hand when that returns True: it does
    not block, and calls what it was given when it is over.

    Args:
        limits: group `server`.
        failed: called with what work raised, which is a defect.
    """

    def __init__(self, limits: Limits, failed: Callable[[BaseException], None]) -> None:
        server = limits.server
        self._queue: FairQueue[Callable[[], None]] = FairQueue(
            Bounds(
                waiting_max=server.queue_length_max,
                tenant_waiting_max=server.tenant_queue_length_max,
                tenant_running_max=server.tenant_worker_count_max,
            )
        )
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # rung when the last one ends
        self._running_count_max = server.worker_count
        self._begun: queue.SimpleQueue[Entry[Callable[[], None]] | None] = queue.SimpleQueue()
        self._thread_count = 0
        self._idle_count = 0  # threads that wait, without those that something was given to
        self._is_stopped = False
        self._failed = failed

    def govern(self, bounds_of: Callable[[str], TenantBounds]) -> None:
        """Ask from now on how much of a tenant may wait, and run."""
        with self._lock:
            self._queue.bounds_of = bounds_of

    def has_room(self, tenant: str) -> Refusal | None:
        """Return which bound would refuse one more run."""
        with self._lock:
            return "all" if self._is_stopped else self._queue.room_for(tenant)

    def submit(self, entry: Entry[Callable[[], None]], *, forced: bool = False) -> Refusal | None:
        """Execute something when its turn comes."""
        with self._lock:
            if self._is_stopped:
                return "all"
            refusal = self._queue.push(entry, forced=forced)
        if refusal is None:
            self._pump()
        return refusal

    def _pump(self) -> None:
        """Begin what may begin now, on this thread where that does not block."""
        while self._queue.waiting_count:
            with self._lock:
                if self._is_stopped or self._queue.running_count >= self._running_count_max:
                    return
                entry = self._queue.pop()
                if entry is None:
                    return
            if not self._begin(entry):
                with self._lock:
                    if not self._idle_count:
                        self._start_thread()
                    else:
                        self._idle_count -= 1
                    self._begun.put(entry)

    def _begin(self, entry: Entry[Callable[[], None]]) -> bool:
        begin = getattr(entry.item, "begin", None)
        if begin is None:
            return False
        try:
            return bool(begin(lambda: self._finish(entry)))
        except BaseException as error:  # noqa: BLE001 - as below
            self._failed(error)
            self._finish(entry)
            return True

    def _finish(self, entry: Entry[Callable[[], None]]) -> None:
        with self._lock:
            self._queue.finish(entry)
            if self._is_stopped:
                self._changed.notify_all()
        # A session is free now, or a tenant below its bound: somebody may go on.
        self._pump()

    def _start_thread(self) -> None:
        self._thread_count += 1
        # A guest runs on the stack of its thread; a smaller one would take a thread for each turn.
        before = threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(
                target=self._work, name=f"cloche-worker-{self._thread_count}", daemon=True
            ).start()
        finally:
            threading.stack_size(before)

    def _work(self) -> None:
        while True:
            entry = self._begun.get()
            if entry is None:
                return
            try:
                entry.item()
            except BaseException as error:  # noqa: BLE001 - told to somebody who can log it
                self._failed(error)
            finally:
                with self._lock:
                    self._idle_count += 1
                self._finish(entry)

    def remove(self, work: Callable[[], None]) -> bool:
        """Take back what waits."""
        with self._lock:
            return self._queue.remove(work)

    def counts(self) -> tuple[int, int]:
        """Return how many wait and how many are executed."""
        with self._lock:
            return self._queue.waiting_count, self._queue.running_count

    def stop(self, timeout_ms: int) -> bool:
        """Begin nothing more and wait for what was begun."""
        deadline = time.monotonic() + timeout_ms / MS_PER_S
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
            while self._queue.running_count:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(left_s)
            for _ in range(self._thread_count):
                self._begun.put(None)
        return True


class AsyncBell:
    """A bell for a coroutine of an event loop. At most one wake-up is on its way."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._event = asyncio.Event()
        self._lock = threading.Lock()
        self._is_rung = False

    def ring(self) -> None:
        """Wake whoever waits."""
        if threading.get_ident() == self._thread:
            self._event.set()
            return
        with self._lock:
            if self._is_rung or self._loop.is_closed():
                return
            self._is_rung = True
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            return  # the loop was closed in between; nobody waits any more

    async def wait(self) -> None:
        """Return when it was rung since the last wait."""
        await self._event.wait()
        self._event.clear()
        with self._lock:
            self._is_rung = False


class ThreadHost:
    """Threads, and the clock and randomness of the machine."""

    def __init__(self, limits: Limits, failed: Callable[[BaseException], None]) -> None:
        self.workers = ThreadWorkers(limits, failed)
        # Asking the kernel costs more than all else that the id of a run takes.
        self._drawn = b""
        self._drawing = threading.Lock()
        self._calls = ThreadPoolExecutor(_CALL_THREAD_COUNT, thread_name_prefix="cloche-call")

    def now_ns(self) -> int:
        """Return the wall clock."""
        return time.time_ns()

    def random_bytes(self, count: int) -> bytes:
        """Return bytes that nobody can guess."""
        with self._drawing:
            if len(self._drawn) < count:
                self._drawn = secrets.token_bytes(max(count, _DRAWN_BYTES))
            found, self._drawn = self._drawn[:count], self._drawn[count:]
        return found

    async def call(self, work: Callable[[], T]) -> T:
        """Return what a function returns, called on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._calls, work)

    def bell(self) -> AsyncBell:
        """Return a bell for the running loop."""
        return AsyncBell()

    def close(self) -> None:
        """Let the threads go."""
        self._calls.shutdown(wait=False, cancel_futures=True)
