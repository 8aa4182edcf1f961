"""Threads that perform effects: begun at once, used again."""

from __future__ import annotations

import threading

from cloche.server.adapters.effect_threads import EffectThreads

WAIT_S = 60
COUNT = 50


def test_begun_at_once():
    """However many wait, the next one is begun."""
    threads, all_there = EffectThreads(), threading.Barrier(COUNT + 1, timeout=WAIT_S)
    for _ in range(COUNT):
        threads.give(all_there.wait)
    all_there.wait()


def test_used_again():
    """What comes when others are done is done by the same threads."""
    threads, seen = EffectThreads(), set()

    def work(is_done):
        seen.add(threading.get_ident())
        is_done.set()

    for _ in range(COUNT):
        is_done = threading.Event()
        threads.give(lambda is_done=is_done: work(is_done))
        assert is_done.wait(WAIT_S)
        while not threads._idle_count:
            is_done.wait(0.001)
    assert len(seen) == 1
