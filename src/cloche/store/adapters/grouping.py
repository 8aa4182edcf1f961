"""Many callers, one commit: whoever comes while a commit is under way shares the next one.

The first caller commits in its own thread, so that a single one pays no change of threads. Those
that come meanwhile wait; when the commit is done, the first of them commits for all that wait.
Invariants:
- items are committed in the order in which they came, each in exactly one group;
- a group never holds two items of one key: what the second expects depends on the first;
- at most `pending_count_max` items are in it, the caller of a further one waits until there is
  room, which is what holds back who writes faster than the disk;
- whatever `commit` raises reaches every caller of that group, and the next group goes on.

It knows nothing of databases. It starts no thread and reads no clock.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class _Waiter(Generic[T]):
    """An item with the lock that its caller sleeps on."""

    __slots__ = ("error", "is_done", "item", "key", "leads", "size_bytes", "wake")

    def __init__(self, item: T, key: str, size_bytes: int) -> None:
        self.item = item
        self.key = key
        self.size_bytes = size_bytes
        self.is_done = False
        self.leads = False
        self.error: BaseException | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


class Grouping(Generic[T]):
    """Commits items in groups.

    Args:
        commit: makes a group durable; results are its business, written into the items.
        count_max: items of one group.
        limit_bytes: a group takes no further item once it has this size.
        pending_count_max: items that wait or are being committed.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], None],
        *,
        count_max: int,
        limit_bytes: int,
        pending_count_max: int,
    ) -> None:
        self._commit = commit
        self._count_max = count_max
        self._limit_bytes = limit_bytes
        self._room = threading.Semaphore(pending_count_max)
        self._mutex = threading.Lock()
        self._queue: deque[_Waiter[T]] = deque()
        self._is_busy = False

    def submit(self, item: T, *, key: str, size_bytes: int) -> None:
        """Return when the item was committed.

        Raises:
            BaseException: what `commit` raised for the group of this item.
        """
        waiter = _Waiter(item, key, size_bytes)
        with self._room:
            with self._mutex:
                self._queue.append(waiter)
                waiter.leads = not self._is_busy
                self._is_busy = True
            if not waiter.leads:
                self._wait(waiter)
            if waiter.leads:
                self._lead()
        if waiter.error is not None:
            raise waiter.error

    def _wait(self, waiter: _Waiter[T]) -> None:
        # Returns when the item is done, or when its caller shall lead the next group.
        try:
            waiter.wake.acquire()
        except BaseException:  # Ctrl-C in the main thread: nobody may wait for who is gone
            with self._mutex:
                if waiter in self._queue and not waiter.leads:
                    self._queue.remove(waiter)
            if waiter.leads:
                self._lead()
            raise

    def _lead(self) -> None:
        group = self._take()
        error: BaseException | None = None
        try:
            self._commit([waiter.item for waiter in group])
        except BaseException as raised:  # noqa: BLE001 - every caller of the group raises it
            error = raised
        for waiter in group:
            waiter.error = error
            waiter.is_done = True
        with self._mutex:
            successor = self._queue[0] if self._queue else None
            self._is_busy = successor is not None
            if successor is not None:
                successor.leads = True
        # The next leader first: it can write to the disk while the others wake up.
        if successor is not None:
            successor.wake.release()
        for waiter in group[1:]:
            waiter.wake.release()

    def _take(self) -> list[_Waiter[T]]:
        # The caller leads because its item is the first of the queue.
        group: list[_Waiter[T]] = []
        keys: set[str] = set()
        size_bytes = 0
        with self._mutex:
            while self._queue and len(group) < self._count_max and size_bytes < self._limit_bytes:
                waiter = self._queue[0]
                if waiter.key in keys:
                    break
                group.append(self._queue.popleft())
                keys.add(waiter.key)
                size_bytes += waiter.size_bytes
        return group
