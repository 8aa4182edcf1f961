"""Tests of sessions against SIGKILL: nothing acknowledged is lost, nothing done is repeated.

The workload is a run with three effects, an upload and a snapshot, in a session that goes on. It is
killed before and after each change that it makes to the store, inside each effect, and at moments
that nobody chose; `CLOCHE_TEST_CRASH_COUNT` says how many of those, of all stores and languages.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.cli.support import cloche

from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store

# Hundreds of processes, one after the other.
pytestmark = pytest.mark.timeout(900)
CHILD = Path(__file__).with_name("crash_child.py")
LEASE_MS = "100"
LANGUAGES = ("python", "javascript")
RANDOM_COUNT = int(os.environ.get("CLOCHE_TEST_CRASH_COUNT", "200"))
# Of the random moments, how many each store and language gets; a server takes longer.
SHARES = {"sqlite": 0.4, "postgresql": 0.1}
ANY_MOMENT_MS = (10, 450)
EFFECT_COUNT = 3


class World:
    """A store with one session, the effects that were performed outside, and who is killed."""

    def __init__(self, folder, url, language, **options):
        self.url, self.language = url, language
        self.effects = folder / "effects.txt"
        self.effects.touch()
        self.killed = 0
        self.acknowledged = Counter()
        store = open_store(url)
        Session.create(language, name="worker", store=store, seed=1, **options).close()
        sessions_of(store).close()
        store.close()
        self._server = subprocess.Popen(
            [sys.executable, str(CHILD), str(url), str(self.effects), language],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**_environment(), "CLOCHE_SESSIONS_LEASE_MS": LEASE_MS},
        )

    def close(self):
        """End the process that forks the others."""
        self._server.communicate(timeout=60)

    def work(self, **plan):
        """Let one process work, and note what it acknowledged; return its answer."""
        self._server.stdin.write(json.dumps(plan) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        assert answer["code"] in (0, -signal.SIGKILL)
        self.killed += answer["code"] != 0
        for line in answer["lines"]:
            word, *count = line.split()
            self.acknowledged[word] = max(self.acknowledged[word], int((count or [0])[0]))
        return answer

    def performed(self):
        """Return the effects that were performed, in order, as pairs of name and key."""
        lines = self.effects.read_text(encoding="utf-8").splitlines()
        return [tuple(line.split()) for line in lines]

    def check(self):
        """Look at what is kept, after a last process that nobody killed."""
        before = dict(self.acknowledged)
        answer = self.work(kind="none")
        assert answer["code"] == 0
        assert answer["lines"][-1] == "snapshot"
        done = self.acknowledged["done"]
        assert done >= before.get("done", 0) + 1
        pairs = Counter(self.performed())
        names = Counter(name for name, _ in pairs)
        wanted = {f"{run}-{n}" for run in range(done) for n in range(EFFECT_COUNT)}
        assert names.keys() == wanted
        # The same place has the same key, whichever process got there.
        assert set(names.values()) == {1}
        # What was in flight when a process died may have been performed again, nothing else.
        assert sum(count - 1 for count in pairs.values()) <= self.killed
        assert max(pairs.values()) <= 1 + self.killed
        self._check_store(done, before.get("uploaded", 0))

    def _check_store(self, done, uploaded):
        store = open_store(self.url)
        try:
            with Session.open("worker", store=store) as session:
                assert session.download("done.txt") == str(done).encode()
                if uploaded:
                    assert session.download(f"up-{uploaded}.txt") == str(uploaded).encode()
            runs = []
            while page := store.runs.list(after=runs[-1].id if runs else ""):
                runs += page
            statuses = Counter(run.status for run in runs)
            assert statuses["completed"] == done
            # Only a run that was killed before its first record cannot go on.
            assert statuses.keys() <= {"completed", "interrupted"}
            for run in runs:
                if run.status == "completed":
                    assert "done" in msgspec.json.decode(run.result)["stdout"]
                else:
                    assert store.journals.read(run.id) == []
        finally:
            sessions_of(store).close()
            store.close()


def _environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("CLOCHE_")}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the URL of an empty store of both kinds that last."""
    if request.param == "sqlite":
        return str(tmp_path / "cloche.db")
    return request.getfixturevalue("postgresql_url")


