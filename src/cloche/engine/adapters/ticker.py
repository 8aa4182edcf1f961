"""The thread that makes deadlines happen: it moves an engine's epoch while a guest runs.

Invariants: it runs only while guests run (and a moment longer, so that a busy process does not
start a thread for every turn); it never moves the epoch more often than once per tick.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_TICKS_MAX: Final = 200

_tickers: weakref.WeakSet[Ticker] = weakref.WeakSet()


class Ticker:
    """Counts running guests and ticks while there are any.

    Args:
        tick: moves the epoch by one.
        tick_ms: time between ticks.
    """

    def __init__(self, tick: Callable[[], None], *, tick_ms: int) -> None:
        self._tick = tick
        self._tick_s = tick_ms / 1000
        self._lock = threading.Lock()
        self._running_count = 0
        self._alive = False
        _tickers.add(self)

    def enter(self) -> None:
        """Note that a guest starts to run."""
        with self._lock:
            self._running_count += 1
            if not self._alive:
                self._alive = True
                threading.Thread(target=self._run, name="cloche-ticker", daemon=True).start()

    def leave(self) -> None:
        """Note that a guest stopped running."""
        with self._lock:
            self._running_count -= 1

    def _run(self) -> None:
        idle_ticks = 0
        while True:
            time.sleep(self._tick_s)
            self._tick()
            with self._lock:
                idle_ticks = 0 if self._running_count else idle_ticks + 1
                if idle_ticks > IDLE_TICKS_MAX:
                    self._alive = False
                    return

    def reset(self) -> None:
        """Forget the thread: it does not exist in a forked child."""
        self._lock = threading.Lock()
        self._alive = False
        self._running_count = 0


def _after_fork() -> None:
    for ticker in list(_tickers):
        ticker.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
