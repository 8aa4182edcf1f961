"""The loop that runs jobs and schedules: attempts, leases, cancelling, and processes that die."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from apps.storage.support import NOW_NS, App, opened
from cloche.apps.adapters.jobs import JobFailedError, JobLoop
from cloche.apps.storage.open import open_storage
from cloche.apps.storage.rows import app_parts
from cloche.limits import Limits
from cloche.store.open import open_store

SPAWN = multiprocessing.get_context("spawn")
MS = 10**6
MINUTE_NS = 60 * 1000 * MS


class Now(Executor):
    """Runs what it is given at once, on the thread that gives it."""

    def submit(self, function, /, *args, **kwargs):
        function(*args, **kwargs)
        return Future()


@pytest.fixture
def storage(tmp_path):
    """Return storage in memory, on a clock that goes where it is told."""
    with opened(tmp_path) as storage:
        yield storage


def new_loop(storage, run, owner="w", executor=None, **limits):
    """Return a loop that runs jobs at once."""
    found = Limits().replace({"apps": limits})
    return JobLoop(
        storage.desk,
        run,
        found,
        owner=owner,
        now_ns=storage.clock,
        executor=executor or Now(),
    )


def test_a_job_is_run_with_what_it_was_given(storage):
    """The function gets the app and the job; what it returns is kept."""
    app = App(storage, "shop", tenant="acme")
    job_id = app("jobs", "spawn", name="mail", data={"to": "x"})
    seen = []

    def run(name, job, control):
        seen.append((app_parts(name), job.name, json.loads(job.data), control.is_stopped))
        return {"sent": True}

    new_loop(storage, run).step()
    assert seen == [(("acme", "shop"), "mail", {"to": "x"}, False)]
    found = app("jobs", "get", id=job_id)
    assert (found["state"], found["result"], found["attempt"]) == ("done", {"sent": True}, 1)


def test_a_job_sees_itself(storage):
    """Inside of a job its progress and checkpoint are kept, and the next attempt has the latter."""
    app = App(storage)
    job_id = app("jobs", "spawn", name="j", retry=1, backoff_ms=10)
    seen = []

    def run(_name, job, _control):
        inside = App(storage, run_id=f"{job.id}-{job.attempt}", job=job)
        seen.append(inside("jobs", "last_checkpoint"))
        inside("jobs", "progress", value=job.attempt * 10)
        inside("jobs", "checkpoint", value={"at": job.attempt})
        assert inside("jobs", "cancelled") is False
        if job.attempt == 1:
            raise JobFailedError("once more")

    loop = new_loop(storage, run)
    loop.step()
    found = app("jobs", "get", id=job_id)
    assert (found["state"], found["error"], found["progress"]) == ("pending", "once more", 10)
    assert loop.step() == pytest.approx(0.01)
    storage.clock.now_ns += 10 * MS
    loop.step()
    assert seen == [None, {"at": 1}]
    assert app("jobs", "get", id=job_id)["state"] == "done"


def test_a_job_of_the_past_keeps_nothing(storage):
    """Once its lease went to another, what an attempt says of itself is refused."""
    app = App(storage)
    app("jobs", "spawn", name="j")
    ((old,), _) = storage.desk.claim("/shop", owner="w1", now_ns=NOW_NS, limit=1)
    storage.clock.now_ns += 31_000 * MS
    ((new,), _) = storage.desk.claim("/shop", owner="w2", now_ns=storage.clock(), limit=1)
    for target, args in (
        ("progress", {"value": 1}),
        ("checkpoint", {"value": 1}),
        ("cancelled", {}),
    ):
        with pytest.raises(Exception, match="is not the running one any more"):
            App(storage, run_id="old", job=old)("jobs", target, **args)
        App(storage, run_id="new", job=new)("jobs", target, **args)


def test_exceptions_are_failed_attempts(storage):
    """Whatever the function raises is written down, and the loop goes on."""
    app = App(storage)
    ids = [app("jobs", "spawn", name="j") for _ in range(2)]

    def run(_name, _job, _control):
        raise ZeroDivisionError("by\0zero")

    new_loop(storage, run).step()
    for job_id in ids:
        found = app("jobs", "get", id=job_id)
        assert (found["state"], found["error"]) == ("failed", "ZeroDivisionError: byzero")


def test_results_that_cannot_be_kept(storage):
    """A result over its limit, or that is no JSON, fails the attempt."""
    app = App(storage)
    large = app("jobs", "spawn", name="large")
    strange = app("jobs", "spawn", name="strange")

    def run(_name, job, _control):
        return "x" * (1 << 20) if job.name == "large" else {1j: object()}

    new_loop(storage, run).step()
    assert "over apps.job_data_limit_bytes" in app("jobs", "get", id=large)["error"]
    assert app("jobs", "get", id=strange)["state"] == "failed"


def test_apps_take_turns(storage):
    """An app with many jobs does not keep others waiting."""
    order = []
    for name in ("a", "b", "c"):
        app = App(storage, name)
        for _ in range(5 if name == "a" else 1):
            app("jobs", "spawn", name="j")
    new_loop(storage, lambda name, _job, _control: order.append(name)).step()
    assert order == ["/a", "/b", "/c", "/a", "/a", "/a", "/a"]


def test_turns_go_on_behind_the_last_app(storage):
    """With one free place at a time every app comes, not the first ones again and again."""
    for name in ("a", "b", "c"):
        app = App(storage, name)
        for _ in range(2):
            app("jobs", "spawn", name="j")
    order, held = [], Held()
    loop = new_loop(
        storage,
        lambda name, _job, _control: order.append(name),
        executor=held,
        job_worker_count=1,
    )
    for _ in range(6):
        loop.step()
        held.waiting.pop()()
    assert order == ["/a", "/b", "/c", "/a", "/b", "/c"]


def test_apps_that_may_not_run_more(storage, monkeypatch):
    """Whole pages of apps at their limit do not keep the loop from its other work."""
    monkeypatch.setattr("cloche.apps.adapters.jobs._APP_COUNT", 2)
    storage.desk._limits = Limits().replace({"apps": {"job_concurrency_max": 1}}).apps
    for name in ("a", "b", "c", "d"):
        app = App(storage, name)
        for _ in range(2):
            app("jobs", "spawn", name="j")
    held = Held()
    loop = new_loop(storage, lambda *_: None, executor=held)
    for _ in range(3):
        loop.step()
        assert loop.running_count == 4


class Held(Executor):
    """Keeps what it is given, to be run later."""

    def __init__(self):
        self.waiting = []

    def submit(self, function, /, *args, **kwargs):
        self.waiting.append(lambda: function(*args, **kwargs))
        return Future()


def test_no_more_run_than_may(storage):
    """An app, and a loop, have so many at once; what is free is used."""
    for name, count in (("a", 5), ("b", 1)):
        app = App(storage, name)
        for _ in range(count):
            app("jobs", "spawn", name="j")
    held = Held()
    loop = new_loop(storage, lambda *_: None, executor=held, job_worker_count=4)
    storage.desk._limits = Limits().replace({"apps": {"job_concurrency_max": 2}}).apps
    loop.step()
    assert loop.running_count == 3
    held.waiting.pop(0)()
    loop.step()
    assert loop.running_count == 3
    while held.waiting:
        held.waiting.pop(0)()
        loop.step()
    assert loop.running_count == 0


def test_a_job_is_told_to_stop(storage):
    """Cancelled, late or lost: its control says why, and what it then did is kept as that."""
    app = App(storage)
    cancelled = app("jobs", "spawn", name="cancelled")
    late = app("jobs", "spawn", name="late", timeout_ms=5000)
    held, reasons = Held(), {}

    def run(_name, job, control):
        reasons[job.name] = control.reason
        if control.is_stopped:
            raise JobFailedError("stopped")

    loop = new_loop(storage, run, executor=held)
    loop.step()
    app("jobs", "cancel", id=cancelled)
    storage.clock.now_ns += 4999 * MS
    assert loop.step() == pytest.approx(0.001)
    storage.clock.now_ns += 1 * MS
    loop.step()
    for work in held.waiting:
        work()
    assert reasons == {"cancelled": "cancelled", "late": "timeout"}
    assert app("jobs", "get", id=cancelled)["state"] == "cancelled"
    found = app("jobs", "get", id=late)
    assert (found["state"], found["error"]) == ("failed", "it took longer than 5000 ms")


def test_leases_are_renewed_while_a_job_runs(storage):
    """A job that takes longer than its lease stays with the loop that runs it."""
    app = App(storage)
    app("jobs", "spawn", name="j")
    held = Held()
    loop = new_loop(storage, lambda *_: None, executor=held)
    loop.step()
    for _ in range(10):
        storage.clock.now_ns += 10_001 * MS
        loop.step()
        assert storage.desk.claim("/shop", owner="other", now_ns=storage.clock(), limit=1)[0] == ()
    held.waiting.pop()()
    assert app("jobs", "list")[0]["state"] == "done"
    assert app("jobs", "list")[0]["attempt"] == 1


def test_a_loop_that_lost_its_job_keeps_nothing(storage):
    """Two loops, one of them silent too long: the other's result counts."""
    app = App(storage)
    job_id = app("jobs", "spawn", name="j")
    held = Held()
    slow = new_loop(storage, lambda *_: "slow", "slow", executor=held)
    slow.step()
    storage.clock.now_ns += 31_000 * MS
    new_loop(storage, lambda *_: "fast", "fast").step()
    slow.step()
    held.waiting.pop()()
    assert app("jobs", "get", id=job_id)["result"] == "fast"
    assert slow.running_count == 0


