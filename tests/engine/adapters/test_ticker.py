"""The ticker moves the epoch while guests run, and only then."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from cloche.engine.adapters import ticker as module
from cloche.engine.adapters.ticker import Ticker

if TYPE_CHECKING:
    import pytest


class Ticks:
    """Counts ticks, and lets a test wait for them."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = threading.Condition()

    def tick(self) -> None:
        """Count one."""
        with self.changed:
            self.count += 1
            self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until there were this many."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.count >= count, timeout=60)


def ticker_threads() -> list[threading.Thread]:
    """Return the ticker threads of the process."""
    return [thread for thread in threading.enumerate() if thread.name == "cloche-ticker"]


def test_ticks_while_a_guest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first guest starts the thread, which lasts as long as any guest runs."""
    monkeypatch.setattr(module, "IDLE_TICKS_MAX", 2)
    ticks, before = Ticks(), len(ticker_threads())
    ticker = Ticker(ticks.tick, tick_ms=1)
    assert ticks.count == 0
    ticker.enter()
    ticker.enter()
    ticks.wait_for(9)
    assert len(ticker_threads()) <= before + 1
    ticker.leave()
    ticks.wait_for(ticks.count + 9)
    ticker.leave()


def test_ends_when_idle_and_starts_again() -> None:
    """Without guests the thread ends after a moment; the next guest gets a new one."""
    ticks = Ticks()
    ticker = Ticker(ticks.tick, tick_ms=1)
    known = set(ticker_threads())
    ticker.enter()
    (thread,) = set(ticker_threads()) - known
    ticker.leave()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert ticks.count > module.IDLE_TICKS_MAX
    seen = ticks.count
    ticker.enter()
    ticks.wait_for(seen + 2)
    ticker.leave()


def test_forgets_its_thread_in_a_forked_child() -> None:
    """After a fork the thread does not exist, so the child starts its own."""
    ticks = Ticks()
    ticker = Ticker(ticks.tick, tick_ms=1)
    ticker.enter()
    ticks.wait_for(1)
    module._after_fork()  # as the child runs it
    seen = ticks.count
    ticker.enter()
    ticks.wait_for(seen + 1)
    assert ticker._running_count == 1
    ticker.leave()
    assert hasattr(os, "register_at_fork")
