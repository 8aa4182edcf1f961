"""Deadlines of many tasks with one timer of the event loop.

A timer for each call costs more than judging it: most calls end long before their deadline, and
their timers have to be taken out of the loop again. Here the loop has one, for the deadline that is
next; when it fires early, because that call is over, it is set anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Deadlines:
    """The deadlines of one event loop."""

    __slots__ = ("_due_s", "_open", "_timer")

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = float("inf")

    def within(self, seconds: float) -> Deadline:
        """Return a context that cancels its task after a time and raises `TimeoutError` then."""
        return Deadline(self, seconds)

    def close(self) -> None:
        """Forget the timer; no context may be open."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due_s = None, float("inf")

    def _add(self, deadline: Deadline) -> None:
        self._open.add(deadline)
        if deadline.when_s < self._due_s:
            self._set(deadline.when_s)

    def _set(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_s = when_s
        self._timer = asyncio.get_running_loop().call_at(when_s, self._fire)

    def _fire(self) -> None:
        self._timer, self._due_s = None, float("inf")
        now_s = asyncio.get_running_loop().time()
        waiting = [deadline for deadline in self._open if not deadline.expired]
        for deadline in waiting:
            if deadline.when_s <= now_s:
                deadline.expire()
        next_s = min((d.when_s for d in waiting if not d.expired), default=None)
        if next_s is not None:
            self._set(next_s)


class Deadline:
    """What `Deadlines.within` returns. It cancels as `asyncio.timeout` does."""

    __slots__ = ("_all", "_cancelling", "_task", "expired", "when_s")

    def __init__(self, every: Deadlines, seconds: float) -> None:
        self._all = every
        self.when_s = asyncio.get_running_loop().time() + seconds
        self.expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._all._add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._all._open.discard(self)
        if (
            self.expired
            # Cancelled by somebody else too: then that is what counts.
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task."""
        self.expired = True
        self._task.cancel()
