"""Between the event loop that speaks with a client and the thread that runs an app for it.

Invariants:
- what the app has written and the client has not taken is at most
  `apps.response_buffer_limit_bytes`, then the app's thread waits;
- a client that leaves is told to the app's thread with its next call;
- a whole response crosses to the loop in one step, or in none where it comes from there.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Final

from cloche.apps.errors import AppRequestTooLargeError
from cloche.apps.ports import ClientGoneError
from cloche.web.errors import ChannelClosedError, ContentTooLargeError, HttpError
from cloche.web.response import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from cloche.apps.ports import Line
    from cloche.web.ports import BodySource

MS_PER_S: Final = 1000


class BrokenResponseError(Exception):
    """An app stopped in the middle of its response: the connection is to be broken off."""


class Reply:
    """The response of one request (a `ReplySink`), made on a thread, sent from the loop.

    Args:
        limit_bytes: what may wait for the client.
        stall_ms: how long a client may take nothing.
        on_gone: called, once, when the client leaves before the end.
    """

    def __init__(self, *, limit_bytes: int, stall_ms: int, on_gone: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._begun: asyncio.Future[Response] = self._loop.create_future()
        self._limit_bytes = limit_bytes
        self._stall_s = stall_ms / MS_PER_S
        self._on_gone = on_gone
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_over = False
        self._is_gone = False
        self._is_broken = False
        self._arrived: asyncio.Event | None = None  # made for what does not come whole
        self._head: tuple[int, tuple[Line, ...], int] | None = None  # of a response to come whole

    # --- on the app's thread ---

    def start(self, status: int, lines: Sequence[Line], length_bytes: int | None) -> None:
        """See `ReplySink`."""
        self._check_there()
        if length_bytes is not None and length_bytes <= self._limit_bytes:
            self._head = (status, tuple(lines), length_bytes)
            return
        self._to_loop(
            lambda: self._begin(Response(status, tuple(lines), self._stream(), length_bytes))
        )

    def write(self, data: bytes) -> None:
        """See `ReplySink`."""
        with self._lock:
            if self._head is not None:
                self._pieces.append(data)
                return
            while self._waiting_bytes > 0 and self._waiting_bytes + len(data) > self._limit_bytes:
                if self._is_gone or not self._changed.wait(self._stall_s):
                    self._is_gone = True
                    raise ClientGoneError
            if self._is_gone:
                raise ClientGoneError
            self._pieces.append(data)
            self._waiting_bytes += len(data)
        self._to_loop(self._arrive)

    def end(self) -> None:
        """See `ReplySink`."""
        with self._lock:
            self._is_over = True
        if self._head is not None:
            status, lines, length = self._head
            body = b"".join(self._pieces)
            # The answer to a HEAD has the length of a body that it does not have.
            whole = Response(status, lines, body)
            if length != len(body):
                whole = Response(status, lines, self._stream(), length)
            self._to_loop(lambda: self._begin(whole))
        else:
            self._to_loop(self._arrive)

    def abort(self) -> None:
        """See `ReplySink`."""
        self._check_there()
        with self._lock:
            self._is_over = self._is_broken = True
        if self._head is not None:
            self.fail(BrokenResponseError())
        else:
            self._to_loop(self._arrive)

    def fail(self, error: BaseException) -> None:
        """Nothing was answered, and nothing will be."""

        def give_up() -> None:
            if not self._begun.done():
                self._begun.set_exception(error)

        self._to_loop(give_up)

    def _check_there(self) -> None:
        if self._is_gone:
            raise ClientGoneError

    def _to_loop(self, work: Callable[[], object]) -> None:
        if threading.get_ident() == self._thread:
            work()
            return
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:
            # The server has ended, and its clients with it.
            self._is_gone = True

    # --- on the loop ---

    def _arrive(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

    def _begin(self, response: Response) -> None:
        if not self._begun.done():
            self._begun.set_result(response)

    async def response(self) -> Response:
        """Return the response when the app has begun it."""
        try:
            return await self._begun
        except asyncio.CancelledError:
            self._leave()
            raise

    async def _stream(self) -> AsyncIterator[bytes]:
        arrived = self._arrived = asyncio.Event()
        try:
            while True:
                piece, is_over = self._next()
                if piece:
                    yield piece
                elif is_over:
                    if self._is_broken:
                        raise BrokenResponseError
                    return
                else:
                    arrived.clear()
                    if not self._pieces and not self._is_over:
                        await arrived.wait()
        finally:
            if not self._is_over or self._pieces:
                self._leave()

    def _next(self) -> tuple[bytes, bool]:
        with self._lock:
            piece = b"".join(self._pieces)
            self._pieces.clear()
            self._waiting_bytes = 0
            self._changed.notify()
            return piece, self._is_over

    def _leave(self) -> None:
        with self._lock:
            is_first = not self._is_gone
            self._is_gone = True
            self._changed.notify()
        if is_first:
            self._on_gone()


class LargeBody:
    """A body that the app reads in pieces (a `BodyReader`).

    Args:
        source: of the request, on the loop.
        first: what was read of it before.
        limit_bytes: how large it may be.
        stall_ms: how long its client may send nothing while the app waits: then it has left.
    """

    def __init__(
        self, source: BodySource, first: bytes, *, limit_bytes: int, stall_ms: int
    ) -> None:
        self._stall_s = stall_ms / MS_PER_S
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._rest = first
        self._count = len(first)
        self._limit_bytes = limit_bytes
        self._is_over = False

    def read(self, limit_bytes: int) -> bytes:
        """See `BodyReader`. Called on the app's thread."""
        while not self._rest and not self._is_over:
            piece = self._next()
            self._is_over = not piece
            self._count += len(piece)
            if self._count > self._limit_bytes:
                raise AppRequestTooLargeError(limit_bytes=self._limit_bytes)
            self._rest = piece
        piece, self._rest = self._rest[:limit_bytes], self._rest[limit_bytes:]
        return piece

    def _next(self) -> bytes:
        work = self._source.read()
        try:
            reading = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the server has ended
            work.close()
            raise ClientGoneError from None
        try:
            return reading.result(self._stall_s)
        except ContentTooLargeError:
            raise AppRequestTooLargeError(limit_bytes=self._limit_bytes) from None
        except TimeoutError:
            reading.cancel()
            raise ClientGoneError from None
        except (HttpError, ChannelClosedError, CancelledError):
            raise ClientGoneError from None
