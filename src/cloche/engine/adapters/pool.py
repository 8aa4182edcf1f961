"""Ready instances of images in use: what a run leaves behind, made fresh off the critical path.

What costs time in a fresh instance is the first write to each page. The pages that one run wrote
are nearly those that the next will write, so an instance that ended well gets the content of its
image back in exactly those pages, and is then, byte for byte, a new instance with warm pages.
Where the next run comes sooner than that was done, it is done for that run.

Invariants: an instance is given out once at a time; one that was stopped, that grew, or whose
written pages the kernel does not tell is closed and never given out again; at most `size` wait for
each image.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from cloche.engine.adapters.instance import Instance

if TYPE_CHECKING:
    from cloche.engine.adapters.images import Image


class Pool:
    """Ready instances. Callable from any thread.

    Args:
        size: how many wait per image; 0 turns the pool off.
        has_thread: whether instances are made ready in the background; else `tend` does it.
    """

    def __init__(self, size: int, *, has_thread: bool = True) -> None:
        self._size = size
        self._has_thread = has_thread
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ready: dict[tuple[str, bool], deque[Instance]] = {}
        self._used: deque[Instance] = deque()
        self._busy = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def take(self, image: Image) -> Instance:
        """Return an instance in the state of its image, waiting or new."""
        with self._lock:
            waiting = self._ready.get(image.key)
            if waiting:
                return waiting.popleft()
            used = next((one for one in self._used if one.image.key == image.key), None)
            if used is None:
                return Instance(image)
            self._used.remove(used)
            self._busy += 1
        # The background had no time for it yet; to make it ready costs less than a new one.
        is_fresh = used.renew()
        with self._lock:
            self._busy -= 1
            if not is_fresh and not self._closed:
                self._used.append(used)  # to be closed behind this run
            elif not is_fresh:
                used.close()
            self._changed.notify_all()
        return used if is_fresh else Instance(image)

    def give_back(self, instance: Instance) -> None:
        """Let go of an instance after a run; whatever it is, the caller is done with it."""
        with self._lock:
            if self._size and not self._closed and not instance.closed:
                instance.detach()
                self._used.append(instance)
                if self._has_thread:
                    self._start()
                    self._changed.notify_all()
                return
        instance.close()

    def tend(self) -> None:
        """Make ready what was given back, on this thread."""
        while True:
            with self._lock:
                if not self._used:
                    return
            self._renew_next()

    def drop(self, image: Image) -> None:
        """Free what waits of an image that is not used any more."""
        with self._lock:
            waiting = self._ready.pop(image.key, deque())
            waiting += (one for one in self._used if one.image.key == image.key)
            self._used = deque(one for one in self._used if one.image.key != image.key)
        for instance in waiting:
            instance.close()

    def settle(self) -> None:
        """Wait until everything that was given back is ready or closed."""
        with self._lock:
            self._changed.wait_for(lambda: self._closed or not (self._used or self._busy))

    def close(self) -> None:
        """Free what waits and end the thread."""
        with self._lock:
            self._closed = True
            waiting = [*self._used, *(i for ready in self._ready.values() for i in ready)]
            self._used.clear()
            self._ready.clear()
            self._changed.notify_all()
        for instance in waiting:
            instance.close()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="cloche-pool", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._used or self._closed)
                if self._closed:
                    return
            self._renew_next()

    def _renew_next(self) -> None:
        with self._lock:
            if not self._used:
                return  # another thread was faster
            instance = self._used.popleft()
            self._busy += 1
            ready = self._ready.setdefault(instance.image.key, deque())
            has_room = len(ready) < self._size
        is_fresh = has_room and instance.renew()
        with self._lock:
            self._busy -= 1
            if is_fresh and not self._closed:
                ready.append(instance)
            else:
                instance.close()
            self._changed.notify_all()
