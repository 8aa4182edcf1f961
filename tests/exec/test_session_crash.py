"""Tests of sessions against SIGKILL: nothing acknowledged is lost, nothing done is repeated."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store

CHILD = Path(__file__).with_name("crash_child.py")
LEASE_MS = "100"
POINTS = {
    "runs.create": (1,),
    "journals.append": (1, 2, 3, 4, 8, 9),  # the start, the first effect's three, the end
    "sessions.apply": (1,),
    "blobs.put": (1,),
    "leases.acquire": (1,),
    "leases.release": (1,),
}
PLANS = [
    f"{method}:{when}:{number}"
    for method, numbers in POINTS.items()
    for number in numbers
    for when in ("before", "after")
] + ["tool:1", "tool:2", "tool:3"]
RANDOM_COUNT = 8


class World:
    """A store with one session, and the effects that were performed outside."""

    def __init__(self, folder, language):
        self.folder, self.language = folder, language
        self.path = folder / "cloche.db"
        self.effects = folder / "effects.txt"
        self.effects.touch()
        store = open_store(self.path)
        Session.create(language, name="worker", store=store, seed=1).close()
        sessions_of(store).close()
        store.close()

    def work(self, plan, runs=1):
        """Run the child; return its exit code and what it printed."""
        arguments = [str(self.path), str(self.effects), plan, self.language, str(runs)]
        done = subprocess.run(
            [sys.executable, str(CHILD), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**_environment(), "CLOCHE_SESSIONS_LEASE_MS": LEASE_MS},
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode, done.stdout.splitlines()

    def performed(self):
        """Return how often each effect was performed."""
        return Counter(self.effects.read_text(encoding="utf-8").split())

    def check(self, acknowledged):
        """Look at what is kept, after a last run that nobody killed."""
        for _ in range(50):
            code, lines = self.work("none")
            if code == 0 and lines:
                break
        assert lines, "the session could not be used again"
        word, count = lines[-1].split()
        assert word == "done"
        done = int(count)
        assert done >= acknowledged + 1
        performed = self.performed()
        assert {f"{run}-{n}" for run in range(done) for n in range(3)} <= performed.keys()
        # What was in flight when the process died may have been performed twice, nothing else.
        assert max(performed.values()) <= 2
        assert sum(count - 1 for count in performed.values()) <= 1
        store = open_store(self.path)
        try:
            with Session.open("worker", store=store) as session:
                assert session.download("done.txt") == count.encode()
            statuses = [run.status for run in store.runs.list()]
            assert set(statuses) <= {"completed", "interrupted"}
            assert statuses.count("completed") == done
            for run in store.runs.list():
                if run.status == "completed":
                    assert "done" in msgspec.json.decode(run.result)["stdout"]
        finally:
            sessions_of(store).close()
            store.close()


def _environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("CLOCHE_")}


@pytest.mark.parametrize("plan", PLANS)
def test_killed_at_a_named_point(tmp_path, plan):
    """Whichever step was the last: the run is finished or resumed, and all goes on."""
    language = ("python", "javascript")[sum(plan.encode()) % 2]
    world = World(tmp_path, language)
    code, lines = world.work(plan)
    world.check(acknowledged=len([line for line in lines if line.startswith("done")]))
    assert code in (0, -signal.SIGKILL)


def test_killed_at_random_moments(tmp_path):
    """The same, again and again in one session, at moments that nobody chose."""
    world = World(tmp_path, "javascript")
    chooser = random.Random(2026)
    acknowledged = killed = 0
    for _ in range(RANDOM_COUNT):
        before = world.performed()
        code, lines = world.work(f"time:{chooser.randint(150, 700)}", runs=50)
        killed += code != 0
        acknowledged += len([line for line in lines if line.startswith("done")])
        after = world.performed()
        assert all(after[name] >= count for name, count in before.items())
    assert killed
    code, lines = world.work("none")
    done = int(lines[-1].split()[1])
    assert done >= acknowledged + 1
    performed = world.performed()
    assert {f"{run}-{n}" for run in range(done) for n in range(3)} <= performed.keys()
    assert sum(count - 1 for count in performed.values()) <= killed