@pytest.fixture(params=LANGUAGES)
def world(request, url, tmp_path):
    """A session in each language on each store."""
    made = World(tmp_path, url, request.param)
    yield made
    made.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_change(world, when):
    """Whichever change was the last: the run is finished or resumed, and all goes on."""
    points = world.work(kind="count")["points"]
    assert points.keys() >= {"runs.create", "journals.append", "sessions.apply", "blobs.put"}
    assert points["journals.append"] >= 2 * EFFECT_COUNT
    for method, count in points.items():
        for number in range(1, count + 1):
            world.work(kind="point", method=method, when=when, number=number)
    assert world.killed >= len(points)
    world.check()


def test_killed_inside_each_effect(world):
    """What was in flight is performed again, with the same key, and only that."""
    for number in range(1, EFFECT_COUNT + 1):
        world.work(kind="tool", number=number)
    assert world.killed == EFFECT_COUNT
    world.check()
    pairs = Counter(world.performed())
    assert sum(count - 1 for count in pairs.values()) == EFFECT_COUNT


def test_killed_at_any_moment(world, request):
    """The same, again and again in one session, at moments that nobody chose."""
    share = SHARES["sqlite" if "sqlite" in request.node.name else "postgresql"]
    chooser = random.Random(f"{2026}{world.language}")
    for _ in range(int(RANDOM_COUNT * share)):
        world.work(kind="time", after_ms=chooser.randint(*ANY_MOMENT_MS), runs=50)
    assert world.killed
    world.check()


@pytest.fixture(params=LANGUAGES)
def small_world(request, tmp_path):
    """A session in each language on SQLite."""
    made = World(tmp_path, str(tmp_path / "cloche.db"), request.param)
    yield made
    made.close()


def settled(world, code="1"):
    """Use the session without any tool; return the row of the run that was left, as a document."""
    time.sleep(int(LEASE_MS) / 1000)
    store = open_store(world.url)
    try:
        with Session.open("worker", store=store) as session:
            session.run(code)
            run = store.runs.list(session_id=session.id)[-1]
            return run.status, msgspec.json.decode(run.result), run.id
    finally:
        sessions_of(store).close()
        store.close()


def test_an_interrupted_run_keeps_its_output(small_world):
    """Without the tools it cannot go on; what it printed until the last effect is there."""
    small_world.work(kind="tool", number=3)
    status, result, run_id = settled(small_world)
    assert (status, result["stdout"]) == ("interrupted", "step 0\nstep 1\n")
    assert (result["exit_code"], result["error"]) == (None, None)
    assert [name for name, _ in small_world.performed()] == ["0-0", "0-1", "0-2"]
    shown = cloche("runs", "show", run_id, "--store", small_world.url)
    assert "step 0" in shown.stdout
    assert "interrupted" in shown.stdout
    document = cloche("runs", "show", run_id, "--store", small_world.url, "--json").document
    assert document["result"]["stdout"] == "step 0\nstep 1\n"


def test_a_run_that_needs_nobody_any_more_is_finished(small_world):
    """All of its effects have answers, so it goes on to its end without the tools."""
    small_world.work(kind="point", method="sessions.apply", when="before", number=1)
    status, result, _ = settled(small_world)
    assert (status, result["stdout"].splitlines()[-1]) == ("completed", "done 1")
    assert len(small_world.performed()) == EFFECT_COUNT


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_effect_in_flight_is_not_repeated_where_that_is_not_wanted(tmp_path, language):
    """Its run is interrupted, though the tools are there; the session goes on before it."""
    url = str(tmp_path / "cloche.db")
    world = World(tmp_path, url, language, repeat_in_flight=False)
    world.work(kind="tool", number=2)
    world.work(kind="none")
    world.close()
    names = [name for name, _ in world.performed()]
    assert names == ["0-0", "0-1", "0-0", "0-1", "0-2"]
    assert len(set(world.performed())) == len(names)  # a new run has new keys
    store = open_store(url)
    runs = store.runs.list()
    assert [run.status for run in runs] == ["completed", "interrupted"]
    assert msgspec.json.decode(runs[-1].result)["stdout"] == "step 0\n"
    store.close()
