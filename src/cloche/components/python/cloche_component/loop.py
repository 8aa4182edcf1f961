"""An event loop of timers and ready callbacks: WASI has no socket pair to wake one of the library.

There is nothing to wait for but time, so waiting is sleeping.
"""

import asyncio
import time
from asyncio import base_events, events


class _Selector:
    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("nothing is left that could wake this program")
        time.sleep(timeout)
        return ()


class Loop(base_events.BaseEventLoop):
    """A loop without input and output."""

    def __init__(self):
        super().__init__()
        self._selector = _Selector()

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass


def install():
    """Make it the loop of `asyncio.run`."""
    events.new_event_loop = asyncio.new_event_loop = Loop
