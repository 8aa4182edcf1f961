"""Handles of sessions: names, closing, wrong arguments, streams, async, and policies."""

from __future__ import annotations

import asyncio

import pytest
from tests.exec.session_support import both_stores, say

import cloche
from cloche.exec.async_session import AsyncSession
from cloche.exec.errors import (
    FileAccessError,
    InvalidRunError,
    RuntimeFailedError,
    SessionClosedError,
    SessionExistsError,
    SessionNotFoundError,
    UnsupportedLanguageError,
)
from cloche.exec.session import Session, sessions_of
from cloche.exec.types import File, Finished, StdoutChunk
from cloche.gate.policy import Policy
from cloche.store.open import open_store


@both_stores
def test_names(store):
    """A name is unique and opens the session; ids do too."""
    with Session.create("python", name="n1", store=store) as session:
        session.run("x = 5")
        with pytest.raises(SessionExistsError, match="n1"):
            Session.create("python", name="n1", store=store)
        assert Session.open("n1", store=store).id == session.id
        assert Session.open(session.id, store=store).name == "n1"
        with pytest.raises(SessionNotFoundError, match="nobody"):
            Session.open("nobody", store=store)
        for wrong in ("", " ", "a\nb", "x" * 201, "ses-1"):
            with pytest.raises(InvalidRunError):
                Session.create("python", name=wrong, store=store)


@both_stores
def test_closing(session):
    """Closing twice is fine, using a closed handle is a typed error, the session is kept."""
    say(session, "set")
    session.close()
    session.close()
    with pytest.raises(SessionClosedError):
        say(session, "count")
    with pytest.raises(SessionClosedError):
        session.list_files()
    again = Session.open(session.id, store=session._sessions.store)
    assert say(again, "count") == "1\n"
    again.close()


@both_stores
def test_deleting(store):
    """It is gone, with its runs."""
    session = Session.create("javascript", store=store)
    session.run("1")
    session.delete()
    with pytest.raises(SessionClosedError):
        session.run("1")
    with pytest.raises(SessionNotFoundError):
        Session.open(session.id, store=store)
    assert store.runs.list(session_id=session.id) == []


def test_short_forms_of_languages(store):
    """A session says the full name of its language, however it was asked for."""
    names = {"js": "javascript", "ts": "typescript", "py": "python"}
    for short, name in names.items():
        with Session.create(short, store=store) as session:
            assert session.language == name


def test_wrong_creation(store):
    """What cannot be a session."""
    with pytest.raises(UnsupportedLanguageError):
        Session.create("cobol", store=store)
    with pytest.raises(InvalidRunError, match="does not run"):
        Session.create("python", image="javascript", store=store)


def test_wrong_runs(session):
    """A run needs a program or an entrypoint; nothing else is taken."""
    for options in ({}, {"code": "1", "entrypoint": "a"}, {"code": "1", "seed": 4}):
        with pytest.raises(InvalidRunError):
            session.run(**options)
    with pytest.raises(FileAccessError):
        session.run(entrypoint="missing.py")


def test_arguments_of_the_wrong_shape(session):
    """The letters of one text are not many arguments; nothing ran."""
    for options in ({"args": "ab"}, {"env": "A=1"}, {"stdin": 5}, {"stdin": "\ud800"}):
        with pytest.raises(InvalidRunError, match=next(iter(options))):
            session.run("1", **options)
    assert session.history() == []


@both_stores
def test_streaming(session):
    """Output comes as it is written, then the end."""
    program = {
        "javascript": "console.log('a'); console.log('b')",
        "python": "print('a'); print('b')",
    }
    events = list(session.run_streaming(program[session.language]))
    text = b"".join(event.data for event in events if isinstance(event, StdoutChunk))
    assert text == b"a\nb\n"
    assert isinstance(events[-1], Finished)


@both_stores
def test_async_sessions(store):
    """The same calls, awaited; cancelling stops the guest and the session lives on."""

    async def story():
        async with await AsyncSession.create("python", store=store) as session:
            await session.run("x = 1")
            assert [e async for e in session.run_streaming("print(x)")][
                -1
            ].result.run.exit_code == 0
            await session.upload(File(name="a.txt", content=b"hi"))
            assert await session.download("a.txt") == b"hi"
            loop, has_begun = asyncio.get_running_loop(), asyncio.Event()
            tools = {"begun": lambda: loop.call_soon_threadsafe(has_begun.set) and None}
            program = "x = 2\ntools.begun()\nwhile True: pass"
            task = asyncio.create_task(session.run(program, tools=tools))
            await has_begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await session.run("print(x)")).run.stdout

    assert asyncio.run(story()) == "1\n"


def test_the_async_front_is_whole():
    """Whatever a handle can do can be awaited."""
    calls = {name for name in vars(Session) if not name.startswith("_")}
    assert calls - set(vars(AsyncSession)) == set()


@both_stores
def test_idle_sessions_sleep(store, monkeypatch):
    """What nobody used for a while holds nothing, and wakes when it is used."""
    with Session.create("python", store=store) as session:
        session.run("x = 41")
        sessions = session._sessions
        monkeypatch.setattr(sessions, "_monotonic_ns", lambda: 1 << 62)
        assert sessions.sleep_idle() >= 1
        monkeypatch.undo()
        assert session.id not in sessions._live
        assert session.run("x += 1; print(x)").run.stdout == "42\n"


def test_the_front_door_has_sessions():
    """`cloche.Session` is this class."""
    assert cloche.Session is Session
    assert cloche.AsyncSession is AsyncSession


def test_tools_without_a_policy_are_allowed(session):
    """A session that was given no policy lets a run use what the run is given."""
    program = {"javascript": "console.log(await tools.a({}))", "python": "print(tools.a())"}
    printed = session.run(program[session.language], tools={"a": lambda: 1}).run.stdout
    assert printed == "1\n"


def test_the_policy_of_a_session_holds_for_every_run(store):
    """Bringing a tool does not allow it; a policy of the run's own goes before the session's."""
    calls = []
    tools = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    for policy in (Policy(), Policy.allow(tool=["b"])):
        with Session.create("python", policy=policy, store=store) as session:
            with pytest.raises(RuntimeFailedError, match="POLICY_DENIED"):
                session.run("tools.a()", tools=tools)
            assert calls == []
    with Session.create("python", policy=Policy(), store=store) as session:
        session.run("tools.b()", tools=tools, policy=Policy.allow(tool=["b"]))
    assert calls == ["b"]


def test_closed_sessions_are_not_used_again(tmp_path):
    """After the end of all work on a store, the next handle begins anew."""
    store = open_store(tmp_path / "cloche.db")
    with Session.create("javascript", name="again", store=store) as session:
        session.run("var x = 1")
    first = sessions_of(store)
    first.close()
    second = sessions_of(store)
    assert second is not first
    assert sessions_of(store) is second
    with Session.open("again", store=store) as session:
        assert session.run("console.log(x)").run.stdout == "1\n"
    second.close()
    store.close()


def test_a_fork_writes_no_state(store):
    """It has the past of its origin, and is woken from that; a snapshot would cost more."""
    with Session.create("python", store=store) as session:
        session.run("x = [1]")
        with session.fork() as forked:
            assert store.sessions.snapshots(forked.id) == []
            assert forked.run("x.append(2); print(x)").run.stdout == "[1, 2]\n"
        assert store.sessions.snapshots(session.id) == []
        assert session.run("print(x)").run.stdout == "[1]\n"
