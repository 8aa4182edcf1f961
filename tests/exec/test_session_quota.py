"""Tests of what files of a session are charged, and of sessions that use one another."""

from __future__ import annotations

import pytest

from cloche.exec.errors import ResourceExceededError, RuntimeFailedError
from cloche.exec.session import Session, sessions_of
from cloche.limits import Limits
from cloche.store.open import open_store

from .support import both

LIMIT_BYTES = 1 << 20
WRITE = {
    "python": "with open({path!r}, 'wb') as f: f.write(bytes({size}))",
    "javascript": "require('fs').writeFileSync({path!r}, Buffer.alloc({size}))",
}
REMOVE = {
    "python": "import os; os.remove({path!r})",
    "javascript": "require('fs').unlinkSync({path!r})",
}


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    opened = open_store(tmp_path / "cloche.db", durability="normal")
    yield opened
    sessions_of(opened).close()
    opened.close()


@pytest.fixture
def small():
    """Limits with room for one megabyte of files, half of it in one."""
    return Limits().replace(
        {"guests": {"files_limit_bytes": LIMIT_BYTES, "file_limit_bytes": LIMIT_BYTES // 2}}
    )


def write(session, path, size):
    """Write a file of so many bytes in the session."""
    session.run(WRITE[session.language].format(path=path, size=size))


@both
def test_a_file_over_the_limit_is_not_there(store, small, language):
    """The one within it is kept, and so is the session."""
    with Session.create(language, limits=small, store=store) as session:
        write(session, "/fits", LIMIT_BYTES // 2)
        with pytest.raises((ResourceExceededError, RuntimeFailedError)):
            write(session, "/large", LIMIT_BYTES // 2 + 1)
        found = {entry.path: entry.size_bytes for entry in session.list_files()}
        assert found["/fits"] == LIMIT_BYTES // 2
        assert found.get("/large", 0) == 0


@both
def test_overwriting_is_charged_once_and_removing_gives_back(store, small, language):
    """Run by run, for programs and for the host, asleep in between."""
    half = LIMIT_BYTES // 2
    with Session.create(language, limits=small, store=store) as session:
        for _ in range(3):
            write(session, "/a", half)
            session.write_file("/b", bytes(half))
        sessions_of(store).sleep(session.id)
        write(session, "/a", half)
        with pytest.raises((ResourceExceededError, RuntimeFailedError)):
            write(session, "/c", 1)
        session.run(REMOVE[language].format(path="/a"))
        if any(entry.path == "/c" for entry in session.list_files()):
            session.remove("/c")
        write(session, "/c", half)
        session.remove("/b")
        session.write_file("/d", bytes(half))
        assert sum(entry.size_bytes for entry in session.list_files()) == LIMIT_BYTES


def test_a_tool_can_be_another_session(store):
    """A program asks a session of another language, and the answer is recorded as any."""
    asked = []
    with (
        Session.create("javascript", store=store) as worker,
        Session.create("python", store=store) as asker,
    ):
        worker.run("let calls = 0; const twice = (n) => { calls += 1; return n * 2 }")

        def twice(n):
            asked.append(n)
            return int(worker.run(f"console.log(twice({n}))").run.stdout)

        printed = asker.run("print(tools.twice(n=4), tools.twice(n=5))", tools={"twice": twice})
        assert printed.run.stdout == "8 10\n"
        sessions = sessions_of(store)
        with sessions.turn(asker.id) as live:
            sessions.drop(live)  # woken by replay, which asks nobody
        asker.run("1")
        assert asked == [4, 5]
        assert worker.run("console.log(calls)").run.stdout == "2\n"
