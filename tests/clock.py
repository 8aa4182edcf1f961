"""A clock for tests of deadlines: it stands still until what must come before has happened.

On a machine that is slow enough every deadline passes before anything has begun. So the clock that
deadlines are measured with, `time.monotonic_ns`, stands still in such a test until the test starts
it, or moves it. Timers and waits go by the machine, and look at this clock when they end.
"""

from __future__ import annotations

import time

NS_PER_MS = 1_000_000


class StoppedClock:
    """A clock that stands still until it is started or moved. Callable from any thread."""

    def __init__(self):
        self._read_ns = time.monotonic_ns
        self._at_ns = self._read_ns()
        self._since_ns = None

    def __call__(self):
        """Return the time, nanoseconds."""
        if self._since_ns is None:
            return self._at_ns
        return self._at_ns + self._read_ns() - self._since_ns

    def start(self, *_):
        """Go as fast as any other clock from now on; may be given as `on_progress`."""
        if self._since_ns is None:
            self._since_ns = self._read_ns()

    def stop(self):
        """Stand still again."""
        self._at_ns, self._since_ns = self(), None

    def pass_ms(self, duration_ms):
        """Let so much time pass at once."""
        self._at_ns += duration_ms * NS_PER_MS


def stop_clock(monkeypatch):
    """Stop the clock of deadlines until the test starts it, or is over; return it."""
    clock = StoppedClock()
    monkeypatch.setattr(time, "monotonic_ns", clock)
    return clock
