"""What all connections of a server share: the application, limits, time, counts.

Invariants:
- deadlines are looked at by one tick for all connections, so that a request costs no timer;
- time is coarse: it moves with the tick, a quarter of the shortest deadline and 250 ms at most;
- nothing ticks while there are no connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cloche.web.adapters.server_heads import Heads
from cloche.web.adapters.server_tasks import Runner
from cloche.web.http1.caps import Http1Caps

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cloche.limits import Limits
    from cloche.web.adapters.server_connection import Connection
    from cloche.web.adapters.server_forwarded import Forwarding
    from cloche.web.app import App
    from cloche.web.ports import Services

NEVER: Final = float("inf")
_MS_PER_S: Final = 1000.0
_TICK_MAX_MS: Final = 250.0
_TICK_MIN_MS: Final = 5.0
_TICKS_IN_A_DEADLINE: Final = 4


class Counts:
    """What happened since the server began. Read them from the thread of its loop."""

    __slots__ = (
        "connections",
        "handshake_failures",
        "open",
        "open_requests",
        "rejected",
        "requests",
        "shed",
        "timeouts",
        "websockets",
    )

    def __init__(self) -> None:
        self.connections = 0  # that were opened
        self.open = 0  # connections now, with those that are still in their handshake
        self.handshake_failures = 0  # TLS, or a proxy that did not say for whom it speaks
        self.requests = 0
        self.open_requests = 0
        self.rejected = 0  # bytes that are no HTTP/1.1
        self.timeouts = 0  # of any deadline
        self.shed = 0  # connections that were closed to make room, or not taken for want of it
        self.websockets = 0  # open now

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class Hub:
    """The shared part of a server. One for each event loop."""

    def __init__(
        self,
        app: App,
        services: Services,
        limits: Limits,
        *,
        http_1_0: bool = False,
        forwarding: Forwarding | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.app = app
        self.handle = app.handle
        self.services = services
        self.web = limits.web
        self.caps = Http1Caps.from_limits(limits.web, http_1_0=http_1_0)
        self.forwarding = forwarding
        self.heads = Heads()
        self.counts = Counts()
        self.connections: set[Connection] = set()
        self.is_draining = False
        self.now_ms = 0.0
        self.loop: asyncio.AbstractEventLoop
        self.runner: Runner
        self.on_room: Callable[[], None] | None = None
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event
        self._tasks: set[asyncio.Task[Any]] = set()
        self._tick_s = _tick_ms(limits) / _MS_PER_S

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin on a loop."""
        self.loop = loop
        self.runner = Runner(loop)
        self._clock = self._clock or loop.time
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._read_clocks()

    def opened(self, connection: Connection) -> None:
        """Count a connection in."""
        if self._timer is None:
            self._read_clocks()
            self._timer = self.loop.call_later(self._tick_s, self._tick)
        self.counts.connections += 1
        self.connections.add(connection)
        self._emptied.clear()

    def closed(self, connection: Connection) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        if not self.connections:
            self._emptied.set()
        if self.on_room is not None:
            self.on_room()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something as a task that is kept until it ends."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def drain(self) -> None:
        """Let connections end with the request they are in; those without one end now."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.drain()

    async def wait_until_empty(self, timeout_ms: int) -> bool:
        """Return whether all connections ended in time; those that did not are cut."""
        try:
            async with asyncio.timeout(timeout_ms / _MS_PER_S):
                await self._emptied.wait()
        except TimeoutError:
            pass
        else:
            return True
        self.abort()
        # A connection that is cut ends in the next turn of the loop, whatever its client does.
        await self._emptied.wait()
        return False

    def abort(self) -> None:
        """Cut all connections."""
        for connection in list(self.connections):
            connection.abort()

    async def end(self) -> None:
        """Stop ticking and end what still runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.runner.end()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def make_room(self) -> bool:
        """Close the connection that is idle for the longest time; return whether there is one."""
        idle = [each for each in self.connections if each.is_idle]
        if not idle:
            return False
        min(idle, key=lambda each: each.deadline_ms).abort()
        self.counts.shed += 1
        return True

    def tick(self) -> None:
        """Look at the clock and at all deadlines."""
        self._read_clocks()
        now_ms = self.now_ms
        due = [each for each in self.connections if each.deadline_ms <= now_ms]
        for connection in due:
            connection.on_tick(now_ms)

    def _tick(self) -> None:
        self._timer = None
        self.tick()
        if self.connections:
            self._timer = self.loop.call_later(self._tick_s, self._tick)

    def _read_clocks(self) -> None:
        assert self._clock is not None, "the hub has begun"
        self.now_ms = self._clock() * _MS_PER_S
        self.heads.set_time(self.services.now_ns())


def _tick_ms(limits: Limits) -> float:
    web = limits.web
    shortest = min(
        value
        for name, value in web.to_dict().items()
        if name.endswith("_ms") and name != "drain_timeout_ms"
    )
    return max(_TICK_MIN_MS, min(_TICK_MAX_MS, shortest / _TICKS_IN_A_DEADLINE))
