"""Tests of durable programs: days of sleep, promises, keys; nothing is alive meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from cloche.exec.async_session import AsyncSession
from cloche.exec.errors import RunSuspendedError, SessionBusyError, SessionError
from cloche.exec.session import Session, complete_promise
from cloche.store.open import open_store

DAY_NS = 86_400 * 10**9
CODE = {
    "sleep": {
        "python": """
import cloche, time
before = time.time()
print("going to bed", tools.note("evening"))
cloche.sleep(86400)
print("slept", round((time.time() - before) / 86400), tools.note("morning"))
""",
        "javascript": """
const before = Date.now();
console.log("going to bed", await tools.note(["evening"]));
await cloche.sleep(86400);
console.log("slept", Math.round((Date.now() - before) / 86400000), await tools.note(["morning"]));
""",
    },
    "promise": {
        "python": """
import cloche
id = cloche.promise.create()
print(tools.note(id))
answer = cloche.promise.get(id)
print("answer", answer["n"])
""",
        "javascript": """
var id = await cloche.promise.create();
console.log(await tools.note([id]));
var answer = await cloche.promise.get(id);
console.log("answer", answer.n);
""",
    },
    "own": {
        "python": """
import cloche
id = cloche.promise.create()
print(cloche.promise.poll(id), cloche.promise.complete(id, [1]), cloche.promise.complete(id, 2))
print(cloche.promise.poll(id), cloche.promise.get(id))
""",
        "javascript": """
var id = await cloche.promise.create();
console.log(await cloche.promise.poll(id), await cloche.promise.complete(id, [1]),
  await cloche.promise.complete(id, 2));
console.log(await cloche.promise.poll(id), await cloche.promise.get(id));
""",
    },
    "both": {
        "python": """
import asyncio, cloche
a, b = await asyncio.gather(cloche.sleep(86400), asyncio.to_thread(lambda: 1)), 2
print("done", b)
""",
        "javascript": """
const [, quick] = await Promise.all([cloche.sleep(86400), tools.note(["quick"])]);
console.log("done", quick);
""",
    },
    "key": {
        "python": "import cloche; print(cloche.idempotency_key(), cloche.idempotency_key())",
        "javascript": "console.log(await cloche.idempotencyKey(), await cloche.idempotencyKey())",
    },
    "unknown": {
        "python": """
import cloche
try: cloche.promise.get("prm-none")
except cloche.EffectError as error: print(error.code)
""",
        "javascript": """
try { await cloche.promise.get("prm-none") } catch (error) { console.log(error.code) }
""",
    },
}


class Notes:
    """A tool that is counted."""

    def __init__(self):
        self.taken = []
        self.tools = {"note": self.note}

    def note(self, text):
        self.taken.append(text)
        return len(self.taken)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty store of each kind that lasts."""
    if request.param == "sqlite":
        return str(tmp_path / "cloche.db")
    return request.getfixturevalue("postgresql_url")


@pytest.fixture(params=["python", "javascript"])
def session(request, url, monkeypatch):
    """A session on a store of its own, whose wall clock the test moves."""
    monkeypatch.setenv("CLOCHE_SESSIONS_SUSPEND_AFTER_MS", "60")
    store = open_store(url, durability="normal")
    made = Session.create(request.param, name="durable", store=store)
    sessions = made._sessions
    clock = {"ahead_ns": 0}
    real = sessions.now_ns
    sessions.now_ns = made._runs._now_ns = lambda: real() + clock["ahead_ns"]
    made.clock = clock
    yield made
    sessions.close()
    store.close()


def run(session, name, **options):
    """Run one of the programs; return its lines."""
    return session.run(CODE[name][session.language], **options).run.stdout.splitlines()


def lines(result):
    """Return the lines of a result."""
    return result.run.stdout.splitlines()


def test_sleeping_for_a_day(session):
    """The run is put away, and goes on the day after; nothing is called a second time."""
    notes = Notes()
    with pytest.raises(RunSuspendedError) as caught:
        run(session, "sleep", tools=notes.tools)
    assert caught.value.retryable
    assert caught.value.stdout == "going to bed 1\n"
    assert session.suspended == caught.value.run_id
    assert session._sessions._live[session.id].machine is None
    due = session._sessions.store.timers.due(now_ns=session._sessions.now_ns() + 2 * DAY_NS)
    assert [timer.run_id for timer in due] == [caught.value.run_id]

    with pytest.raises(RunSuspendedError):
        session.resume(tools=notes.tools)
    session.clock["ahead_ns"] = DAY_NS
    assert lines(session.resume(tools=notes.tools)) == ["going to bed 1", "slept 1 2"]
    assert notes.taken == ["evening", "morning"]
    assert session.suspended is None
    assert len(session.history()) == 1
    assert session._sessions.store.timers.due(now_ns=1 << 62) == []


