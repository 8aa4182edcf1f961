"""The active time of a run: what it works counts, what it waits for people does not.

Owns the clock of one part of a run. Invariants:
- a run that goes on repeats what it did, and that time is not counted a second time: counting
  begins with the first thing that is in no record;
- whoever may cancel the run may do so in every part of it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from cloche.exec.adapters.effects import CancelToken

if TYPE_CHECKING:
    from collections.abc import Callable

NS_PER_MS: Final = 1_000_000


class ActiveTime(CancelToken):
    """Counts, and stops the run when its time is over. For one execution.

    Args:
        parent: who started the run may cancel it with that; None if nobody may.
        left_ms: what the run has left.
        resumed: whether it repeats something first; else its own limit stops it.
        is_watched: whether somebody calls `look` until the run is over; else it needs a thread.
    """

    def __init__(
        self, parent: CancelToken | None, *, left_ms: int, resumed: bool, is_watched: bool = False
    ) -> None:
        super().__init__()
        self._parent = parent
        self._left_ms = left_ms
        self._timer: threading.Timer | None = None
        self._is_watched = is_watched
        self._ends_ns: int | None = None  # where `look` ends it
        self._live_ns: int | None = None if resumed else time.monotonic_ns()
        self.timed_out = False

    @property
    def cancelled(self) -> bool:
        """Whether the run is to stop."""
        return super().cancelled or (self._parent is not None and self._parent.cancelled)

    def bind(self, stop: Callable[[], None]) -> None:
        """Say what stops the run."""
        super().bind(stop)
        if self._parent is not None:
            self._parent.bind(stop)

    def go_live(self) -> None:
        """Begin to count, unless it has begun."""
        if self._live_ns is None:
            self._live_ns = time.monotonic_ns()
            if self._is_watched:
                self._ends_ns = self._live_ns + self._left_ms * NS_PER_MS
                return
            self._timer = threading.Timer(self._left_ms / 1000, self._end)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> int:
        """Count no more; return the active time in ms."""
        if self._timer is not None:
            self._timer.cancel()
        if self._live_ns is None:
            return 0
        return (time.monotonic_ns() - self._live_ns) // NS_PER_MS

    def is_over(self) -> bool:
        """Whether the run has no time left, also while it is in a call that nobody interrupts."""
        if self.cancelled or self._live_ns is None:
            return self.cancelled
        if time.monotonic_ns() - self._live_ns < self._left_ms * NS_PER_MS:
            return False
        self.timed_out = True
        return True

    def look(self) -> None:
        """Stop a run that was resumed when its time is over."""
        if self._ends_ns is not None and time.monotonic_ns() >= self._ends_ns:
            self._end()

    def _end(self) -> None:
        self.timed_out = True
        self.cancel()
