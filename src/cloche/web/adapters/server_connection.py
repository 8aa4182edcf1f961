"""One connection: bytes in, requests to the application in their order, responses out.

Invariants:
- requests are answered in the order they came, one at a time; those behind wait in the parser, and
  while anything waits the socket is not read;
- what is kept for a client is bounded: one head, a window of a body, one response and a window of
  the next; a client that neither sends nor reads is cut off by a deadline;
- after bytes that are no HTTP there is one answer and the end, and nothing further is interpreted;
- a client that went away ends the work that was done for it.

How a response is made and written is in `server_exchange`, WebSockets are in `websocket`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from cloche.web.adapters.server_body import StreamedBody
from cloche.web.adapters.server_errors import (
    BodyBrokenError,
    ClientTooSlowError,
    FramingTooLargeError,
    ProtocolError,
)
from cloche.web.adapters.server_exchange import serve_request
from cloche.web.adapters.server_hub import NEVER
from cloche.web.errors import ContentTooLargeError, HandlerTimeoutError
from cloche.web.http1.chunked import CHUNK_OVERHEAD
from cloche.web.http1.events import Data, End, Reject, RequestHead
from cloche.web.http1.framing import BODY_TOO_LARGE
from cloche.web.http1.parser import TRUNCATED, RequestParser
from cloche.web.http1.serializer import CONTINUE
from cloche.web.request import Request
from cloche.web.response import error

if TYPE_CHECKING:
    from cloche.web.adapters.server_hub import Hub
    from cloche.web.adapters.server_tasks import Running
    from cloche.web.adapters.websocket import SocketChannel
    from cloche.web.encodings.codes import Code
    from cloche.web.errors import HttpError
    from cloche.web.http1.events import Event
    from cloche.web.response import Response

_MS_PER_S: Final = 1000
_ALWAYS: Final = 0.0  # a deadline that is looked at in every tick


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket.

    Args:
        hub: what the server shares.
        peer: the address of the client, empty where it has none.
        scheme: `https` where TLS is below.
    """

    __slots__ = (
        "_body",
        "_body_ms",
        "_body_size",
        "_discarded",
        "_eof_until_ms",
        "_handler_ms",
        "_has_eof",
        "_is_advancing",
        "_is_answered",
        "_is_body_open",
        "_is_closing",
        "_is_in_head",
        "_is_lingering",
        "_is_reading",
        "_owes_continue",
        "_parser",
        "_pending",
        "_request_count",
        "_socket",
        "_stall_goal",
        "_stalled_from_ms",
        "_task",
        "_ticked_ms",
        "_writers",
        "deadline_ms",
        "has_begun",
        "head",
        "hub",
        "is_lost",
        "is_paused",
        "must_close",
        "peer",
        "scheme",
        "transport",
    )

    def __init__(self, hub: Hub, peer: str, scheme: str) -> None:
        self.hub = hub
        self.peer = peer
        self.scheme = scheme
        self.transport: Any = None
        self._parser = RequestParser(hub.caps)
        self._pending: deque[Event] = deque()  # events behind what is answered now
        self.head: RequestHead | None = None  # of the request that is answered now
        self._task: Running | None = None
        self._body: StreamedBody | None = None  # where the body goes; None: nowhere
        self._is_body_open = False  # its end has not come
        self._owes_continue = False
        self.has_begun = False  # a byte of the response is written
        self._is_answered = False  # the response is complete, the body of the request is not
        self.must_close = False
        self._is_advancing = False
        self._request_count = 0
        self._is_reading = True
        self._has_eof = False
        self._eof_until_ms = (
            NEVER  # a client that ended its side has gone, if it is not answered soon
        )
        self.is_paused = False  # the client does not read
        self._writers: list[asyncio.Future[None]] = []  # that wait until the client reads
        self._is_closing = False  # as soon as everything is written
        self._is_lingering = False  # the rest is read and dropped
        self.is_lost = False
        self._socket: SocketChannel | None = None
        self._discarded = 0
        self._body_size = 0
        self._body_ms = 0.0  # for how long the client was waited for
        self._handler_ms = 0.0
        self._ticked_ms = 0.0
        self._is_in_head = False  # of the next request, whose first bytes are here
        self._stalled_from_ms = NEVER
        self._stall_goal = 0
        self.deadline_ms = NEVER

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self.transport.set_write_buffer_limits(high=self.hub.web.stream_window_bytes)
        self.hub.opened(self)
        self.deadline_ms = self.hub.now_ms + self.hub.web.idle_timeout_ms
        if self.hub.is_draining:
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._socket is not None:
            self._socket.feed(data)
            return
        if self._is_lingering or self._is_closing:
            self._discard(len(data))
            return
        parser = self._parser
        events = parser.feed(data)
        if events:
            self._pending += events
            self._advance()
        elif self.head is None and not self._pending:
            self._wait_for_head()
        elif parser.is_closed:
            self._discard(len(data))

    def eof_received(self) -> bool:
        """Take the end of input.

        What was asked is still answered, for a moment and where the socket allows it: a client that
        closed its side alone cannot be told from one that has left.
        """
        self._has_eof = True
        self._eof_until_ms = self.hub.now_ms + self.hub.web.linger_timeout_ms
        if self._socket is not None:
            self._socket.end_of_input()
            return False
        self._pending += self._parser.finish()
        self._advance()
        # TLS cannot be open in one direction alone.
        return self.scheme == "http" and self.head is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and end what was done for the client."""
        del exc
        self.is_lost = True
        self.deadline_ms = NEVER
        self._pending.clear()
        self._wake_writers()
        if self._body is not None and self._is_body_open:
            self._body.fail(BodyBrokenError())
        if self._socket is not None:
            self._socket.lost()
        else:
            self.cancel()
        self.hub.closed(self)

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self.is_paused = False
        self._stalled_from_ms = NEVER
        self._wake_writers()
        if self._pending:
            self._advance()

    # What the exchange and the WebSocket call.

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked, and nothing begun."""
        return (
            self.head is None
            and not self._pending
            and not self._is_closing
            and self._socket is None
            and self._parser.is_idle
        )

    def write(self, data: bytes) -> None:
        """Write bytes, unless nobody is there."""
        self.has_begun = True
        if not self.is_lost:
            self.transport.write(data)

    async def wait_for_room(self) -> None:
        """Wait while the client does not read. Returns at once where it went away."""
        while self.is_paused and not self.is_lost:
            waiter = self.hub.loop.create_future()
            self._writers.append(waiter)
            await waiter

    def closes_behind(self) -> bool:
        """Return whether the connection ends behind the response that is written now."""
        head = self.head
        assert head is not None, "a request is answered"
        if (
            not head.keep_alive
            or self.hub.is_draining
            or self._request_count >= self.hub.web.connection_request_count_max
            or (self._is_body_open and self._owes_continue)
        ):
            self.must_close = True
        return self.must_close

    def finish(self) -> None:
        """Go on behind a response that is complete."""
        self._task = None
        if self.is_lost:
            return
        if not self._is_body_open:
            self._next()
        elif self.must_close:
            self.end(linger=True)
        else:
            self._body = None
            self._is_answered = True
            self._discarded = 0
            self.deadline_ms = self.hub.now_ms + self.hub.web.linger_timeout_ms
            self._set_reading()

    def take_over(self, socket: SocketChannel) -> None:
        """Give the connection to a WebSocket."""
        self._socket = socket
        self.deadline_ms = _ALWAYS
        rest = self._parser.take_over()
        self._set_reading()
        if rest:
            socket.feed(rest)
        if self._has_eof:
            socket.end_of_input()

    def read_more(self, *, wanted: bool) -> None:
        """Read the socket, or do not."""
        if wanted != self._is_reading and not self.is_lost:
            self._is_reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def close(self) -> None:
        """End when everything is written, or cut where the client does not read it."""
        self._is_closing = True
        self._pending.clear()
        self.deadline_ms = _ALWAYS
        self.transport.close()

    def cancel(self) -> None:
        """Cancel what is done for the client."""
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        """End now."""
        self._is_closing = True
        if not self.is_lost:
            self.transport.abort()

    def drain(self) -> None:
        """End behind the request that is answered now, or at once where there is none."""
        if self._socket is not None:
            self._socket.drain()
        elif self.head is None and not self._is_closing and not self._is_lingering:
            self.close()

    # The order of things.

    def _advance(self) -> None:
        """Take events in their order until one has to wait."""
        if self._is_advancing:
            return
        self._is_advancing = True
        pending = self._pending
        try:
            while pending and not self._is_closing:
                event = pending[0]
                kind = type(event)
                if kind is RequestHead:
                    if self.head is not None or self.is_paused:
                        break
                    pending.popleft()
                    self._begin(event)  # type: ignore[arg-type]  # a head: its type says so
                elif kind is Reject:
                    if self.head is not None and not self._is_body_open:
                        break
                    pending.popleft()
                    self._refuse(event.code)  # type: ignore[union-attr]  # likewise
                else:
                    pending.popleft()
                    self._take_body(event)
        finally:
            self._is_advancing = False
        if pending and self.head is None:
            self.deadline_ms = _ALWAYS  # the client has to read first
        self._set_reading()
        if self._has_eof and self.head is None and not pending and not self._is_closing:
            self.close()

    def _begin(self, head: RequestHead) -> None:
        pending, hub = self._pending, self.hub
        self.head = head
        self._is_in_head = False
        self.has_begun = False
        self._request_count += 1
        body: bytes | StreamedBody = b""
        if head.content_length == 0:
            pending.popleft()  # the end, which follows at once
        elif len(pending) > 1 and type(pending[0]) is Data and type(pending[1]) is End:
            body = pending.popleft().data  # type: ignore[union-attr]  # a piece: its type says so
            pending.popleft()
        else:
            body = self._body = StreamedBody(hub.web.stream_window_bytes, self._want_body)
            self._is_body_open = True
            self._owes_continue = head.expects_continue
            self._body_size = 0
            self._body_ms = 0.0
        self._handler_ms = 0.0
        self._ticked_ms = hub.now_ms
        self.deadline_ms = _ALWAYS
        client, scheme = self.peer, self.scheme
        if hub.forwarding is not None:
            client, scheme = hub.forwarding.resolve(head.fields, client, scheme)
        request = Request(
            method=head.method,
            target=head.target,
            services=hub.services,
            fields=head.fields,
            body=body,
            scheme=scheme,
            client=client,
        )
        hub.counts.requests += 1
        hub.counts.open_requests += 1
        self._task = hub.runner.begin(serve_request(self, request))

    def _next(self) -> None:
        """Go on behind a request that is answered and was read to its end."""
        head, self.head = self.head, None
        self._body = None
        self._is_answered = False
        if self.must_close or self.hub.is_draining:
            # A client that did not ask for the end may have sent more.
            self.end(linger=head is not None and head.keep_alive)
            return
        self._pending += self._parser.answered()
        if self._pending:
            self._advance()
        elif self._has_eof:
            self.close()
        else:
            if not self._is_advancing:
                self._set_reading()
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        """Set the deadline of what comes next."""
        hub = self.hub
        if self._parser.is_idle:
            self._is_in_head = False
            self.deadline_ms = hub.now_ms + hub.web.idle_timeout_ms
        elif not self._is_in_head:
            # The time of a head is counted from its first bytes, whatever comes later.
            self._is_in_head = True
            self.deadline_ms = hub.now_ms + hub.web.head_timeout_ms

    def _take_body(self, event: Event) -> None:
        body = self._body
        if type(event) is Data:
            self._owes_continue = False
            self._body_size += len(event.data)
            if body is not None:
                body.feed(event.data)
            else:
                self._discard(len(event.data))
            return
        self._is_body_open = False
        if body is not None:
            body.end()
        if self._is_answered:
            self._next()

    def _want_body(self) -> None:
        if self._owes_continue and not self.has_begun and not self.is_lost:
            self._owes_continue = False
            self.transport.write(CONTINUE)
        self._set_reading()

    def _set_reading(self) -> None:
        body, parser = self._body, self._parser
        wanted = (
            not self._pending
            and (parser.is_reading or (parser.is_closed and not self._is_closing))
            and (body is None or not body.is_full)
        )
        if wanted != self._is_reading:
            self.read_more(wanted=wanted)

    def _refuse(self, code: Code) -> None:
        """End the connection with one answer: that of the handler that reads the body, or ours."""
        self.hub.counts.rejected += 1
        failure: HttpError = ProtocolError(reason=code)
        if code is TRUNCATED:
            failure = BodyBrokenError() if self._is_body_open else failure
        elif code is CHUNK_OVERHEAD:
            failure = FramingTooLargeError(reason=code)
        elif code is BODY_TOO_LARGE:
            failure = ContentTooLargeError(limit_bytes=self.hub.caps.body_limit_bytes)
        self.must_close = True
        if not self._is_body_open:
            self.answer(error(failure, code.status))
        elif self._body is not None:
            self._body.fail(failure)
        else:
            self.end(linger=True)

    def answer(self, response: Response) -> None:
        """Answer without the application, and end."""
        method = "GET" if self.head is None else self.head.method
        self.write(self.hub.heads.whole(response, method, close=True))
        self.head = None
        self.end(linger=True)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > self.hub.web.discard_limit_bytes:
            if self._is_lingering or self._is_answered:
                self.close()
            else:
                self.read_more(wanted=False)

    def end(self, *, linger: bool) -> None:
        """End. What the client still sends is read for a while, or the answer may not arrive."""
        self._pending.clear()
        if not linger or self._has_eof:
            self.close()
            return
        self._is_lingering = True
        self._discarded = 0
        self.deadline_ms = self.hub.now_ms + self.hub.web.linger_timeout_ms
        self.read_more(wanted=True)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for waiter in writers:
            if not waiter.done():
                waiter.set_result(None)

    # Deadlines.

    def on_tick(self, now_ms: float) -> None:
        """Look at what is due."""
        if now_ms > self._eof_until_ms:
            self.abort()
            return
        if self._is_closing or self.is_paused or self.has_begun:
            if self._has_stalled(now_ms):
                self.hub.counts.timeouts += 1
                self.abort()
                return
            if self._is_closing:
                return
        if self._socket is not None:
            self._socket.on_tick(now_ms)
        elif self._is_lingering or self._is_answered:
            self.close()
        elif self.head is not None:
            self._tick_request(now_ms)
        elif not self._pending:
            self.hub.counts.timeouts += 1
            if self._parser.is_idle:
                self.close()
            else:
                failure = ClientTooSlowError(part="head")
                self.answer(error(failure))

    def _tick_request(self, now_ms: float) -> None:
        web = self.hub.web
        elapsed_ms, self._ticked_ms = now_ms - self._ticked_ms, now_ms
        body = self._body
        if body is not None and body.is_waited_for:
            self._body_ms += elapsed_ms
            late_ms = self._body_ms - web.body_grace_ms
            if late_ms > 0 and self._body_size * _MS_PER_S < late_ms * web.transfer_rate_min_bytes:
                self.hub.counts.timeouts += 1
                self.must_close = True
                body.fail(ClientTooSlowError(part="body"))
        elif not self.has_begun:
            self._handler_ms += elapsed_ms
            if self._handler_ms > web.handler_timeout_ms:
                self.hub.counts.timeouts += 1
                assert self._task is not None
                self._task.cancel()
                self._task = None
                self.answer(error(HandlerTimeoutError(timeout_ms=web.handler_timeout_ms)))

    def _has_stalled(self, now_ms: float) -> bool:
        """Return whether the client takes less than it must."""
        web = self.hub.web
        left = self.transport.get_write_buffer_size()
        if not left:
            self._stalled_from_ms = NEVER
            return False
        if self._stalled_from_ms is NEVER or left <= self._stall_goal:
            least = web.transfer_rate_min_bytes * web.write_stall_timeout_ms // _MS_PER_S
            self._stalled_from_ms = now_ms
            self._stall_goal = max(0, left - max(1, least))
            return False
        return now_ms - self._stalled_from_ms > web.write_stall_timeout_ms
