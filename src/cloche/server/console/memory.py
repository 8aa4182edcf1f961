"""How much memory the server and its workers take, now and in the last hour.

Owns the measurements of one process: the highest of each minute. Invariants: nothing older than an
hour is kept; where the system does not say, there is no number and no chart. Memory that processes
share is counted in each of them, so that the sum is an upper bound.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.server.console.charts import MINUTE_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

_NS_PER_MINUTE: Final = 60_000_000_000
_PROCESS_COUNT_MAX: Final = 1000
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Resident memory, in bytes."""

    server_bytes: int
    workers_bytes: int


class Memory:
    """The measurements.

    Args:
        now_ns: the wall clock.
        measure: returns what is used now, None where that cannot be told.
    """

    def __init__(
        self, *, now_ns: Callable[[], int], measure: Callable[[], Used | None] | None = None
    ) -> None:
        self._now_ns = now_ns
        self._measure = measure or measured
        self._lock = threading.Lock()
        self._minutes: dict[int, Used] = {}

    def take(self) -> Used | None:
        """Measure, and return what was measured. Call it every second or so."""
        used = self._measure()
        if used is None:
            return None
        minute = self._now_ns() // _NS_PER_MINUTE
        with self._lock:
            before = self._minutes.get(minute, used)
            self._minutes[minute] = Used(
                server_bytes=max(before.server_bytes, used.server_bytes),
                workers_bytes=max(before.workers_bytes, used.workers_bytes),
            )
            for old in [each for each in self._minutes if each <= minute - MINUTE_COUNT]:
                del self._minutes[old]
        return used

    def hour(self) -> list[Used | None]:
        """Return the last hour by minutes, the oldest first; None where nothing was measured."""
        last = self._now_ns() // _NS_PER_MINUTE
        with self._lock:
            return [self._minutes.get(last - age) for age in range(MINUTE_COUNT - 1, -1, -1)]


def measured(proc: Path = _PROC) -> Used | None:
    """Return what this process and its children use, None where the system does not say."""
    own = os.getpid()
    server_bytes = _resident_bytes(proc, own)
    if server_bytes is None:
        return None
    workers_bytes = sum(_resident_bytes(proc, pid) or 0 for pid in _below(proc, own))
    return Used(server_bytes=server_bytes, workers_bytes=workers_bytes)


def _resident_bytes(proc: Path, pid: int) -> int | None:
    try:
        pages = int((proc / str(pid) / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None  # it has ended, or this is no Linux
    return pages * os.sysconf("SC_PAGE_SIZE")


def _below(proc: Path, pid: int) -> set[int]:
    """Return the processes that a process has begun, and those that these have begun."""
    found: set[int] = set()
    left = [pid]
    while left and len(found) < _PROCESS_COUNT_MAX:
        for task in (proc / str(left.pop()) / "task").glob("*/children"):
            try:
                children = {int(each) for each in task.read_text().split()}
            except (OSError, ValueError):
                continue
            left += children - found
            found |= children
    return found
