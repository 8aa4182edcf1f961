"""One stream of events for many clients, each of which may be slow or come back.

Invariants:
- publishing never waits: a client whose queue is full is dropped, and comes back with its last id;
- between the past that a client gets and the present nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cloche.web.errors import SettingError, UnavailableError
from cloche.web.sse import EventLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Broadcast:
    """Events for everyone who listens. For one event loop.

    Raises:
        SettingError: on construction; a count is below 1.
    """

    def __init__(
        self,
        *,
        event_count_max: int = 1000,
        queue_count_max: int = 100,
        client_count_max: int = 10_000,
    ) -> None:
        if min(queue_count_max, client_count_max) < 1:
            raise SettingError(setting="broadcast", problem="a count is below 1")
        self._log = EventLog(event_count_max=event_count_max)
        self._queue_count_max = queue_count_max
        self._client_count_max = client_count_max
        self._queues: set[asyncio.Queue[bytes | None]] = set()

    @property
    def client_count(self) -> int:
        """How many listen."""
        return len(self._queues)

    def publish(self, content: str, *, name: str | None = None) -> None:
        """Send an event to everyone.

        Raises:
            ResponseError: the name has a line end.
        """
        written = self._log.add(content, name=name)
        for queue in list(self._queues):
            if queue.qsize() >= self._queue_count_max:
                self._queues.discard(queue)
                _drain(queue)
            else:
                queue.put_nowait(written)

    def listen(self, identity: int | None = None) -> AsyncIterator[bytes]:
        """Return the events behind an id, then those to come, until dropped or closed.

        Raises:
            UnavailableError: too many listen already.
        """
        if len(self._queues) >= self._client_count_max:
            raise UnavailableError(problem="too many clients listen", retry_after_s=1)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        # Both at once, before anything can be published in between.
        past = self._log.after(identity)
        self._queues.add(queue)
        return self._events(past, queue)

    def close(self) -> None:
        """End every stream, as at a shutdown."""
        for queue in self._queues:
            queue.put_nowait(None)
        self._queues.clear()

    async def _events(
        self, past: list[bytes], queue: asyncio.Queue[bytes | None]
    ) -> AsyncIterator[bytes]:
        try:
            for each in past:
                yield each
            while (found := await queue.get()) is not None:
                yield found
        finally:
            self._queues.discard(queue)


def _drain(queue: asyncio.Queue[bytes | None]) -> None:
    """End a stream now: what waits would only come later, and comes again from the past."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
