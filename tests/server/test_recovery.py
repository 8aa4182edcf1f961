"""What the next server does with what a dead one left: run it, go on, or say that it cannot."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from cloche.store.open import open_store
from cloche.store.rows import Timer

from .support import Asker

_seeds = count(1)


def dead(store, target, body):
    """Return the id of a run that a server accepted and did not execute."""
    asker = Asker(store=store)
    if target.startswith("/v1/sessions/"):
        asker.post("/v1/sessions", {"language": "python", "name": "s"})
    asker.host.workers.is_held = True
    answer = asker.post(target, body)
    assert answer.status == 202
    return answer.document["id"]


def revived(store, **options):
    """Return a second server on the store that took up what was left, and how much that was."""
    asker = Asker(store=store, seed=next(_seeds), **options)
    return asker, asker.server.recover()


def test_a_run_that_waited():
    """It is executed as it was accepted: its seed and its clock are those of then."""
    store = open_store("memory:")
    code = "import random, time\nprint(random.random(), time.time())"
    run_id = dead(store, "/v1/runs", {"code": code, "language": "python"})
    kept = store.runs.get(run_id)
    asker, found = revived(store)
    document = asker.get(f"/v1/runs/{run_id}").document
    assert (found, document["status"]) == (1, "completed")
    assert asker.post(f"/v1/runs/{run_id}/replay").document["same"] is True
    # Once more from the same row: the same bytes.
    store.runs.delete(run_id)
    store.runs.create(kept)
    third, _ = revived(store)
    assert third.get(f"/v1/runs/{run_id}").document["stdout"] == document["stdout"]


def test_a_run_of_a_session_that_waited():
    """It is executed in its session."""
    store = open_store("memory:")
    run_id = dead(store, "/v1/sessions/s/runs", {"code": "x = 1\nprint(x)"})
    asker, found = revived(store)
    assert (found, asker.get(f"/v1/runs/{run_id}").document["stdout"]) == (1, "1\n")
    assert asker.get("/v1/sessions/s").document["operation_count"] == 1


@pytest.mark.parametrize(("missing", "status"), [(0, "completed"), (1, "interrupted")])
def test_a_run_that_may_have_done_something(missing, status):
    """With its journal complete it has ended as it did; else it is interrupted, not begun again."""
    store = open_store("memory:")
    asker = Asker(store=store)
    code = "import cloche\nprint(1)\ntry:\n    cloche.idempotency_key()\nexcept Exception: pass"
    done = asker.run(code, policy={"durable": {"allow": ["*"]}})
    kept, records = store.runs.get(done["id"]), store.journals.read(done["id"])
    store.runs.delete(done["id"])
    store.runs.create(replace(kept, status="queued", ended_ns=None, result=b"{}"))
    store.journals.append(done["id"], records[: len(records) - missing], expected_count=0)
    found, _ = revived(store)
    document = found.get(f"/v1/runs/{done['id']}").document
    assert document["status"] == status
    if not missing:
        assert (document["stdout"], document["journal_hash"]) == ("1\n", done["journal_hash"])


def test_what_may_not_be_executed_any_more():
    """A server that gives less than the dead one says so, and executes nothing."""
    store = open_store("memory:")
    generous = Asker(store=store, allow_net=True)
    generous.host.workers.is_held = True
    body = {"code": "print(1)", "policy": {"net": {}}}
    run_id = generous.post("/v1/runs", body).document["id"]
    asker, _ = revived(store)
    document = asker.get(f"/v1/runs/{run_id}").document
    assert (document["status"], document["stdout"]) == ("interrupted", "")


def test_runs_of_other_doors():
    """What the command line left in the same store is left alone."""
    from cloche.store.rows import Run

    store = open_store("memory:")
    store.runs.create(Run(id="r1", language="python", status="running", created_ns=1, started_ns=1))
    _, found = revived(store)
    assert (found, store.runs.get("r1").status) == (0, "running")


def test_a_run_whose_time_has_come():
    """Maintenance goes on with it then, and not before."""
    asker = Asker()
    asker.server.runs._execution.sessions.now_ns = asker.host.now_ns
    asker.post("/v1/sessions", {"language": "javascript", "name": "s"})
    code = "await cloche.sleep(3600); console.log('awake')"
    document = asker.post("/v1/sessions/s/run", {"code": code}).document
    assert document["status"] == "suspended"
    asker.server.maintain()
    assert asker.get(f"/v1/runs/{document['id']}").document["status"] == "suspended"
    asker.host.time_ns += 3600 * 10**9
    asker.server.maintain()
    document = asker.get(f"/v1/runs/{document['id']}").document
    assert (document["status"], document["stdout"]) == ("completed", "awake\n")
    assert asker.store.timers.next_due_ns() is None


def test_a_run_whose_promise_is_kept():
    """Whoever has a key gives the promise its value, once; maintenance goes on with the run."""
    asker = Asker()
    asker.post("/v1/sessions", {"language": "javascript", "name": "s"})
    asker.server.runs._execution.sessions.limits = asker.limits.replace(
        {"sessions": {"suspend_after_ms": 0}}
    )
    code = (
        "const made = await cloche.promise.create(); console.log(made);"
        "console.log(await cloche.promise.get(made))"
    )
    waiting = asker.post("/v1/sessions/s/run", {"code": code}).document
    promise, run = waiting["stdout"].strip(), f"/v1/runs/{waiting['id']}"
    asker.server.maintain()
    assert asker.get(run).document["status"] == "suspended"
    complete = f"/v1/promises/{promise}/complete"
    answer = asker.post(complete, {"value": {"paid": True}}).document
    assert answer == {"id": promise, "run_id": waiting["id"], "completed": True}
    assert asker.post(complete, {"value": "late"}).document == {**answer, "completed": False}
    asker.server.maintain()
    document = asker.get(run).document
    assert (document["status"], document["stdout"]) == (
        "completed",
        f"{promise}\n{{ paid: true }}\n",
    )
    assert asker.store.timers.next_due_ns() is None


def test_a_promise_that_nobody_waits_for():
    """It can be kept after its run has ended, and before the run looks; no wake-up is left over."""
    asker = Asker()
    asker.post("/v1/sessions", {"language": "javascript", "name": "s"})
    code = "console.log(await cloche.promise.create())"
    ended = asker.post("/v1/sessions/s/run", {"code": code}).document
    complete = f"/v1/promises/{ended['stdout'].strip()}/complete"
    assert asker.post(complete, {"value": 1}).document["completed"] is True
    assert asker.store.timers.next_due_ns() is None
    asker.store.timers.set(Timer(id=ended["id"], run_id=ended["id"], due_ns=1))
    asker.server.maintain()
    assert asker.store.timers.next_due_ns() is None
