"""The stream form: bytes of one connection in, events out.

Owns where one message ends and the next begins, and what may not be read as a message.
Invariants:
- any split of the same bytes gives the same events; only the borders of `Data` move;
- after a `Reject`, after a request that closes, after CONNECT, nothing further is interpreted;
- between two calls at most one head, chunk line or trailer is kept; only while the parser waits for
  answers it keeps what it is fed, and `is_reading` says to feed no more.

It does no I/O and knows no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.web.http1.caps import LEADING_LINE_COUNT_MAX, Http1Caps
from cloche.web.http1.chunked import ChunkedReader
from cloche.web.http1.events import END, Data, Event, Reject, RequestHead
from cloche.web.http1.framing import accept_head, explain_head
from cloche.web.http1.head import HEAD, HeadScanner, http1_code
from cloche.web.http1.plain import PlainHeads

if TYPE_CHECKING:
    from cloche.web.encodings.codes import Code

_CR: Final = ord("\r")
TRUNCATED: Final = http1_code("TRUNCATED")


# What the next byte is. Numbers, as members of an enum cost a tenth of the time of a small request.
_HEAD: Final = 0
_LENGTH: Final = 1  # body of a known length
_CHUNKED: Final = 2
_WAITING: Final = 3  # for answers: too many requests are open, or one may change the protocol
_CLOSED: Final = 4


class RequestParser:
    """Reads the requests of one connection. One owner; not for several threads."""

    __slots__ = (
        "_caps",
        "_chunks",
        "_ended",
        "_head",
        "_held",
        "_held_at",
        "_left",
        "_open_count",
        "_plain",
        "_rest",
        "_scanner",
        "_skipped",
        "_state",
    )

    def __init__(self, caps: Http1Caps | None = None) -> None:
        self._caps = Http1Caps() if caps is None else caps
        self._state = _HEAD
        self._rest = bytearray()  # of a head, chunk line or trailer that is not complete
        self._held = b""  # fed while waiting, from `_held_at` on
        self._held_at = 0
        self._scanner: HeadScanner | None = None
        self._chunks: ChunkedReader | None = None
        self._head: RequestHead | None = None
        self._plain = PlainHeads(self._caps)
        self._left = 0  # bytes of the body that are still to come
        self._skipped = 0  # empty lines before this request
        self._open_count = 0  # requests that are complete and not answered
        self._ended = False

    @property
    def is_reading(self) -> bool:
        """Whether more bytes are wanted now."""
        return self._state < _WAITING

    @property
    def is_closed(self) -> bool:
        """Whether nothing that is fed will ever be interpreted."""
        return self._state == _CLOSED

    @property
    def is_idle(self) -> bool:
        """Whether the connection is between two messages, with nothing of the next one seen."""
        return self._state == _HEAD and not self._rest

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that these bytes complete."""
        events: list[Event] = []
        if self._state >= _WAITING:
            if self._state == _WAITING:
                self._held = self._held[self._held_at :] + data
                self._held_at = 0
            return events
        if self._rest:
            self._rest += data
            if not self._is_worth_reading(events):
                return events
            data = bytes(self._rest)
            self._rest.clear()
        self._run(data, 0, events)
        return events

    def finish(self) -> list[Event]:
        """Return what the end of input completes: nothing, or a refusal inside a message."""
        self._ended = True
        if self._state >= _WAITING or self.is_idle:
            return []
        return [self._refuse(TRUNCATED)]

    def answered(self) -> list[Event]:
        """Say that the oldest open request was answered as HTTP; return what goes on now."""
        assert self._open_count > 0, "no request is open"
        self._open_count -= 1
        if self._state is not _WAITING:
            return []
        head = self._head
        assert head is not None
        if head.upgrades:
            if self._open_count:
                return []  # the one that offered is not answered yet
            if head.method == "CONNECT" or not head.keep_alive:
                self._close()
                return []
        self._head = None
        self._state = _HEAD
        data, start = self._held, self._held_at
        self._held, self._held_at = b"", 0
        events: list[Event] = []
        self._run(data, start, events)
        if self._ended and self.is_reading and not self.is_idle:
            events.append(self._refuse(TRUNCATED))
        return events

    def take_over(self) -> bytes:
        """Leave HTTP: return what was fed behind the request that changed the protocol."""
        assert self._state == _WAITING, "no request offered another protocol"
        rest = self._held[self._held_at :]
        self._close()
        return rest

    def _run(self, data: bytes, position: int, events: list[Event]) -> None:
        size = len(data)
        while position < size:
            state = self._state
            if state == _HEAD:
                position = self._read_head(data, position, events)
                if position < 0:
                    return
            elif state == _LENGTH:
                part = data[position : position + self._left]
                position += len(part)
                self._left -= len(part)
                events.append(Data(part))
                if not self._left:
                    self._complete(events)
            elif state == _CHUNKED:
                position = self._read_chunks(data, position, events)
                if position < 0:
                    return
            else:
                if state == _WAITING:
                    # Not a copy of the rest: each answer would copy what all others wait for.
                    self._held, self._held_at = data, position
                return

    def _read_head(self, data: bytes, start: int, events: list[Event]) -> int:
        """Return where the body begins, or -1 where the head is not complete or refused."""
        while data[start] == _CR and self._skips_line(data, start):
            start += 2
            if start == len(data):
                return start
        head, end = self._plain.read(data, start) or self._find_head(data, start)
        if head is None:
            self._rest += data[start:]
            self._is_worth_reading(events)
            return -1
        if type(head) is not RequestHead:
            events.append(self._refuse(head))  # type: ignore[arg-type]  # a code: nothing else
            return -1
        self._skipped = 0
        self._head = head
        events.append(head)
        if head.content_length == 0:
            self._open_count += 1
            events.append(END)
            if (
                head.upgrades
                or not head.keep_alive
                or self._open_count >= self._caps.pipelining_depth_max
            ):
                self._pause(head)
        elif head.content_length is None:
            self._chunks = ChunkedReader(self._caps)
            self._state = _CHUNKED
        else:
            self._left = head.content_length
            self._state = _LENGTH
        return end

    def _find_head(self, data: bytes, start: int) -> tuple[RequestHead | Code | None, int]:
        """Return a head, or what is wrong with it, and where it ends; None where it does not."""
        match = HEAD.match(data, start)
        if match is None:
            found = data.find(b"\r\n\r\n", start)
            if found < 0:
                return None, start
            return explain_head(data, start, found + 4, self._caps), found + 4
        return accept_head(match, self._caps), match.end()

    def _skips_line(self, data: bytes, start: int) -> bool:
        if not data.startswith(b"\r\n", start) or self._skipped == LEADING_LINE_COUNT_MAX:
            return False
        self._skipped += 1
        return True

    def _read_chunks(self, data: bytes, start: int, events: list[Event]) -> int:
        """Return where the next message begins, or -1 where more is needed or it is refused."""
        assert self._chunks is not None
        parts: list[bytes] = []
        position = self._chunks.read(data, start, parts)
        body = b"".join(parts)
        if body:
            events.append(Data(body))
        if self._chunks.fault is not None:
            events.append(self._refuse(self._chunks.fault))
            return -1
        if not self._chunks.is_complete:
            self._rest += data[position:]
            return -1
        self._chunks = None
        self._complete(events)
        return position

    def _complete(self, events: list[Event]) -> None:
        """End a request that had a body."""
        events.append(END)
        head = self._head
        assert head is not None
        self._open_count += 1
        self._state = _HEAD
        depth_max = self._caps.pipelining_depth_max
        if head.upgrades or not head.keep_alive or self._open_count >= depth_max:
            self._pause(head)

    def _pause(self, head: RequestHead) -> None:
        """Stop behind a request: for good, or until requests are answered."""
        if head.keep_alive or head.upgrades:
            self._state = _WAITING
        else:
            self._close()

    def _is_worth_reading(self, events: list[Event]) -> bool:
        """Return whether what was kept may be complete now; a head is looked through once."""
        if self._state is not _HEAD:
            return True
        if self._scanner is None:
            if self._rest.startswith(b"\r\n") and self._skipped < LEADING_LINE_COUNT_MAX:
                return True  # an empty line, which is no part of a head
            if len(self._rest) == 1:
                return False  # it may be the CR of one
            self._scanner = HeadScanner(self._caps, 0)
        fault = self._scanner.scan(self._rest)
        if fault is not None:
            events.append(self._refuse(fault))
            return False
        complete = self._scanner.is_complete
        if complete:
            self._scanner = None
        return complete

    def _refuse(self, code: Code) -> Reject:
        self._close()
        return Reject(code)

    def _close(self) -> None:
        self._state = _CLOSED
        self._rest.clear()
        self._held = b""
        self._scanner = None
        self._chunks = None
        self._head = None
