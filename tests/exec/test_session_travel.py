"""Time travel: fork, revert, snapshots, archives, and moving to another image."""

from __future__ import annotations

import threading

import pytest
from tests.exec.session_support import LANGUAGES, asleep, both_stores, say

from cloche.exec.errors import (
    ArchiveError,
    InvalidRunError,
    RuntimeFailedError,
    SessionError,
)
from cloche.exec.session import Session
from cloche.exec.types import File
from cloche.gate.errors import DivergenceError


@both_stores
def test_fork(session):
    """Two sessions go on from the same point, each its own way."""
    say(session, "set")
    session.upload(File(name="a.txt", content=b"shared"))
    with session.fork() as forked:
        assert say(forked, "push") == "2\n"
        assert say(forked, "push") == "3\n"
        assert say(session, "push") == "2\n"
        forked.upload(File(name="a.txt", content=b"mine"))
        assert session.download("a.txt") == b"shared"
        assert [s.state for s in forked.history()][:2] == [s.state for s in session.history()][:2]


@both_stores
def test_revert(session):
    """The last runs are undone with all they did."""
    say(session, "set")
    say(session, "push")
    say(session, "write")
    session.revert(last=2)
    assert say(session, "count") == "1\n"
    assert session.list_files() == []
    session.revert(to=0)
    assert session.history() == []
    with pytest.raises(RuntimeFailedError):
        say(session, "count")


@both_stores
def test_revert_too_far(session):
    """There are not so many runs; nothing changed."""
    say(session, "set")
    for wrong in ({"last": 2}, {"last": 0}, {"to": 5}, {"to": -1}, {}, {"last": 1, "to": 1}):
        with pytest.raises(SessionError):
            session.revert(**wrong)
    assert say(session, "count") == "1\n"


@both_stores
def test_what_is_said_of_going_back_too_far(session):
    """It counts what the session has; one without operations or runs is told that."""

    def told(**wrong):
        with pytest.raises(SessionError) as caught:
            session.revert(**wrong)
        return caught.value.message.removeprefix(f"session {session.id} ")

    session.revert(to=0)
    for last in (0, 1, 9):
        assert told(last=last) == "has no operations to undo"
    expected = "has no operations; 1 is none of them, and 0 is the beginning"
    assert told(to=1) == expected
    session.upload(File(name="a.txt", content=b"a"))
    assert told(last=1) == "has no runs to undo"
    say(session, "set")
    assert told(last=0) == "has 1 run to undo, not 0"
    expected = "has operations 1 to 2; 3 is none of them, and 0 is the beginning"
    assert told(to=3) == expected


@both_stores
def test_snapshot_and_restore(session):
    """Back to a state that was kept, as often as one likes."""
    say(session, "set")
    kept = session.snapshot()
    for _ in range(2):
        assert say(session, "push") == "2\n"
        session.restore(kept)
    assert say(session, "count") == "1\n"
    with pytest.raises(SessionError, match="no snapshot"):
        session.restore("1:" + "0" * 64)
    with pytest.raises(SessionError, match="no snapshot"):
        session.restore("nonsense")


@both_stores
def test_export_and_import(session, store):
    """One file holds everything: state, files, history; any changed byte is found."""
    say(session, "set")
    session.upload(File(name="a.txt", content=b"carried"))
    archive = session.export()
    with Session.import_(archive, name=f"copy-{session.language}", store=store) as copy:
        assert say(copy, "push") == "2\n"
        assert copy.download("a.txt") == b"carried"
        assert [s.state for s in copy.history()][:2] == [s.state for s in session.history()]
        copy.revert(to=1)
        assert copy.list_files() == []
    for index in (0, 4, 10, len(archive) // 2, len(archive) - 1):
        changed = bytearray(archive)
        changed[index] ^= 1
        with pytest.raises(ArchiveError):
            Session.import_(bytes(changed), store=store)
    with pytest.raises(ArchiveError, match="another key"):
        Session.import_(archive, key=bytes(32), store=store)
    with pytest.raises(ArchiveError):
        Session.import_(b"", store=store)


@both_stores
def test_archive_with_a_key_of_its_own(session, store):
    """Two machines share a key for the archive, not their own."""
    say(session, "set")
    key = bytes(range(32))
    with Session.import_(session.export(key=key), key=key, store=store) as copy:
        assert say(copy, "count") == "1\n"


@both_stores
def test_update_moves_a_session_to_another_image(store):
    """All is repeated there; variables, files and answers of tools are as they were."""
    calls = []
    with Session.create("python", store=store) as session:
        session.upload(File(name="a.txt", content=b"kept"))
        session.run("x = tools.ask(1)", tools={"ask": lambda n: calls.append(n) or 41})
        session.update("python+numpy")
        assert calls == [1]
        program = "import sys; print(x + 1, 'numpy' in sys.modules, open('a.txt').read())"
        assert session.run(program).run.stdout == "42 True kept\n"
        asleep(session)
        assert session.run("print(x)").run.stdout == "41\n"
        session.revert(to=1)
        assert [entry.path for entry in session.list_files()] == ["/a.txt"]
        for step in session.history():
            assert step.ordinal == 1


@both_stores
def test_update_is_refused_where_a_run_differs(store):
    """Both sides are shown, the run is named, and the session is as it was."""
    with Session.create("python", store=store) as session:
        session.run("import sys; x = 1")
        run = session.execute("print('numpy' in sys.modules)")
        with pytest.raises(DivergenceError) as caught:
            session.update("python+numpy")
        assert caught.value.fields["run_id"] == run.run_id
        assert session.run("print(x, 'numpy' in sys.modules)").run.stdout == "1 False\n"
        assert len(session.history()) == 3
        with pytest.raises(InvalidRunError, match="does not run"):
            session.update("javascript")


@both_stores
def test_many_sessions_at_once(store):
    """Threads work in sessions of both languages; none sees anything of another."""
    sessions = [Session.create(LANGUAGES[n % 2], store=store) for n in range(12)]
    wrong = []

    def work(number, session):
        programs = {
            "python": f"n = globals().get('n', {number}) + 100; print(n)",
            "javascript": f"var n = (globalThis.n ?? {number}) + 100; console.log(n)",
        }
        for turn in range(1, 4):
            printed = session.run(programs[session.language]).run.stdout
            if printed != f"{number + 100 * turn}\n":
                wrong.append((number, turn, printed))

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    assert wrong == []
