"""What an application asks of the world: time, randomness, deadlines, a log. Bodies that stream.

The core has none of them itself, so the same application answers the same bytes from a cassette.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Mapping


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

    def heartbeat(
        self, pieces: AsyncIterable[bytes], interval_ms: int, beat: bytes
    ) -> AsyncIterable[bytes]:
        """Return the pieces, and a beat wherever none has come for so long."""

    def log(self, record: Mapping[str, object]) -> None:
        """Write one structured record. Never blocks, never raises."""


class BodySource(Protocol):
    """A request body that is still coming."""

    async def read(self) -> bytes:
        """Return the next piece, not empty; at the end no bytes.

        Raises:
            HttpError: the body is larger than allowed, or the connection ended inside of it.
        """


class Channel(Protocol):
    """An open WebSocket, message by message. Made by adapters when a response was a 101.

    Pings and pongs are the adapter's own, and so are the limits of messages.
    """

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            ChannelClosedError: it was closed, or the connection ended; the same again afterwards.
        """

    async def send(self, content: str | bytes) -> None:
        """Send a message; waits while the client reads too slowly.

        Raises:
            ChannelClosedError: it was closed, or the connection ended.
        """

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a code. What is closed stays closed with its first code. Never raises."""


class FileInfo(msgspec.Struct, frozen=True):
    """What is known of a file: bytes, and nanoseconds since 1970 of its last change."""

    size: int
    mtime_ns: int


class OpenFile(Protocol):
    """A file that is open: what it is does not change under its reader's hands."""

    @property
    def info(self) -> FileInfo:
        """What is known of it."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes from an offset, fewer only at the end.

        Raises:
            OSError: it cannot be read.
        """

    def close(self) -> None:
        """Give it back. Can be called twice."""


class Files(Protocol):
    """A folder of files to be shown."""

    async def open(self, parts: tuple[str, ...]) -> OpenFile | None:
        """Return the regular file at this path, or None: nothing is there, or not to be shown.

        `parts` are names, none of them empty, `.` or `..`, with a slash, backslash or NUL.
        """
