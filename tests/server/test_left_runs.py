"""Runs that a store was not told the end of."""

from __future__ import annotations

import pytest

from cloche.store.errors import StoreUnavailableError

from .support import Asker

PROGRAM = {"code": "print(1)", "language": "python", "keep": True}


class Away:
    """The runs of a store that is away for changes and questions, as long as it says so."""

    def __init__(self, runs):
        self._runs = runs
        self.is_away = False

    def __getattr__(self, name):
        """Return a method that fails while the store is away."""
        if self.is_away and name in ("update", "get"):
            raise StoreUnavailableError(store="test", reason="it is away")
        return getattr(self._runs, name)


@pytest.fixture
def asker(monkeypatch):
    """Return a server whose runs cannot be reached when the test says so."""
    asker = Asker()
    monkeypatch.setattr(asker.store, "runs", Away(asker.store.runs))
    return asker


def statuses(asker):
    """Return how the runs of the store are."""
    return [row.status for row in asker.store.runs.list()]


def test_a_run_ends_when_the_store_is_back(asker):
    """What was accepted is executed again by the server that lives, not by the next one alone."""
    asker.store.runs.is_away = True
    answer = asker.post("/v1/run", PROGRAM)
    assert (answer.status, answer.document["retryable"]) == (503, True)
    assert statuses(asker) == ["queued"]
    asker.server.maintain()
    assert statuses(asker) == ["queued"]
    asker.store.runs.is_away = False
    asker.server.maintain()
    (row,) = asker.store.runs.list()
    assert row.status == "completed"
    assert asker.get(f"/v1/runs/{row.id}").document["stdout"] == "1\n"
    asker.server.maintain()
    assert statuses(asker) == ["completed"]


def test_a_run_that_somebody_else_ended(asker):
    """It is left alone: nothing of it is executed again."""
    asker.store.runs.is_away = True
    asker.post("/v1/run", PROGRAM)
    asker.store.runs.is_away = False
    (row,) = asker.store.runs.list()
    assert asker.ask("POST", f"/v1/runs/{row.id}/cancel").status == 200
    assert asker.server.runs.left.take_up() == 0
    assert statuses(asker) == ["cancelled"]
