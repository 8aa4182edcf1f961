"""Ready instances of images in use: made ahead of time, off the critical path.

What costs time in a fresh instance is the first write to each page. The pages that a run wrote are
nearly the same in the next, so a waiting instance has them made writable already; its content is
untouched, so a pooled instance behaves exactly as a new one.

Invariants: an instance is given out once; at most `size` wait per image; nothing is made for an
image that was used only once, so a single run costs nothing extra.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from cloche.engine.adapters.instance import Instance
from cloche.engine.pages import PAGE_BYTES

if TYPE_CHECKING:
    from cloche.engine.adapters.images import Image

GAP_PAGES_MAX = 2  # neighbouring ranges closer than this are populated as one


class Pool:
    """Ready instances. Callable from any thread.

    Args:
        size: how many wait per image; 0 turns the pool off.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._ready: dict[tuple[str, bool], deque[Instance]] = {}
        self._ranges: dict[tuple[str, bool], tuple[tuple[int, int], ...]] = {}
        self._wanted: deque[Image] = deque()
        self._wake = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False

    def take(self, image: Image) -> Instance:
        """Return an instance that nobody has used, waiting or new."""
        with self._lock:
            waiting = self._ready.get(image.key)
            instance = waiting.popleft() if waiting else None
            # Only images whose written pages are known, so used before, are worth keeping ready.
            if self._size and image.key in self._ranges and not self._closed:
                self._wanted.append(image)
                self._start()
                self._wake.notify()
        return instance or Instance(image)

    def learn(self, image: Image, instance: Instance) -> None:
        """Note which pages a run wrote; only the first run of an image is looked at."""
        if self._size and image.key not in self._ranges:
            self._ranges[image.key] = _ranges(instance.written_pages())

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._refill, name="cloche-pool", daemon=True)
            self._thread.start()

    def _refill(self) -> None:
        while True:
            with self._lock:
                while not self._wanted and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                image = self._wanted.popleft()
                waiting = self._ready.setdefault(image.key, deque())
                if len(waiting) >= self._size:
                    continue
            instance = Instance(image)
            instance.populate(self._ranges[image.key])
            with self._lock:
                if not self._closed:
                    waiting.append(instance)
                    continue
            instance.close()

    def close(self) -> None:
        """Free what waits and end the thread."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
            for waiting in self._ready.values():
                while waiting:
                    waiting.popleft().close()


def _ranges(pages: list[int]) -> tuple[tuple[int, int], ...]:
    """Join page numbers into (offset, length) ranges."""
    ranges: list[tuple[int, int]] = []
    for page in pages:
        offset = page * PAGE_BYTES
        if ranges and offset - sum(ranges[-1]) <= GAP_PAGES_MAX * PAGE_BYTES:
            ranges[-1] = (ranges[-1][0], offset + PAGE_BYTES - ranges[-1][0])
        else:
            ranges.append((offset, PAGE_BYTES))
    return tuple(ranges)
