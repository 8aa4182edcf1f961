"""A WebSocket on a connection of our server.

Invariants:
- messages that wait for the handler are bounded by a window and the largest message; then the
  socket is not read;
- a ping is answered unless the client does not read what it gets; silence is asked, and ends;
- a close is sent once, with the first code; behind it messages are neither read nor sent;
- a handler that does not notice that the client left is cancelled after a while.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cloche.web.adapters.server_errors import ServerStateError
from cloche.web.app import answer_failure
from cloche.web.errors import ChannelClosedError
from cloche.web.http1.errors import Http1ResponseError
from cloche.web.response import Response
from cloche.web.websocket.frames import (
    _CLOSE_CODES,
    Close,
    Failure,
    FrameReader,
    Message,
    Ping,
    write_close,
    write_message,
    write_ping,
    write_pong,
)

if TYPE_CHECKING:
    import asyncio

    from cloche.web.adapters.server_connection import Connection
    from cloche.web.request import Request
    from cloche.web.websocket.frames import Event

_MS_PER_S: Final = 1000
_NO_CODE: Final = 1005
_LOST: Final = 1006
_GOING_AWAY: Final = 1001
_INTERNAL: Final = 1011
_SWITCHING: Final = 101
_DEFLATED_MIN: Final = 128  # characters or bytes of a message that is worth the work


async def run_socket(connection: Connection, request: Request, response: Response) -> None:
    """Open a WebSocket, run it to its end, and end the connection."""
    head = connection.head
    upgrade = response.body
    if head is None or not head.upgrades:
        problem = "has a WebSocket for a request that offers none"
        connection.answer(answer_failure(request, ServerStateError(problem=problem)))
        return
    try:
        opening = Response(_SWITCHING, response.fields)
        data = connection.hub.heads.whole(opening, request.method, close=False)
    except Http1ResponseError as refused:
        connection.answer(answer_failure(request, refused))
        return
    connection.write(data)
    socket = SocketChannel(connection, deflate=upgrade.deflate)
    connection.hub.counts.websockets += 1
    try:
        connection.take_over(socket)
        await upgrade.run(socket)
    finally:
        connection.hub.counts.websockets -= 1
        socket.end()


class SocketChannel:
    """The channel of a handler, and what the connection tells."""

    __slots__ = (
        "_asked_at_ms",
        "_cancel_timer",
        "_closed",
        "_connection",
        "_deadline_ms",
        "_deflate",
        "_has_ended",
        "_has_heard",
        "_has_sent_close",
        "_heard_at_ms",
        "_messages",
        "_reader",
        "_size",
        "_waiter",
        "_web",
        "_window_bytes",
    )

    def __init__(self, connection: Connection, *, deflate: bool) -> None:
        web = connection.hub.web
        self._connection = connection
        self._web = web
        self._window_bytes = web.stream_window_bytes
        self._deflate = deflate
        self._reader = FrameReader(
            message_limit_bytes=web.websocket_message_limit_bytes,
            fragment_count_max=web.websocket_fragment_count_max,
            deflate=deflate,
        )
        self._messages: deque[str | bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed: ChannelClosedError | None = None
        self._has_sent_close = False
        self._has_ended = False  # the handler has
        self._has_heard = True
        self._heard_at_ms = connection.hub.now_ms
        self._asked_at_ms = -1.0
        self._deadline_ms = -1.0  # for the other side's close
        self._cancel_timer: asyncio.TimerHandle | None = None

    # The channel.

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            ChannelClosedError: it was closed, or the connection ended.
        """
        while not self._messages:
            if self._closed is not None:
                raise self._closed
            self._waiter = self._connection.hub.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        content = self._messages.popleft()
        was_full = self._size >= self._window_bytes
        self._size -= len(content)
        if was_full and self._size < self._window_bytes:
            self._connection.read_more(wanted=True)
        return content

    async def send(self, content: str | bytes) -> None:
        """Send a message; waits while the client reads too slowly.

        Raises:
            ChannelClosedError: it was closed, or the connection ended.
        """
        if self._closed is not None:
            raise self._closed
        connection = self._connection
        deflate = self._deflate and len(content) >= _DEFLATED_MIN
        connection.write(write_message(content, deflate=deflate))
        if connection.is_paused:
            await connection.wait_for_room()
            if connection.is_lost and self._closed is not None:
                raise self._closed

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a code. A code that nobody may send becomes 1011."""
        self._close(code, reason)

    # What the connection tells.

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._has_heard = True
        for event in self._reader.feed(data):
            if type(event) is Message:
                self._take(event.content)
            else:
                self._take_control(event)

    def end_of_input(self) -> None:
        """Take the end of input without a close."""
        self._shut(_LOST, "")
        self._connection.close()

    def lost(self) -> None:
        """Take the end of the connection."""
        self._shut(_LOST, "")
        if not self._has_ended:
            after_s = self._web.websocket_close_timeout_ms / _MS_PER_S
            loop = self._connection.hub.loop
            self._cancel_timer = loop.call_later(after_s, self._connection.cancel)

    def drain(self) -> None:
        """Close, as the server stops."""
        self._close(_GOING_AWAY, "")

    def end(self) -> None:
        """End the connection, as the handler is through."""
        self._has_ended = True
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
        self._close(_INTERNAL, "")  # nothing, where it was closed as it must be
        self._messages.clear()
        self._connection.read_more(wanted=True)  # for the other side's close

    def on_tick(self, now_ms: float) -> None:
        """Ask a client that is silent; end where no answer comes."""
        if self._has_sent_close:
            if self._deadline_ms < 0:
                self._deadline_ms = now_ms + self._web.websocket_close_timeout_ms
            elif now_ms > self._deadline_ms:
                self._time_out()
        elif self._has_heard or self._size >= self._window_bytes:
            self._has_heard = False
            self._heard_at_ms = now_ms
            self._asked_at_ms = -1.0
        elif self._asked_at_ms >= 0:
            if now_ms - self._asked_at_ms > self._web.websocket_pong_timeout_ms:
                self._time_out()
        elif now_ms - self._heard_at_ms > self._web.websocket_ping_ms:
            self._asked_at_ms = now_ms
            self._connection.write(write_ping())

    def _take(self, content: str | bytes) -> None:
        if self._closed is not None:
            return
        self._messages.append(content)
        self._size += len(content)
        if self._size >= self._window_bytes:
            self._connection.read_more(wanted=False)
        self._wake()

    def _take_control(self, event: Event) -> None:
        if isinstance(event, Ping):
            if not self._has_sent_close and not self._connection.is_paused:
                self._connection.write(write_pong(event.payload))
        elif isinstance(event, Close):
            if not self._has_sent_close:
                self._has_sent_close = True
                self._connection.write(write_close(event.code))
            self._shut(_NO_CODE if event.code is None else event.code, event.reason)
            self._connection.close()
        elif isinstance(event, Failure):
            if not self._has_sent_close:
                self._has_sent_close = True
                self._connection.write(write_close(event.code, event.reason))
            self._shut(event.code, event.reason)
            self._connection.end(linger=True)

    def _close(self, code: int, reason: str) -> None:
        if self._closed is not None:
            return
        code = code if code in _CLOSE_CODES else _INTERNAL
        self._has_sent_close = True
        self._connection.write(write_close(code, reason))
        self._messages.clear()
        self._size = 0
        self._shut(code, reason)

    def _shut(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = ChannelClosedError(close_code=code, reason=reason)
        self._wake()

    def _time_out(self) -> None:
        self._connection.hub.counts.timeouts += 1
        self._connection.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
