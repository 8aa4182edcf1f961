"""What an application asks of the world: time, randomness, deadlines, a log. Bodies that stream.

The core has none of them itself, so the same application answers the same bytes from a cassette.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping


class Services(Protocol):
    """What an adapter gives to each request."""

    def now_ns(self) -> int:
        """Return the time of day, nanoseconds since 1970."""

    def monotonic_ns(self) -> int:
        """Return a time that never goes back, for durations."""

    def random_bytes(self, count: int) -> bytes:
        """Return bytes that nobody can guess."""

    async def within(self, work: Awaitable[Any], timeout_ms: int) -> Any:
        """Return the result of some work, or raise TimeoutError and cancel it."""

    def log(self, record: Mapping[str, object]) -> None:
        """Write one structured record. Never blocks, never raises."""


class BodySource(Protocol):
    """A request body that is still coming."""

    async def read(self) -> bytes:
        """Return the next piece, not empty; at the end no bytes.

        Raises:
            HttpError: the body is larger than allowed, or the connection ended inside of it.
        """