def test_a_schedule_fires_once_for_each_time(storage):
    """A day, steps at odd times, a loop made anew in between: none is lost or doubled."""
    storage.desk.set_schedules("/shop", {"tick": "*/7 * * * *"}, NOW_NS)
    fired = []

    def run(_name, job, _control):
        assert job.schedule
        fired.append(json.loads(job.data)["scheduled_at_ms"])

    step_ns = 29_123_456_789
    while storage.clock.now_ns < NOW_NS + 24 * 60 * MINUTE_NS:
        storage.clock.now_ns += step_ns
        new_loop(storage, run).step()
    assert len(fired) == len(set(fired))
    hour_ms = 3_600_000
    expected = [
        hour + minute * 60_000
        for hour in range(NOW_NS // MS // hour_ms * hour_ms, storage.clock.now_ns // MS, hour_ms)
        for minute in range(0, 60, 7)
        if NOW_NS // MS < hour + minute * 60_000 <= storage.clock.now_ns // MS
    ]
    assert fired == expected


def test_long_absence_makes_up_for_the_newest(storage):
    """After a year nobody was there, ten firings come and the next is in the future."""
    storage.desk.set_schedules("/shop", {"tick": "* * * * *", "year": "@yearly"}, NOW_NS)
    fired = []
    storage.clock.now_ns += 366 * 24 * 60 * MINUTE_NS

    def run(_name, job, _control):
        fired.append((job.name, json.loads(job.data)["scheduled_at_ms"] * MS))

    new_loop(storage, run).step()
    ticks = [when for name, when in fired if name == "tick"]
    last = storage.clock.now_ns // MINUTE_NS * MINUTE_NS
    assert sorted(ticks) == [last - index * MINUTE_NS for index in reversed(range(10))]
    assert [name for name, _ in fired].count("year") == 1
    assert storage.desk.next_due_ns() == last + MINUTE_NS


def test_old_jobs_are_forgotten(storage):
    """A job that ended is kept for its time, and so is what effects did."""
    app = App(storage)
    app("jobs", "spawn", name="j")
    loop = new_loop(storage, lambda *_: None)
    loop.step()
    storage.clock.now_ns += 8 * 24 * 60 * MINUTE_NS
    app("jobs", "spawn", name="new")
    loop.step()
    assert [job["name"] for job in app("jobs", "list")] == ["new"]


# --- real threads, real processes ---


WAIT_S = 60


def wait_until(condition):
    """Return once something is true."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


def test_a_loop_on_threads(tmp_path, monkeypatch):
    """Jobs that are made while it runs are taken at once; stopping gives back what runs."""
    monkeypatch.setattr("cloche.apps.adapters.jobs._STOP_S", WAIT_S)
    with opened(tmp_path, str(tmp_path / "cloche.db"), job_poll_ms=60_000) as storage:
        app = App(storage)
        begun, ended = threading.Event(), []

        def run(_name, job, control):
            if job.name == "long":
                stopped = threading.Event()
                control.on_stop(stopped.set)
                begun.set()
                assert stopped.wait(WAIT_S)
                raise JobFailedError("stopped")

        limits = Limits().replace({"apps": {"job_poll_ms": 60_000}})
        loop = JobLoop(
            storage.desk,
            run,
            limits,
            owner="w",
            now_ns=storage.clock,
            on_end=lambda _app, job: ended.append((job.name, job.state)),
        )
        storage.on_job(loop.wake)
        loop.start()
        for index in range(5):
            app("jobs", "spawn", name=f"short{index}")
        wait_until(lambda: len(ended) == 5)
        long = app("jobs", "spawn", name="long")
        assert begun.wait(WAIT_S)
        loop.stop(drain_s=0)
        found = app("jobs", "get", id=long)
        assert (found["state"], found["attempt"]) == ("pending", 0)
        assert ended[-1] == ("long", "pending")


def die_in_the_middle(url, folder):
    """Run jobs in a process of its own; the first of them never ends."""
    storage = open_storage(open_store(url), folder=Path(folder))

    def run(_name, job, _control):
        with (Path(folder) / "begun").open("a") as file:
            file.write(f"{job.id} {job.attempt}\n")
        App(storage, run_id=job.id, job=job)("jobs", "checkpoint", value="half")
        threading.Event().wait()

    loop = JobLoop(storage.desk, run, Limits(), owner=f"pid-{os.getpid()}")
    loop.start()
    threading.Event().wait()


def test_a_job_of_a_killed_process_is_taken_again(tmp_path):
    """SIGKILL in the middle of a job: another process goes on from its checkpoint."""
    url, ahead_ns, seen = str(tmp_path / "cloche.db"), [0], []
    store = open_store(url)

    def clock():
        return time.time_ns() + ahead_ns[0]

    storage = open_storage(store, folder=tmp_path, now_ns=clock)
    job_id = App(storage)("jobs", "spawn", name="j")
    child = SPAWN.Process(target=die_in_the_middle, args=(url, str(tmp_path)), daemon=True)
    child.start()
    wait_until(lambda: store_checkpoint(storage, job_id) is not None)
    os.kill(child.pid, signal.SIGKILL)
    child.join(WAIT_S)
    ahead_ns[0] = 2 * Limits().apps.job_lease_ms * MS  # by then the lease of the dead has ended

    def run(_name, job, _control):
        seen.append((job.attempt, App(storage, run_id="again", job=job)("jobs", "last_checkpoint")))
        return "done"

    loop = JobLoop(storage.desk, run, Limits(), owner="parent", now_ns=clock)
    loop.start()
    wait_until(lambda: App(storage)("jobs", "get", id=job_id)["state"] == "done")
    loop.stop()
    assert seen == [(2, "half")]
    assert (tmp_path / "begun").read_text() == f"{job_id} 1\n"
    storage.close()
    store.close()


def store_checkpoint(storage, job_id):
    """Return what a job has kept."""
    found = storage.desk._tables.read("/shop", "jobs", lambda rows: rows.get_job(job_id))
    return found.checkpoint


def fire_and_die(url, folder, now_ns):
    """Fire what is due in a process of its own, and die while the first firing runs."""
    storage = open_storage(open_store(url), folder=Path(folder), now_ns=lambda: now_ns)

    def run(_name, job, _control):
        with (Path(folder) / "fired").open("a") as file:
            file.write(f"{json.loads(job.data)['scheduled_at_ms']} {job.attempt}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    JobLoop(
        storage.desk, run, Limits(), owner="child", now_ns=lambda: now_ns, executor=Now()
    ).step()


def test_a_killed_process_loses_and_doubles_no_firing(tmp_path):
    """Whatever dies: each time of the schedule is done once in the end."""
    url = str(tmp_path / "cloche.db")
    with opened(tmp_path, url) as storage:
        storage.desk.set_schedules("/shop", {"tick": "* * * * *"}, NOW_NS)
        now_ns = NOW_NS + 3 * MINUTE_NS
        child = SPAWN.Process(target=fire_and_die, args=(url, str(tmp_path), now_ns))
        child.start()
        child.join(WAIT_S)
        assert child.exitcode == -signal.SIGKILL
        done = []
        storage.clock.now_ns = now_ns + MINUTE_NS
        loop = new_loop(
            storage,
            lambda _name, job, _control: done.append(json.loads(job.data)["scheduled_at_ms"]),
            "parent",
        )
        loop.step()
        first_ms = (NOW_NS // MINUTE_NS + 1) * MINUTE_NS // MS
        assert sorted(done) == [first_ms + index * 60_000 for index in range(4)]
        before = (tmp_path / "fired").read_text().split()
        assert before[1] == "1"
        assert int(before[0]) in done  # the one that was cut off was done again
        assert storage.desk.next_due_ns() > storage.clock.now_ns
