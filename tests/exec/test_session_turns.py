"""One run of a session at a time: who waits, who is refused, and other processes."""

from __future__ import annotations

import threading
import time

import pytest
from tests.exec.session_support import asleep, both_stores, say

from cloche.exec.errors import (
    RuntimeFailedError,
    SessionBusyError,
    SessionNotFoundError,
)
from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store


@both_stores
def test_a_second_run_waits(session):
    """Two threads take turns; both are done."""
    say(session, "set")
    outputs = []
    threads = [
        threading.Thread(target=lambda: outputs.append(say(session, "push"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs) == ["2\n", "3\n", "4\n", "5\n"]


def test_a_second_run_is_refused_if_it_will_not_wait(session):
    """The error is retryable, and nothing happened."""
    entered, leave = threading.Event(), threading.Event()

    def tool():
        entered.set()
        leave.wait(60)

    program = {"javascript": "await tools.hold({})", "python": "tools.hold()"}[session.language]
    thread = threading.Thread(target=lambda: session.run(program, tools={"hold": tool}))
    thread.start()
    assert entered.wait(60)
    with pytest.raises(SessionBusyError) as caught:
        say(session, "count", wait=False)
    assert caught.value.retryable
    leave.set()
    thread.join()


@both_stores
def test_who_is_on_the_way_to_a_session_finds_it(session):
    """A session that is put to sleep under somebody is not forgotten: two would work in it."""
    session.run("1")
    sessions = session._sessions
    live = sessions._entry(session.id)
    asleep(session)
    with sessions.turn(session.id) as again:
        assert again is live
    sessions._leave(live)
    asleep(session, snapshot=False)
    with sessions.turn(session.id) as again:
        assert again is not live


def test_what_is_no_session_is_not_remembered(tmp_path):
    """Asking for it leaves nothing behind."""
    store = open_store(tmp_path / "cloche.db", durability="normal")
    sessions = sessions_of(store)
    with pytest.raises(SessionNotFoundError), sessions.turn("ses-absent"):
        pass
    assert not sessions._live
    sessions.close()
    store.close()


def test_another_process_moved_it_to_another_image(tmp_path):
    """Whoever comes back to it goes on on that image, with what it was made with by now."""
    ours, theirs = (open_store(tmp_path / "cloche.db", durability="normal") for _ in range(2))
    with Session.create("python", store=ours) as session:
        session.run("x = 1")
        hour_ns = 3600 * 10**9
        sessions_of(theirs).now_ns = lambda: time.time_ns() + hour_ns  # our lease is over
        with Session.open(session.id, store=theirs) as moved:
            moved.update("python+numpy")
        sessions_of(ours).now_ns = lambda: time.time_ns() + 2 * hour_ns
        assert session.run("import numpy; print(numpy.array([x]))").run.stdout == "[1]\n"
    for store in (ours, theirs):
        sessions_of(store).close()
        store.close()


@both_stores
def test_another_process_holds_it(store):
    """A lease that is not over keeps others out; released, it lets them in."""
    with Session.create("javascript", store=store) as session:
        session.run("let x = 1")
        asleep(session)
        now_ns = session._sessions.now_ns()
        lease = store.leases.acquire(
            session.id, owner="somebody", now_ns=now_ns, until_ns=now_ns + 10**12
        ).lease
        with pytest.raises(SessionBusyError, match="another process"):
            session.run("x")
        store.leases.release(lease)
        assert session.run("console.log(x)").run.stdout == "1\n"


@both_stores
def test_sessions_do_not_see_each_other(store):
    """Neither variables nor files."""
    with (
        Session.create("python", store=store) as one,
        Session.create("python", store=store) as other,
    ):
        one.run("secret = 1; open('s.txt', 'w').write('x')")
        assert other.list_files() == []
        with pytest.raises(RuntimeFailedError, match="NameError"):
            other.run("secret")
