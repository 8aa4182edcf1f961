"""Checks of a store: promises, timers, approvals."""

# ruff: noqa: PLR2004 - what a check puts in, it counts

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.store.errors import (
    StoreChangedError,
    StoreExistsError,
    StoreInvalidError,
    StoreUnknownError,
)
from cloche.store.ports import wait_promise
from cloche.store.rows import (
    Approval,
    Promise,
    Timer,
)
from cloche.testing.store_support import (
    NOW_NS,
    at_once,
    new_approval,
    new_run,
    raises,
)

if TYPE_CHECKING:
    from cloche.store.ports import Store


def check_promises(store: Store) -> None:
    """A promise is completed once, with whatever bytes; waiting asks again after each pause."""
    store.runs.create(new_run("r"))
    promise = Promise(id="p", run_id="r", created_ns=NOW_NS)
    store.promises.create(promise)
    store.promises.create(Promise(id="free", created_ns=NOW_NS))
    raises(StoreExistsError, lambda: store.promises.create(promise), what="promise", id="p")
    lost = Promise(id="lost", run_id="absent", created_ns=NOW_NS)
    raises(StoreUnknownError, lambda: store.promises.create(lost), what="run", id="absent")
    assert store.promises.get("p") == promise
    assert store.promises.get("absent") is None
    assert wait_promise(store.promises, "p", lambda: False) is None
    assert wait_promise(
        store.promises, "p", lambda: store.promises.complete("p", b"", now_ns=NOW_NS + 1)
    ) == (b"")
    assert not store.promises.complete("p", b"second", now_ns=NOW_NS + 2)
    assert store.promises.get("p") == replace(promise, value=b"", completed_ns=NOW_NS + 1)
    raises(StoreUnknownError, lambda: store.promises.complete("absent", b"", now_ns=0))
    raises(StoreUnknownError, lambda: wait_promise(store.promises, "absent", lambda: True))
    completed = at_once(8, lambda _: store.promises.complete("free", b"v", now_ns=1))
    assert sorted(map(str, completed)) == [*["False"] * 7, "True"]


def check_timers(store: Store) -> None:
    """Timers come when they are due, in order, and are removed by exactly one."""
    assert store.timers.next_due_ns() is None
    for run_id in ("r", "q"):
        store.runs.create(new_run(run_id))
    for timer_id, due_ns in (("b", 5), ("a", 5), ("c", 1), ("d", 9)):
        store.timers.set(Timer(id=timer_id, run_id="r", due_ns=due_ns))
    store.timers.set(Timer(id="d", run_id="q", due_ns=7))
    assert store.timers.next_due_ns() == 1
    assert [timer.id for timer in store.timers.due(now_ns=6)] == ["c", "a", "b"]
    assert [timer.id for timer in store.timers.due(now_ns=6, limit=2)] == ["c", "a"]
    assert not store.timers.due(now_ns=0)
    assert list(store.timers.due(now_ns=7))[-1] == Timer(id="d", run_id="q", due_ns=7)
    removed = at_once(4, lambda _: store.timers.remove("c"))
    assert sorted(map(str, removed)) == ["False", "False", "False", "True"]
    lost = Timer(id="e", run_id="absent", due_ns=1)
    raises(StoreUnknownError, lambda: store.timers.set(lost), what="run", id="absent")


def check_approvals(store: Store) -> None:
    """An approval is answered once; the same answer again is fine, another is refused."""
    for run_id in ("r", "q"):
        store.runs.create(new_run(run_id))
    for index in range(4):
        store.approvals.create(new_approval(f"a{index}", seq=index))
    store.approvals.create(new_approval("b", run_id="q"))
    for taken in (new_approval("a0", seq=99), new_approval("new", seq=0)):
        raises(StoreExistsError, partial(store.approvals.create, taken))
    lost = new_approval("lost", run_id="absent")
    raises(StoreUnknownError, lambda: store.approvals.create(lost), what="run", id="absent")
    decided = store.approvals.decide("a0", "approved", decision=b"yes", now_ns=NOW_NS + 1)
    assert decided == replace(
        new_approval("a0"), status="approved", decision=b"yes", decided_ns=NOW_NS + 1
    )
    again = store.approvals.decide("a0", "approved", decision=b"late", now_ns=NOW_NS + 200)
    assert again == decided
    raises(
        StoreChangedError,
        lambda: store.approvals.decide("a0", "denied", now_ns=NOW_NS + 2),
        what="approval",
        id="a0",
        expected="pending",
        found="approved",
    )
    assert store.approvals.get("a0") == decided
    assert [row.id for row in store.approvals.list(status="pending")] == ["a1", "a2", "a3", "b"]
    assert [row.id for row in store.approvals.list(run_id="r", after="a1")] == ["a2", "a3"]
    assert [row.id for row in store.approvals.list(limit=2)] == ["a0", "a1"]
    raises(StoreInvalidError, lambda: store.approvals.decide("a1", "pending", now_ns=0))
    raises(StoreUnknownError, lambda: store.approvals.decide("absent", "denied", now_ns=0))


def check_expiry(store: Store) -> None:
    """From its end on nobody can answer: it is expired, whoever looks first."""
    store.runs.create(new_run("r"))
    for index in range(4):
        store.approvals.create(new_approval(f"a{index}", seq=index, expires_ns=NOW_NS + 10 + index))
    raises(
        StoreChangedError,
        lambda: store.approvals.decide("a0", "approved", now_ns=NOW_NS + 10),
        what="approval",
        id="a0",
        expected="pending",
        found="expired",
    )
    found = store.approvals.get("a0")
    assert found is not None
    assert (found.status, found.decided_ns) == ("expired", NOW_NS + 10)
    assert [row.id for row in store.approvals.expire(now_ns=NOW_NS + 12, limit=1)] == ["a1"]
    expired = list(store.approvals.expire(now_ns=NOW_NS + 12))
    assert [(row.id, row.status, row.decided_ns) for row in expired] == [
        ("a2", "expired", NOW_NS + 12)
    ]
    assert store.approvals.get("a2") == expired[0]
    assert [row.id for row in store.approvals.list(status="pending")] == ["a3"]


def check_concurrent_answers(store: Store) -> None:
    """Of two different answers at the same time one stands, and all see the same one."""
    store.runs.create(new_run("r"))
    store.approvals.create(new_approval("a"))

    def decide(index: int) -> Approval:
        status: Any = "approved" if index % 2 else "denied"
        return store.approvals.decide("a", status, decision=b"%d" % index, now_ns=NOW_NS)

    outcomes = at_once(8, decide)
    found = store.approvals.get("a")
    assert [outcome for outcome in outcomes if isinstance(outcome, Approval)] == [found] * 4
    assert sum(isinstance(outcome, StoreChangedError) for outcome in outcomes) == 4
