"""The deterministic host: everything happens at once, on the thread that asks.

Invariants: a run that was submitted has ended when `submit` returns, unless the workers are held;
nothing waits, so a bell that was not rung is an error of the fixture (`SuspendedError`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, TypeVar

from cloche.server.fairness import Bounds, Entry, FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cloche.limits import Limits
    from cloche.server.fairness import Refusal, TenantBounds

T = TypeVar("T")
START_NS: Final = 1_700_000_000_000_000_000


class InlineWorkers:
    """Executes at once; `hold` lets runs wait until `release`."""

    def __init__(self, limits: Limits) -> None:
        server = limits.server
        self._queue: FairQueue[Callable[[], None]] = FairQueue(
            Bounds(
                waiting_max=server.queue_length_max,
                tenant_waiting_max=server.tenant_queue_length_max,
                tenant_running_max=server.tenant_worker_count_max,
            )
        )
        self.is_held = False
        self.is_stopped = False

    def govern(self, bounds_of: Callable[[str], TenantBounds]) -> None:
        """Ask from now on how much of a tenant may wait, and run."""
        self._queue.bounds_of = bounds_of

    def has_room(self, tenant: str) -> Refusal | None:
        """Return which bound would refuse one more run."""
        return self._queue.room_for(tenant)

    def submit(self, entry: Entry[Callable[[], None]], *, forced: bool = False) -> Refusal | None:
        """Execute something now, unless held."""
        refusal = self._queue.push(entry, forced=forced)
        if refusal is None and not self.is_held:
            self.release()
        return refusal

    def release(self) -> None:
        """Execute all that waits."""
        self.is_held = False
        while (entry := self._queue.pop()) is not None:
            try:
                entry.item()
            finally:
                self._queue.finish(entry)

    def remove(self, work: Callable[[], None]) -> bool:
        """Take back what waits."""
        return self._queue.remove(work)

    def counts(self) -> tuple[int, int]:
        """Return how many wait and how many are executed."""
        return self._queue.waiting_count, self._queue.running_count

    def stop(self, timeout_ms: int) -> bool:
        """Begin nothing more."""
        del timeout_ms
        self.is_stopped = True
        return True


class InlineBell:
    """A bell that has to have been rung."""

    def __init__(self) -> None:
        self._is_rung = False

    def ring(self) -> None:
        """Let the next wait return."""
        self._is_rung = True

    async def wait(self) -> None:
        """Return if it was rung; else suspend, which a fixture refuses."""
        if not self._is_rung:
            await _Suspend()
        self._is_rung = False


class _Suspend:
    def __await__(self) -> Generator[None, None, None]:
        yield


class InlineHost:
    """A clock that is moved by hand, randomness from a seed, no threads."""

    def __init__(self, limits: Limits, *, seed: int = 0) -> None:
        self.workers = InlineWorkers(limits)
        self.time_ns = START_NS
        self._seed = seed
        self._drawn = 0

    def now_ns(self) -> int:
        """Return the time of the fixture; it moves by a microsecond each time it is asked."""
        self.time_ns += 1000
        return self.time_ns

    def random_bytes(self, count: int) -> bytes:
        """Return the next bytes that follow from the seed."""
        found = b""
        while len(found) < count:
            self._drawn += 1
            found += hashlib.sha256(b"%d %d" % (self._seed, self._drawn)).digest()
        return found[:count]

    async def call(self, work: Callable[[], T]) -> T:
        """Return what a function returns, called now."""
        return work()

    def bell(self) -> InlineBell:
        """Return a bell."""
        return InlineBell()
