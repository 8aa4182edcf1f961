"""Tests of how often a session asks its store for a change: each is a write to the disk."""

from __future__ import annotations

import pytest
from tests.exec.crash_child import CountedStore

from cloche.exec.session import Session, sessions_of
from cloche.exec.types import Limits
from cloche.store.open import open_store

LANGUAGES = ("python", "javascript")
CALL = {"python": "tools.note(1)", "javascript": "await tools.note(1)"}


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A store that counts its changes; on a slow machine no snapshot is due either."""
    monkeypatch.setattr("cloche.exec.session_log.SNAPSHOT_BASE_MS", 1e9)
    store = CountedStore(open_store(tmp_path / "cloche.db", durability="normal"), {"kind": "none"})
    yield store
    sessions_of(store).close()
    store.close()


def changes(store, act):
    """Return which changes something makes, with how many of each."""
    store.points.clear()
    act()
    return dict(store.points)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_of_a_live_session_is_two_changes(counted, language):
    """Its row comes with the beginning of its journal, its end with the session's new head."""
    with Session.create(language, store=counted) as session:
        session.run("1")
        made = changes(counted, lambda: session.run("1 + 1"))
    assert made == {"runs.create": 1, "sessions.apply": 1}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_effect_is_two_more(counted, language):
    """It is durable before it is performed, and before the program has its value."""
    with Session.create(language, store=counted) as session:
        session.run("1")
        made = changes(counted, lambda: session.run(CALL[language], tools={"note": str}))
    assert made == {"runs.create": 1, "journals.append": 2, "sessions.apply": 1}


def test_a_run_that_is_stopped_is_two_changes(counted):
    """Nothing of it stays but its row and its journal."""
    with Session.create("python", store=counted) as session:
        session.run("1")
        made = changes(
            counted, lambda: session.execute("while True: pass", limits=Limits(time_ms=50))
        )
        run, _ = counted.runs.list(session_id=session.id)
    assert made == {"runs.create": 1, "runs.update": 1}
    assert run.status == "failed"
    assert counted.journals.head(run.id).count > 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_session_that_is_used_once(counted, language):
    """Taking it and letting go of it are one change each, and where little happened all else."""
    with Session.create(language, store=counted) as session:
        session.run("1")

    def once():
        with Session.open(session.id, store=counted) as again:
            again.run("1 + 1")

    assert changes(counted, once) == {
        "leases.acquire": 1,
        "runs.create": 1,
        "sessions.apply": 1,
        "leases.release": 1,
    }