def test_a_promise_completed_from_outside(session):
    """The run waits without anything alive until somebody gives the value."""
    notes = Notes()
    with pytest.raises(RunSuspendedError) as caught:
        run(session, "promise", tools=notes.tools)
    assert caught.value.due_ns is None
    (promise_id,) = notes.taken
    store = session._sessions.store
    assert complete_promise(promise_id, {"n": 42}, store=store)
    assert not complete_promise(promise_id, {"n": 43}, store=store)
    assert lines(session.resume(tools=notes.tools)) == ["1", "answer 42"]
    assert len(notes.taken) == 1


def test_another_process_resumes(session):
    """What was put away is in the store, and nowhere else."""
    notes = Notes()
    with pytest.raises(RunSuspendedError):
        run(session, "promise", tools=notes.tools)
    store = session._sessions.store
    complete_promise(notes.taken[0], {"n": 7}, store=store)
    session.close()
    program = (
        "from cloche.exec.session import Session\n"
        "from cloche.store.open import open_store\n"
        f"session = Session.open('durable', store=open_store({store.url!r}))\n"
        "print(session.resume(tools={'note': print}).run.stdout.splitlines())\n"
        "session.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['1', 'answer 7']\n"


def test_a_promise_of_ones_own(session):
    """Created, polled, completed once, awaited: all in one run."""
    first, second = run(session, "own")
    assert first.split()[0] in ("None", "null")
    assert first.lower().endswith("true false")
    assert second.replace(" ", "") in ("{'value':[1]}[1]", "{value:[1]}[1]")


def test_other_effects_go_on_meanwhile(session):
    """The run is put away only when nothing that it waits for can be answered."""
    notes = Notes()
    with pytest.raises(RunSuspendedError):
        run(session, "both", tools=notes.tools)
    session.clock["ahead_ns"] = DAY_NS
    assert lines(session.resume(tools=notes.tools))[0].startswith("done")
    assert len(notes.taken) <= 1


def test_short_sleeps_stay_alive(session):
    """Below the limit nothing is put away."""
    program = {
        "python": "import cloche; cloche.sleep(0.01); print('up')",
        "javascript": "await cloche.sleep(0.01); console.log('up')",
    }
    assert lines(session.run(program[session.language])) == ["up"]


def test_keys(session):
    """Two in one run differ; a replay gives the same."""
    execution = session.execute(CODE["key"][session.language])
    one, other = execution.result.run.stdout.split()
    assert len(one) == 64
    assert one != other
    again = session._travel.replay(execution.run_id)
    assert again.result.run.stdout == execution.result.run.stdout


def test_an_unknown_promise_is_an_error_for_the_guest(session):
    """It has a code, and the program may go on."""
    assert run(session, "unknown") == ["PROMISE_UNKNOWN"]


def test_a_session_waits_for_the_run_that_was_put_away(session):
    """Nothing else runs in it, until that is resumed or given up; then it is as it was before."""
    with pytest.raises(RunSuspendedError):
        run(session, "sleep", tools=Notes().tools)
    with pytest.raises(SessionBusyError, match="put away"):
        run(session, "key")
    session.cancel_suspended()
    session.cancel_suspended()
    assert len(run(session, "key")) == 1
    with pytest.raises(SessionError, match="no run that was put away"):
        session.resume()


def test_nothing_changes_under_a_run_that_was_put_away(session):
    """It goes on from the state that it started from, so its record stays true."""
    session.write_file("before", b"1")
    notes = Notes()
    with pytest.raises(RunSuspendedError):
        run(session, "promise", tools=notes.tools)
    changes = (
        lambda: session.write_file("during", b"1"),
        lambda: session.remove("before"),
        lambda: session.set_working_dir("/"),
        lambda: session.revert(to=0),
        lambda: session.restore("0:"),
        session.update,
    )
    for change in changes:
        with pytest.raises(SessionBusyError, match="put away"):
            change()
    assert [entry.path for entry in session.list_files()] == ["/before"]
    complete_promise(notes.taken[0], {"n": 1}, store=session._sessions.store)
    execution_id = session.suspended
    session.resume(tools=notes.tools)
    assert session._travel.replay(execution_id).error is None


def test_a_stream_says_that_its_run_was_put_away(session):
    """Its end is neither a result nor a failure."""
    with pytest.raises(RunSuspendedError):
        list(session.run_streaming(CODE["promise"][session.language], tools=Notes().tools))
    assert session.suspended is not None


def test_awaiting_a_run_that_was_put_away(session):
    """The awaited calls raise and resume as the others do."""
    notes = Notes()

    async def story():
        awaited = AsyncSession(session)
        with pytest.raises(RunSuspendedError):
            await awaited.run(CODE["promise"][session.language], tools=notes.tools)
        assert await awaited.suspended() is not None
        complete_promise(notes.taken[0], {"n": 5}, store=session._sessions.store)
        return await awaited.resume(tools=notes.tools)

    assert lines(asyncio.run(story())) == ["1", "answer 5"]
