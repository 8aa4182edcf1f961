"""Threads that perform effects: one that is free, or a new one.

Invariants: what is given is begun at once; how much is begun at a time is bounded by who gives it
(`worker_bounds.py`); a few threads that have nothing to do stay.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_IDLE_MAX: Final = 32


class EffectThreads:
    """Threads for work that may wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle_count = 0  # threads that wait, without those that something was given to
        self._given: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def give(self, work: Callable[[], None]) -> None:
        """Let a thread do this now. Never blocks."""
        with self._lock:
            has_idle = self._idle_count > 0
            if has_idle:
                self._idle_count -= 1
        if has_idle:
            self._given.put(work)
        else:
            threading.Thread(
                target=self._serve, args=(work,), name="cloche-effect", daemon=True
            ).start()

    def _serve(self, work: Callable[[], None] | None) -> None:
        while work is not None:
            work()
            work = None  # it may hold much
            with self._lock:
                if self._idle_count >= _IDLE_MAX:
                    return
                self._idle_count += 1
            work = self._given.get()
