"""Detached work in a store: known to every process, lost with its own, found by later scripts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from tests.script.cases import LANGUAGES, WAIT_S, add

import cloche
from cloche.limits.adapters.settings import load_limits
from cloche.script.adapters.jobs import JobRecord, jobs_in, load, own_process, save
from cloche.script.adapters.spawn import Spawner
from cloche.store.adapters.memory import MemoryStore

DAY_MS = 24 * 3600 * 1000
START = {
    "python": "tools.spawn.add(a=1, b=2)['id']",
    "other": "return (await tools.spawn.add({ a: 1, b: 2 })).id",
}


@pytest.fixture
def store():
    """Return a store that harnesses share."""
    return MemoryStore(cloche.Limits())


def dead_process():
    """Return what named a process that has ended."""
    code = (
        "import json; from cloche.script.adapters.jobs import own_process; "
        "print(json.dumps(own_process()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    host, number, start = json.loads(done.stdout)
    assert start != ""
    return host, number, start


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_result_comes_in_a_later_turn(store, language):
    """Another harness, with a spawner of its own, finds what became of it."""
    spawner = Spawner(add)
    first = cloche.ScriptHarness(*spawner.tools, store=store)
    job_id = first.run(START.get(language, START["other"]), language=language).value
    spawner.wait(job_id, WAIT_S)
    second = cloche.ScriptHarness(*Spawner(add).tools, store=store)
    found = second.run(f"return tools.spawn.status('{job_id}')").value
    assert (found["status"], found["value"]) == ("completed", 3)
    assert [one["id"] for one in second.run("return tools.spawn.list()").value] == [job_id]
    assert [(one.id, one.tool, one.value) for one in second.jobs] == [(job_id, "add", 3)]


def test_what_runs_is_listed(store):
    """With its run, before it is over."""
    go_on = threading.Event()

    @cloche.tool(read_only=True)
    def wait() -> str:
        """Wait."""
        go_on.wait(WAIT_S)
        return "done"

    spawner = Spawner(wait)
    harness = cloche.ScriptHarness(*spawner.tools, store=store)
    result = harness.run("return (await tools.spawn.wait()).id")
    (job,) = harness.jobs
    assert (job.status, job.run_id, job.ended_ms) == ("running", result.run_id, None)
    go_on.set()
    spawner.wait(result.value, WAIT_S)
    (job,) = harness.jobs
    assert (job.status, job.value) == ("completed", "done")
    assert job.ended_ms >= job.started_ms


def test_a_job_whose_process_is_gone(store):
    """It is lost, and says so; one of another machine may be at work."""
    gone = JobRecord(id="a", tool="add", run_id="r", process=dead_process())
    elsewhere = JobRecord(id="b", tool="add", run_id="r", process=("other", 1, "1"))
    here = JobRecord(id="c", tool="add", run_id="r", process=own_process())
    for one in (gone, elsewhere, here):
        save(store, one)
    assert [one.status for one in jobs_in(store)] == ["lost", "running", "running"]
    assert load(store, "a").to_document() == {
        "id": "a",
        "tool": "add",
        "status": "lost",
        "error": "its process is gone",
    }


def test_the_same_call_is_the_same_job(store):
    """Also in another process; a lost one is started again."""
    context = cloche.ToolContext(
        run_id="r", idempotency_key="r/1", cancelled=lambda: False, store=store
    )
    calls = []

    @cloche.tool
    def count() -> int:
        """Count calls."""
        calls.append(1)
        return len(calls)

    def start():
        spawner = Spawner(count)
        document = spawner.tools[0].function(cloche_context=context)
        if spawner.jobs:
            spawner.wait(document["id"], WAIT_S)
        return document["id"]

    job_id = start()
    assert start() == job_id
    assert len(calls) == 1
    lost = JobRecord(id=job_id, tool="count", run_id="r", process=dead_process())
    save(store, lost)
    assert start() == job_id
    assert (len(calls), load(store, job_id).value) == (2, 2)


def test_old_jobs_go_with_old_runs(store):
    """What runs stays."""
    now_ms = 100 * DAY_MS
    for name, status, ended_ms in (
        ("old", "completed", 10 * DAY_MS),
        ("new", "failed", 90 * DAY_MS),
        ("busy", "running", None),
    ):
        save(
            store,
            JobRecord(
                id=name,
                tool="add",
                run_id="r",
                status=status,
                ended_ms=ended_ms,
                process=("other", 1, "1"),
            ),
        )
    harness = cloche.ScriptHarness(store=store, limits=load_limits(), clock_ms=lambda: now_ms)
    harness.prune()
    assert sorted(one.id for one in harness.jobs) == ["busy", "new"]
