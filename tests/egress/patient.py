"""An event loop that no slow machine makes late: its time passes only while it has nothing to do.

Server and client of a test are on one loop and speak over loopback, so whatever the loop waits for
is of its own making. Its clock therefore counts what it was told to wait, and a little for each
turn (so that who is always busy grows old, too), and neither the time that the machine was busy
with something else nor what the code took.
"""

from __future__ import annotations

import asyncio
import selectors
import time

TURN_S = 0.0001


class PatientLoop(asyncio.SelectorEventLoop):
    """A loop with a clock of its own; see the module."""

    def __init__(self):
        self._selector_of_time = _Selector()
        super().__init__(self._selector_of_time)

    def time(self):
        """Return the seconds that have passed for this loop."""
        return self._selector_of_time.now_s


class _Selector(selectors.DefaultSelector):
    """A selector that counts the time of its loop."""

    def __init__(self):
        super().__init__()
        self.now_s = time.monotonic()

    def select(self, timeout=None):
        """Wait as ever; what was waited for in vain has passed in whole."""
        found = super().select(timeout)
        self.now_s += TURN_S if found or not timeout else max(timeout, TURN_S)
        return found


def is_running():
    """Return whether the loop that runs here is of this kind."""
    try:
        return isinstance(asyncio.get_running_loop(), PatientLoop)
    except RuntimeError:
        return False


def clock_ns():
    """Return the time of the running loop."""
    return round(asyncio.get_running_loop().time() * 1e9)


def run(main):
    """Run a coroutine on a loop of this kind, and return what it returns."""
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        return runner.run(main)
