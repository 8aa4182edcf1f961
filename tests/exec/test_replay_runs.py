"""Tests of replaying runs of sessions: whole, in part, and when their state is gone."""

from __future__ import annotations

import pytest

from cloche.exec.adapters.partial import ReplayStopped
from cloche.exec.adapters.session_travel import SessionTravel
from cloche.exec.errors import InvalidRunError, RunNotFoundError, SessionError
from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store

CODE = {
    "python": "for i in range(3):\n  print(i, tools.add(i, x))\nx += 1",
    "javascript": "for (let i = 0; i < 3; i++) console.log(i, await tools.add([i, x])); x += 1",
}
FIRST = {"python": "x = 1", "javascript": "var x = 1"}


@pytest.fixture(params=["python", "javascript"])
def told(request, tmp_path):
    """A session with three runs that called a tool, and what the calls were."""
    store = open_store(tmp_path / "cloche.db", durability="normal")
    calls = []

    def add(a, b):
        calls.append((a, b))
        return a + b

    with Session.create(request.param, store=store) as session:
        session.run(FIRST[request.param])
        runs = [session.execute(CODE[request.param], tools={"add": add}) for _ in range(3)]
        yield session, runs, calls
    sessions_of(store).close()
    store.close()


def travel(session):
    """Return what replays in the session's store."""
    return SessionTravel(session._sessions)


def test_any_run_replays_to_the_same_bytes(told):
    """From the state that it started from; nothing is performed, the session is not touched."""
    session, runs, calls = told
    count = len(calls)
    for run in runs:
        again = travel(session).replay(run.run_id)
        assert again.result.run == run.result.run
        assert again.journal_hash == run.journal_hash
    assert len(calls) == count
    assert len(session.history()) == 4


def test_replay_stops_at_an_effect(told):
    """What was printed until then is given out, and the effect is named."""
    session, runs, calls = told
    count = len(calls)
    output = bytearray()
    with pytest.raises(ReplayStopped) as caught:
        travel(session).replay(
            runs[1].run_id, until=1, on_output=lambda _stream, data: output.extend(data)
        )
    assert caught.value.request.sequence == 1
    assert caught.value.request.target == "add"
    assert len(output.decode().splitlines()) <= 1
    assert len(calls) == count


def test_there_is_no_such_effect(told):
    """The message says which there are."""
    session, runs, _ = told
    with pytest.raises(InvalidRunError, match="effects 0 to 2; 3 is none"):
        travel(session).replay(runs[0].run_id, until=3)


def test_a_run_whose_state_was_reverted(told):
    """It is said, not guessed."""
    session, runs, _ = told
    session.revert(to=1)
    assert travel(session).replay(runs[0].run_id).journal_hash == runs[0].journal_hash
    with pytest.raises(SessionError, match="reverted"):
        travel(session).replay(runs[2].run_id)


def test_no_such_run(told):
    """A typed error."""
    with pytest.raises(RunNotFoundError, match="no run 'x'"):
        travel(told[0]).replay("x")
