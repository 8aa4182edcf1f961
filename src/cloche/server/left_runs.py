"""Runs that are open in a store though nobody executes them.

A dead server has left them, or the store was away when they ended. Invariant: a run that was
accepted is executed to an end that the store knows, by this server or by the next one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.store.ports import Store
    from cloche.store.rows import Run, RunStatus

_OPEN: Final[tuple[RunStatus, ...]] = ("queued", "running")
_PAGE: Final = 1000


class LeftRuns:
    """The open runs of a store.

    Args:
        store: where they are.
        take_up: lets a run be executed; says whether it is one that can be.
    """

    def __init__(self, store: Store, take_up: Callable[[Run], bool]) -> None:
        self._store = store
        self._take_up = take_up
        self._lock = threading.Lock()
        self._stranded: set[str] = set()

    def add(self, run_id: str) -> None:
        """Remember a run whose end the store could not be told of."""
        with self._lock:
            self._stranded.add(run_id)

    def recover(self) -> int:
        """Take up what a dead server left; return how many runs that are. Called once, at first."""
        return sum(self._take_up(row) for status in _OPEN for row in self._all(status))

    def take_up(self) -> int:
        """Take up what was left while the store was away; return how many runs that are.

        Raises:
            StoreError: it is still away; nothing is forgotten.
        """
        with self._lock:
            stranded = sorted(self._stranded)
        count = 0
        for run_id in stranded:
            row = self._store.runs.get(run_id)
            with self._lock:
                self._stranded.discard(run_id)
            if row is not None and row.status in _OPEN:
                count += self._take_up(row)
        return count

    def _all(self, status: RunStatus) -> list[Run]:
        found: list[Run] = []
        after = ""
        while page := self._store.runs.list(status=status, after=after, limit=_PAGE):
            found += page
            after = page[-1].id
        return sorted(found, key=lambda row: (row.created_ns, row.id))
