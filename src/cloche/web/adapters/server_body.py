"""The body of a request while it comes.

Invariants:
- at most a window and what the socket gave at once is kept; then the connection is read no more
  until the handler has taken something;
- the end is told once as no bytes, a failure again and again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from cloche.web.adapters.server_errors import ServerStateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.web.errors import HttpError


class StreamedBody:
    """Pieces from the connection to a handler.

    Args:
        window_bytes: how much may wait.
        wanted: called when the handler waits for more, and when there is room again.
    """

    __slots__ = (
        "_failure",
        "_has_ended",
        "_pieces",
        "_size",
        "_waiter",
        "_wanted",
        "_window_bytes",
    )

    def __init__(self, window_bytes: int, wanted: Callable[[], None]) -> None:
        self._window_bytes = window_bytes
        self._wanted = wanted
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._has_ended = False
        self._failure: HttpError | None = None

    @property
    def is_full(self) -> bool:
        """Whether nothing more should come now."""
        return self._size >= self._window_bytes

    @property
    def is_waited_for(self) -> bool:
        """Whether the handler waits for the client."""
        return self._waiter is not None

    async def read(self) -> bytes:
        """Return the next piece; at the end no bytes.

        Raises:
            HttpError: the client broke off, was too slow, or sent what is no body.
            ServerStateError: someone else is reading.
        """
        if not self._pieces:
            await self._wait()
        if not self._pieces:
            if self._failure is not None:
                raise self._failure
            return b""
        was_full = self.is_full
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if was_full and not self.is_full:
            self._wanted()
        return piece

    async def _wait(self) -> None:
        if self._has_ended:
            return
        if self._waiter is not None:
            raise ServerStateError(problem="gives a body to one reader at a time")
        self._waiter = asyncio.get_running_loop().create_future()
        self._wanted()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def feed(self, data: bytes) -> None:
        """Take a piece from the connection."""
        self._pieces.append(data)
        self._size += len(data)
        self._wake()

    def end(self) -> None:
        """Say that all is here."""
        self._has_ended = True
        self._wake()

    def fail(self, failure: HttpError) -> None:
        """Say that the rest will not come."""
        self._failure = failure
        self.end()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
