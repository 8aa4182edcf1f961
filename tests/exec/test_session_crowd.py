"""Fifty sessions at once; `bench/sessions.py --crowd 60` is the same for a minute."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store

BENCH = Path(__file__).parents[2] / "bench/sessions.py"
ROUNDS = 3


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """An empty store of each kind that lasts."""
    url = str(tmp_path / "cloche.db")
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    opened = open_store(url, durability="normal")
    yield opened
    sessions_of(opened).close()
    opened.close()


def test_fifty_sessions_do_not_talk(store):
    """Variables, files, tools and randomness: each session has its own, whatever others do."""
    bench = runpy.run_path(str(BENCH))
    size = bench["CROWD_SIZE"]
    assert size == 50
    assert bench["crowd"](store, rounds=ROUNDS) == size * ROUNDS
    assert len(store.sessions.list()) == size


def test_talk_would_be_heard(store, monkeypatch):
    """The same workload fails where two sessions are one."""
    bench = runpy.run_path(str(BENCH))
    shared = Session.create("javascript", name="shared", store=store)

    class Leaky:
        """Sessions that are all the same one."""

        @staticmethod
        def create(_language, *, store):
            """Return a handle of the one session, which nobody closes."""
            handle = Session.open("shared", store=store)
            handle.close = lambda: None
            return handle

    names = bench["crowd"].__globals__
    monkeypatch.setitem(names, "LANGUAGES", ("javascript", "javascript"))
    monkeypatch.setitem(names, "Session", Leaky)
    with pytest.raises(AssertionError):
        bench["crowd"](store, rounds=ROUNDS, size=4)
    shared.delete()
