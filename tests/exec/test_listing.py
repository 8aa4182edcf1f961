"""Tests of lists of sessions: by name, status, language and age, on every page."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from cloche.exec.errors import ExecError, InvalidRunError, RunSuspendedError
from cloche.exec.listing import STATUSES, list_sessions, status_of_run
from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store
from cloche.store.rows import Run
from cloche.store.rows import Session as Row

LEASE_ENDS_NS = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a session of each status, and more of them than fit on a page."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CLOCHE_SESSIONS_SUSPEND_AFTER_MS", "60")
    opened = open_store(tmp_path_factory.mktemp("store") / "cloche.db", durability="normal")
    programs = {
        "idle": "print(1)",
        "failed": "1 / 0",
        "suspended": "import cloche; cloche.sleep(3600)",
    }
    for name, code in programs.items():
        session = Session.create("python", name=name, store=opened)
        with session, contextlib.suppress(ExecError, RunSuspendedError):
            session.run(code)
    for name in ("running", "interrupted"):  # left by processes that died
        session = Session.create("javascript", name=name, store=opened)
        over = 6 if name == "interrupted" else None
        run = Run(
            id=name,
            session_id=session.id,
            language="javascript",
            status=name,
            created_ns=5,
            ended_ns=over,
        )
        opened.runs.create(run)
        opened.leases.acquire(session.id, owner="gone", now_ns=0, until_ns=LEASE_ENDS_NS)
    for n in range(120):
        opened.sessions.create(
            Row(id=f"ses-{n:03}", name=f"old-{n}", language="javascript", image_id="i",
                created_ns=n, changed_ns=n)
        )  # fmt: skip
    yield opened
    sessions_of(opened).close()
    opened.close()
    patch.undo()


def names(store, **wanted):
    """Return the names of what is listed."""
    wanted.setdefault("now_ns", LEASE_ENDS_NS - 1)
    return sorted(one.row.name for one in list_sessions(store, **wanted))


def test_everything(store):
    """All pages, each session once."""
    assert len(names(store)) == len(set(names(store))) == 125


@pytest.mark.parametrize("status", STATUSES)
def test_status(store, status):
    """What the newest run says."""
    found = names(store, status=status)
    assert status in found
    assert len(found) == (121 if status == "idle" else 1)


def test_names_are_patterns(store):
    """As in a shell; case counts."""
    assert names(store, name="old-1?") == [f"old-{n}" for n in range(10, 20)]
    assert names(store, name="i*") == ["idle", "interrupted"]
    assert names(store, name="IDLE") == []


def test_age_and_language(store):
    """By the last change; conditions are all to be met."""
    assert names(store, changed_before_ns=2) == ["old-0", "old-1"]
    assert names(store, changed_after_ns=118, changed_before_ns=1000) == ["old-118", "old-119"]
    assert names(store, language="python") == ["failed", "idle", "suspended"]
    assert names(store, language="python", status="running") == []


def test_an_unknown_status(store):
    """It is told, with those that there are."""
    with pytest.raises(InvalidRunError, match="'busy' is no status; there are idle, running"):
        list(list_sessions(store, now_ns=0, status="busy"))


def test_a_run_whose_process_is_gone(store):
    """It is told as interrupted once the lease is over, and nothing is written for that."""
    assert names(store, status="interrupted", now_ns=LEASE_ENDS_NS) == ["interrupted", "running"]
    assert names(store, status="running", now_ns=LEASE_ENDS_NS) == []
    run = store.runs.get("running")
    assert status_of_run(store, run, LEASE_ENDS_NS - 1) == "running"
    assert status_of_run(store, run, LEASE_ENDS_NS) == "interrupted"
    assert run.status == "running"


def test_a_run_that_ended_since_it_was_read(store):
    """Its process let go of the session: what is kept by now counts."""
    row = store.sessions.get("idle")
    (done,) = store.runs.list(session_id=row.id)
    assert store.leases.get(row.id) is None
    before = replace(done, status="running", ended_ns=None)
    assert status_of_run(store, before, 0) == "completed"
