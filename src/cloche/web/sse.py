"""Server-sent events that can be resumed: ids, a bounded past, heartbeats, the time to come back.

Invariants:
- ids are numbers that grow by one, so what a client missed is known from the last id it had;
- the past is bounded: a client whose last id is older is told so, with an event named `reset`,
  instead of getting a gap without knowing;
- a heartbeat is a comment, which no client shows.

Events themselves are written by `response.event`. Source: the HTML standard, section 9.2.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Final

from cloche.web.errors import SettingError
from cloche.web.response import Response, event, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from cloche.web.request import Request

HEARTBEAT: Final = b":\n\n"
HEARTBEAT_MS: Final = 15_000  # proxies give up on silent connections after 30 s and more
RESET: Final = "reset"
_IDENTITY: Final = re.compile(r"[0-9]{1,18}")


class EventLog:
    """The last events that were sent, for clients that come back.

    Raises:
        SettingError: on construction; no event is kept.
    """

    def __init__(self, *, event_count_max: int = 1000) -> None:
        if event_count_max < 1:
            raise SettingError(setting="event_count_max", problem="it is below 1")
        self._kept: deque[bytes] = deque(maxlen=event_count_max)
        self._last = 0

    @property
    def last(self) -> int:
        """The id of the last event; 0 before the first."""
        return self._last

    def add(self, content: str, *, name: str | None = None) -> bytes:
        """Return the next event as bytes, and keep it.

        Raises:
            ResponseError: the name has a line end. Nothing is kept.
        """
        written = event(content, name=name, identity=str(self._last + 1))
        self._last += 1
        self._kept.append(written)
        return written

    def after(self, identity: int | None) -> list[bytes]:
        """Return the events behind an id; none without an id, all behind a `reset` if it is lost.

        An id is lost where events behind it are no longer kept, or where it was never given, as
        after a restart of the server.
        """
        if identity is None or identity == self._last:
            return []
        missed = self._last - identity
        if 0 < missed <= len(self._kept):
            return list(self._kept)[-missed:]
        return [event(name=RESET), *self._kept]


def last_event_id(request: Request) -> int | None:
    """Return the id that a client had last, if it comes back and says one of `EventLog`'s."""
    values = request.headers("last-event-id")
    if len(values) != 1 or _IDENTITY.fullmatch(values[0]) is None:
        return None
    return int(values[0])


def stream_events(
    request: Request,
    events: AsyncIterable[bytes] | Iterable[bytes],
    *,
    heartbeat_ms: int = HEARTBEAT_MS,
    retry_ms: int | None = None,
) -> Response:
    """Return a stream of events that never looks dead.

    Args:
        request: whose client gets them.
        events: made by `response.event` or an `EventLog`.
        heartbeat_ms: after so long without an event a comment is sent.
        retry_ms: how long a client waits before it comes back; each browser has a default.

    Raises:
        SettingError: a time is below 1 ms.
    """
    if heartbeat_ms < 1 or (retry_ms is not None and retry_ms < 1):
        raise SettingError(setting="events", problem="a time is below 1 ms")
    # `event` alone would add data, which is an event of its own.
    first = b"" if retry_ms is None else b"retry: %d\n\n" % retry_ms
    pieces = _with_first(first, events)
    return sse(request.services.heartbeat(pieces, heartbeat_ms, HEARTBEAT))


async def _with_first(
    first: bytes, events: AsyncIterable[bytes] | Iterable[bytes]
) -> AsyncIterator[bytes]:
    if first:
        yield first
    if not isinstance(events, AsyncIterable):
        for each in events:
            yield each
        return
    try:
        async for each in events:
            yield each
    finally:
        # A generator that is not read to its end has to be closed, or it holds what it holds.
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
