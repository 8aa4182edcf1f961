"""What the server asks of its host: time, randomness, workers, and not to block the event loop.

The fixture does everything at once on the caller's thread; the real one has threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.server.fairness import Entry, Refusal, TenantBounds

T = TypeVar("T")


class Bell(Protocol):
    """Wakes one coroutine; rings of many threads before it looks are one."""

    def ring(self) -> None:
        """Wake whoever waits, or who waits next. From any thread; never raises."""

    async def wait(self) -> None:
        """Return when it was rung since the last wait."""


class Workers(Protocol):
    """Executes runs, at most so many at once, fairly between tenants.

    What executes may be threads or processes: work is told to a worker as a function without
    arguments, which returns nothing and raises nothing.
    """

    def govern(self, bounds_of: Callable[[str], TenantBounds]) -> None:
        """Ask from now on how much of a tenant may wait, and run; a function that never blocks."""

    def has_room(self, tenant: str) -> Refusal | None:
        """Return which bound would refuse one more run, None when it would be taken."""

    def submit(self, entry: Entry[Callable[[], None]], *, forced: bool = False) -> Refusal | None:
        """Execute something when its turn comes; return which bound refuses it, if one does.

        `forced` is for what was accepted before: it is never refused.
        """

    def remove(self, work: Callable[[], None]) -> bool:
        """Take back what waits; False when it was begun already."""

    def counts(self) -> tuple[int, int]:
        """Return how many wait and how many are executed."""

    def stop(self, timeout_ms: int) -> bool:
        """Begin nothing more and wait for what was begun; False when that takes too long."""


class Sealer(Protocol):
    """Keeps secrets from who reads a store: its key is elsewhere."""

    def seal(self, text: str, bound_to: bytes) -> bytes:
        """Return a text sealed. Raises: ClocheError: there is no key."""

    def open(self, name: str, sealed: bytes, bound_to: bytes) -> str:
        """Return what was sealed. Raises: ClocheError: with another key, or bound otherwise."""


class Host(Protocol):
    """The world of one server."""

    @property
    def workers(self) -> Workers:
        """Who executes runs."""

    def now_ns(self) -> int:
        """Return the wall clock, nanoseconds of the Unix epoch."""

    def random_bytes(self, count: int) -> bytes:
        """Return bytes that nobody can guess."""

    async def call(self, work: Callable[[], T]) -> T:
        """Return what a function returns that may block: it does not run on the event loop."""

    def bell(self) -> Bell:
        """Return a bell for the coroutine that asks."""
