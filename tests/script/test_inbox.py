"""Tests of the inbox: questions that are kept in a store, and decisions about them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloche.limits import Limits
from cloche.script.adapters.desk import Desk
from cloche.script.approvals import Approval
from cloche.script.errors import ApprovalUnknownError, AuditBrokenError, ToolValidationError
from cloche.script.inbox import Inbox
from cloche.script.tools import ToolSet, tool
from cloche.store.open import open_store
from cloche.store.rows import Run

LIMITS = Limits()
A, B = "a" * 64, "ab" + "c" * 62


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now_ms = 1000

    def __call__(self):
        return self.now_ms


@tool
def write(path: str) -> None:
    """Write a file."""


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """Return a store with a run that waits."""
    store = open_store("memory:" if request.param == "memory" else tmp_path / "s.db")
    row = Run(id="r", language="javascript", status="suspended", created_ns=1)
    result = b'{"script_id":"script_1","run_id":"r","status":"suspended","output":"hi"}'
    store.runs.create(replace(row, result=result))
    yield store
    store.close()


@pytest.fixture
def clock():
    """Return a clock."""
    return Clock()


@pytest.fixture
def inbox(store, clock):
    """Return an inbox with two questions of one run."""
    desk = Desk(store, clock_ms=clock, limits=LIMITS)
    for number, name in enumerate([A, B]):
        desk.ask(question(name, sequence=number))
    return Inbox(store, limits=LIMITS, clock_ms=clock, tools=ToolSet(write))


def question(name, **changes):
    """Return a question."""
    values = {
        "run_id": "r",
        "session_id": "s",
        "tool": "write",
        "shown": {"path": "/etc"},
        "args_sha256": "0" * 64,
        "who": "operator",
        "created_ms": 1000,
        "expires_ms": 2000,
    }
    return Approval(id=name, **{**values, **changes})


def test_questions_are_listed_and_shown(inbox):
    """In the order in which they were asked; an id may be shortened as far as it is one."""
    assert [one.id for one in inbox.list()] == [A, B]
    assert inbox.list(run_id="other") == ()
    assert inbox.show("ab")["shown"] == {"path": "/etc"}
    for unknown, found in (("a", 2), ("b", 0), ("", 0), ("\n", 0), ("a" * 65, 0)):
        with pytest.raises(ApprovalUnknownError) as raised:
            inbox.find(unknown)
        assert raised.value.fields["found"] == found


def test_a_decision_is_made_once(inbox):
    """What comes later changes nothing, and says why."""
    answer = inbox.approve(A, who="ann", reason="fine")
    assert (answer.changed, answer.approval.status) == (True, "approved")
    assert answer.says == "write of run r is approved"
    assert inbox.approve(A, who="ann", reason="fine").ignored == "same"
    assert inbox.reject(A, who="bob").ignored == "decided"
    assert inbox.reject("f" * 64, who="bob").ignored == "unknown"
    assert [one.id for one in inbox.list()] == [B]


def test_changed_arguments_are_checked(inbox):
    """What does not fit decides nothing."""
    with pytest.raises(ToolValidationError):
        inbox.approve(A, who="ann", args={"path": 1})
    assert inbox.list()[0].id == A
    answer = inbox.approve(A, who="ann", args={"path": "/tmp"})
    assert answer.approval.made.args == {"path": "/tmp"}
    assert inbox.audit()[-1].changed_sha256 != ""
    for wrong in ({"always": True, "args": {}}, {"args": {"path": "x"}, "always": True}):
        with pytest.raises(ValueError, match="arguments can be changed"):
            inbox.approve(B, who="ann", **wrong)


def test_a_lasting_decision_answers_questions_of_its_session(inbox, store, clock):
    """Those that are open, and those that come."""
    other = question("d" * 64, session_id="t", sequence=2)
    Desk(store, clock_ms=clock, limits=LIMITS).ask(other)
    assert inbox.reject(A, who="ann", never=True).changed
    assert [one.id for one in inbox.list()] == [other.id]
    later = Desk(store, clock_ms=clock, limits=LIMITS).ask(question("e" * 64, sequence=3))
    assert (later.approval.status, later.approval.made.who) == ("rejected", "ann")
    assert inbox.approve("d", who="bob", always=True).changed


def test_a_rejected_run_is_over(inbox, store):
    """Its other questions are cancelled, and its row says what became of it."""
    assert inbox.reject(A, who="ann", run=True).changed
    assert inbox.list() == ()
    assert inbox.approve(B, who="ann").ignored == "run_over"
    row = store.runs.get("r")
    assert row.status == "cancelled"
    assert b'"status":"rejected"' in row.result
    assert b'"output":"hi"' in row.result
    with pytest.raises(ValueError, match="about the tool"):
        inbox.reject(B, who="ann", run=True, never=True)


def test_a_question_expires(inbox, store, clock):
    """From then on nobody can decide, and the run is over."""
    clock.now_ms = 2000
    assert inbox.approve(A, who="ann").ignored == "expired"
    assert inbox.list() == ()
    assert b"APPROVAL_TIMEOUT" in store.runs.get("r").result


def test_approvals_are_counted(inbox):
    """By what became of them."""
    inbox.approve(A, who="ann")
    none = dict.fromkeys(["rejected", "expired", "cancelled"], 0)
    assert inbox.counts() == {"pending": 1, "approved": 1, **none}
    inbox.reject(B, who="ann")
    assert inbox.counts() == {**none, "pending": 0, "approved": 1, "rejected": 1}


def test_the_audit_says_who_decided_what(inbox, store):
    """It outlives the run."""
    inbox.approve(A, who="ann", reason="fine")
    store.runs.delete("r")
    told = [(one.approval_id, one.event, one.who, one.verdict, one.reason) for one in inbox.audit()]
    assert told == [
        (A, "pending", "cloche", None, ""),
        (B, "pending", "cloche", None, ""),
        (A, "approved", "ann", "approve", "fine"),
    ]
    assert inbox.audit(run_id="other") == ()


def test_a_changed_audit_is_seen(inbox, store):
    """Whatever was changed, the first wrong row is named."""
    inbox.approve(A, who="ann")
    if store.url == "memory:":
        row = store.state.audit[1]
        store.state.audit[1] = replace(row, data=row.data.replace(b"cloche", b"klosche"))
    else:
        with store.database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE audit_entries SET data = x'7b7d' WHERE ordinal = 1")
    with pytest.raises(AuditBrokenError) as raised:
        inbox.audit()
    assert raised.value.fields["index"] == 1


def test_a_run_that_is_over_asks_nothing(store, clock):
    """A question of a run that has ended is refused, and nobody sees it."""
    row = store.runs.get("r")
    store.runs.update(replace(row, status="running"), expected="suspended")
    store.runs.update(replace(row, status="completed", ended_ns=2), expected="running")
    step = Desk(store, clock_ms=clock, limits=LIMITS).ask(question("d" * 64))
    assert (step.refused, step.approval) == ("run_over", None)
    assert Inbox(store, limits=LIMITS, clock_ms=clock).list() == ()
