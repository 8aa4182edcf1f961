"""Doors: how many requests are at an app at one time, and how long others wait for their turn.

Invariants: of one app at most `apps.request_concurrency_max` requests are inside and
`apps.request_queue_max` wait, first come, first in; of all apps together at most
`capacity.max_requests` are inside or wait; nobody waits longer than `capacity.timeout_ms`. Who was
let in leaves once; who was not has nothing to give back.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from cloche.apps.errors import AppBusyError

if TYPE_CHECKING:
    from cloche.apps.routing import AppName
    from cloche.limits import Limits

MS_PER_S: Final = 1000


class Doors:
    """The doors of all apps of a server.

    Args:
        limits: groups `apps` and `capacity`.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.lock = threading.Lock()
        self.count = 0  # inside or waiting, of all apps
        self._doors: dict[AppName, Door] = {}

    def of(self, app: AppName) -> Door:
        """Return the door of an app."""
        door = self._doors.get(app)
        if door is None:
            door = self._doors[app] = Door(self)
        return door

    def forget(self, app: AppName) -> None:
        """Drop the door of an app that is gone; who is behind it leaves as ever."""
        self._doors.pop(app, None)


class Door:
    """The way to one app."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._lock = doors.lock
        self._apps = doors.limits.apps
        self._capacity = doors.limits.capacity
        self._room = self._apps.request_concurrency_max
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for room, on the loop.

        Raises:
            AppBusyError: too many wait already, or it took too long.
        """
        with self._lock:
            if self._doors.count >= self._capacity.max_requests:
                raise AppBusyError(
                    "requests are at the apps of this server already",
                    limit="capacity.max_requests",
                    limit_value=self._capacity.max_requests,
                )
            if self._room > 0:
                self._room -= 1
                self._doors.count += 1
                return
            if len(self._waiting) >= self._apps.request_queue_max:
                raise AppBusyError(
                    "requests of this app wait already",
                    limit="apps.request_queue_max",
                    limit_value=self._apps.request_queue_max,
                )
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._doors.count += 1
        timeout_ms = self._capacity.timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / MS_PER_S):
                await turn
        except BaseException as error:
            self._give_up(turn)
            if isinstance(error, TimeoutError):
                raise AppBusyError(
                    "milliseconds passed, and this request had not had its turn",
                    limit="capacity.timeout_ms",
                    limit_value=timeout_ms,
                ) from None
            raise

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        with self._lock:
            is_waiting = turn in self._waiting
            if is_waiting:
                self._waiting.remove(turn)
                self._doors.count -= 1
        if not is_waiting:  # its turn came meanwhile, and is the next one's
            self.leave()

    def leave(self) -> None:
        """Make room for another one; on any thread."""
        with self._lock:
            self._doors.count -= 1
            if not self._waiting:
                self._room += 1
                return
            turn = self._waiting.popleft()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            turn.get_loop().call_soon_threadsafe(_begin, turn)


def _begin(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
