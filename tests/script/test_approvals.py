"""Tests of approvals: a state machine against a model, and each rule by itself."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloche.limits import Limits
from cloche.script.approvals import Approval, Ledger, Made, ask, decide, end_run, expire

LIMITS = Limits()
VERDICTS = ["approve", "reject", "always", "never", "reject_run"]
FINAL = {
    "approve": "approved",
    "always": "approved",
    "reject": "rejected",
    "never": "rejected",
    "reject_run": "rejected",
}


def question(number=1, *, run="r1", session="s", tool="t", at=0, expires=100):
    """Return a question that nobody has decided."""
    return Approval(
        id=f"a{number}",
        run_id=run,
        session_id=session,
        tool=tool,
        shown={"n": number},
        args_sha256=f"{number:064}",
        who="operator",
        created_ms=at,
        expires_ms=expires,
    )


def asked(*questions, ledger=None):
    """Return the ledger with these questions."""
    ledger = ledger or Ledger()
    for one in questions:
        ledger = ask(ledger, one, limits=LIMITS).ledger
    return ledger


def statuses(ledger):
    """Return what has become of each question."""
    return {name: approval.status for name, approval in ledger.approvals.items()}


def stored(ledger):
    """Return the ledger as another process reads it."""
    again = [
        msgspec.msgpack.decode(msgspec.msgpack.encode(approval), type=Approval)
        for approval in ledger.approvals.values()
    ]
    return Ledger(
        approvals={approval.id: approval for approval in again},
        runs=dict(ledger.runs),
        lasting=dict(ledger.lasting),
    )


class ApprovalMachine(RuleBasedStateMachine):
    """Drives a ledger and a plain model side by side."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()
        self.now = 0
        self.questions = {}
        self.status = {}
        self.made = {}
        self.over = {}
        self.lasting = {}
        self.audit = []
        self.frozen = {}

    # --- the model ---

    def model_close(self, name, status):
        assert self.status[name] == "pending"
        self.status[name] = status

    def model_end(self, run, status):
        if run in self.over:
            return
        self.over[run] = status
        for name, one in self.questions.items():
            if one.run_id == run and self.status[name] == "pending":
                self.model_close(name, "cancelled")

    def model_expire(self):
        order = sorted(self.questions.values(), key=lambda one: (one.created_ms, one.id))
        for one in order:
            if self.status[one.id] == "pending" and self.now >= one.expires_ms:
                self.model_close(one.id, "expired")
                self.model_end(one.run_id, "expired")

    def model_decide(self, name, made):
        self.model_expire()
        if name not in self.status:
            return "unknown"
        if self.status[name] != "pending":
            if self.status[name] == "expired":
                return "expired"
            if self.status[name] == "cancelled":
                return "run_over"
            return "same" if self.made.get(name) == made else "decided"
        one = self.questions[name]
        names = [name]
        if made.verdict in {"always", "never"}:
            self.lasting[one.session_id, one.tool] = made
            names = [
                other.id
                for other in self.questions.values()
                if (other.session_id, other.tool) == (one.session_id, one.tool)
                and self.status[other.id] == "pending"
            ]
        for other in names:
            self.model_close(other, FINAL[made.verdict])
            self.made[other] = made
        if made.verdict == "reject_run":
            self.model_end(one.run_id, "rejected")
        return None

    # --- the events ---

    def take(self, step):
        self.ledger = step.ledger
        self.audit += step.audit

    @rule(
        number=st.integers(1, 12),
        run=st.sampled_from(["r1", "r2", "r3"]),
        tool=st.sampled_from(["t", "u"]),
        expires=st.integers(1, 40),
    )
    def ask(self, number, run, tool, expires):
        session = {"r1": "s1", "r2": "s1", "r3": "s2"}[run]
        one = question(
            number, run=run, session=session, tool=tool, at=self.now, expires=self.now + expires
        )
        one = self.questions.get(one.id, one)
        step = ask(self.ledger, one, limits=LIMITS)
        self.take(step)
        if one.run_id in self.over:
            assert step.refused == "run_over"
            return
        assert step.refused is None
        if one.id not in self.questions:
            self.questions[one.id] = one
            self.status[one.id] = "pending"
            made = self.lasting.get((one.session_id, one.tool))
            if made is not None:
                self.model_close(one.id, FINAL[made.verdict])
                self.made[one.id] = made
        assert step.approval.status == self.status[one.id]

    @rule(
        number=st.integers(0, 12),
        verdict=st.sampled_from(VERDICTS),
        who=st.sampled_from(["ann", "bob"]),
        edited=st.booleans(),
    )
    def decide(self, number, verdict, who, edited):
        args = {"n": 0} if edited and verdict == "approve" else None
        made = Made(verdict=verdict, who=who, args=args)
        step = decide(self.ledger, f"a{number}", made, now_ms=self.now)
        self.take(step)
        assert step.ignored == self.model_decide(f"a{number}", made)
        repeated = decide(self.ledger, f"a{number}", made, now_ms=self.now)
        assert repeated.ledger is self.ledger
        assert repeated.ignored is not None
        assert repeated.audit == ()

    @rule(ms=st.integers(0, 30))
    def wait(self, ms):
        self.now += ms

    @rule()
    def expire(self):
        self.take(expire(self.ledger, now_ms=self.now))
        self.model_expire()

    @rule(run=st.sampled_from(["r1", "r2", "r3"]), status=st.sampled_from(["over", "rejected"]))
    def end(self, run, status):
        self.take(end_run(self.ledger, run, status, now_ms=self.now))
        self.model_end(run, status)

    @precondition(lambda self: self.questions)
    @rule()
    def crash(self):
        self.ledger = stored(self.ledger)

    # --- what always holds ---

    @invariant()
    def it_is_as_the_model_says(self):
        assert statuses(self.ledger) == self.status
        assert dict(self.ledger.runs) == self.over
        assert {
            name: one.made for name, one in self.ledger.approvals.items() if one.made
        } == self.made

    @invariant()
    def what_is_decided_stays(self):
        for name, one in self.frozen.items():
            assert self.ledger.approvals[name] == one
        self.frozen = {
            name: one for name, one in self.ledger.approvals.items() if one.status != "pending"
        }

    @invariant()
    def a_run_that_is_over_waits_for_nothing(self):
        assert all(one.run_id not in self.over for one in self.ledger.pending())

    @invariant()
    def the_audit_tells_all_of_it_once(self):
        told = [(entry.approval_id, entry.event) for entry in self.audit]
        expected = [(name, "pending") for name in self.status]
        expected += [(name, status) for name, status in self.status.items() if status != "pending"]
        assert sorted(told) == sorted(expected)


ApprovalMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
test_approvals_are_as_the_model_says = ApprovalMachine.TestCase


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_decision(verdict):
    """It is kept with who made it and when."""
    made = Made(verdict=verdict, who="ann", reason="because")
    step = decide(asked(question()), "a1", made, now_ms=7)
    assert (step.ignored, step.approval.status) == (None, FINAL[verdict])
    assert (step.approval.made, step.approval.decided_ms) == (made, 7)
    (entry,) = step.audit
    assert (entry.at_ms, entry.event, entry.who, entry.reason) == (
        7,
        FINAL[verdict],
        "ann",
        "because",
    )
    assert (entry.args_sha256, entry.tool) == (question().args_sha256, "t")


def test_a_decision_at_the_last_moment():
    """The millisecond before the expiry counts, the expiry itself is too late."""
    made = Made(verdict="approve", who="ann")
    assert decide(asked(question()), "a1", made, now_ms=99).approval.status == "approved"
    late = decide(asked(question()), "a1", made, now_ms=100)
    assert (late.ignored, late.approval.status) == ("expired", "expired")
    assert late.ledger.run_status("r1") == "expired"
    assert [entry.event for entry in late.audit] == ["expired"]


def test_a_decision_of_another_is_no_decision():
    """The first one stays; the second is told so."""
    ledger = decide(asked(question()), "a1", Made(verdict="reject", who="ann"), now_ms=1).ledger
    for made, ignored in [
        (Made(verdict="approve", who="ann"), "decided"),
        (Made(verdict="reject", who="bob"), "decided"),
        (Made(verdict="reject", who="ann"), "same"),
    ]:
        step = decide(ledger, "a1", made, now_ms=2)
        assert (step.ignored, step.ledger) == (ignored, ledger)


def test_an_unknown_question():
    """Nothing happens."""
    step = decide(Ledger(), "a9", Made(verdict="approve", who="ann"), now_ms=1)
    assert (step.ignored, step.approval, step.ledger) == ("unknown", None, Ledger())


def test_questions_are_decided_in_any_order():
    """Parallel calls wait side by side."""
    ledger = asked(*(question(number) for number in (1, 2, 3)))
    for number, verdict in [(3, "approve"), (1, "reject"), (2, "approve")]:
        made = Made(verdict=verdict, who="ann")
        ledger = decide(ledger, f"a{number}", made, now_ms=1).ledger
    assert statuses(ledger) == {"a1": "rejected", "a2": "approved", "a3": "approved"}
    assert ledger.run_status("r1") == "active"


def test_a_lasting_decision_holds_for_the_session():
    """For open questions, for later ones, and not for another tool or session."""
    ledger = asked(
        question(1),
        question(2, run="r2"),
        question(3, tool="u"),
        question(4, run="r3", session="other"),
    )
    step = decide(ledger, "a1", Made(verdict="always", who="ann"), now_ms=1)
    assert [entry.approval_id for entry in step.audit] == ["a1", "a2"]
    later = ask(step.ledger, question(5, at=2), limits=LIMITS)
    assert later.approval.status == "approved"
    assert [entry.event for entry in later.audit] == ["pending", "approved"]
    assert statuses(later.ledger) == {
        "a1": "approved",
        "a2": "approved",
        "a3": "pending",
        "a4": "pending",
        "a5": "approved",
    }


def test_rejecting_a_run_ends_it():
    """Its other questions are cancelled, and it gets no further call."""
    ledger = asked(question(1), question(2), question(3, run="r2"))
    step = decide(ledger, "a1", Made(verdict="reject_run", who="ann"), now_ms=1)
    assert statuses(step.ledger) == {"a1": "rejected", "a2": "cancelled", "a3": "pending"}
    assert ask(step.ledger, question(4), limits=LIMITS).refused == "run_over"
    again = ask(step.ledger, question(1), limits=LIMITS)
    assert (again.refused, again.approval.status) == ("run_over", "rejected")
    late = decide(step.ledger, "a2", Made(verdict="approve", who="ann"), now_ms=2)
    assert late.ignored == "run_over"


def test_asking_twice_is_asking_once():
    """After a crash a call is asked about again; the answer is still there."""
    ledger = asked(question())
    step = ask(ledger, question(at=50, expires=500), limits=LIMITS)
    assert (step.ledger, step.audit, step.approval.expires_ms) == (ledger, (), 100)


def test_so_many_questions_may_be_open():
    """One more is refused, and a decision makes room."""
    limits = LIMITS.replace({"scripts": {"approval_count_max": 2}})
    ledger = asked(question(1), question(2))
    assert ask(ledger, question(3), limits=limits).refused == "full"
    ledger = decide(ledger, "a1", Made(verdict="approve", who="ann"), now_ms=1).ledger
    assert ask(ledger, question(3), limits=limits).refused is None


def test_the_first_end_of_a_run_stays():
    """A run that was rejected is not over in another way."""
    ledger = end_run(Ledger(), "r1", "rejected", now_ms=1).ledger
    assert end_run(ledger, "r1", "over", now_ms=2).ledger.run_status("r1") == "rejected"
    with pytest.raises(ValueError, match="does not become active again"):
        end_run(ledger, "r1", "active", now_ms=2)


def test_arguments_are_changed_by_approving_them():
    """No other decision has arguments."""
    made = Made(verdict="approve", who="ann", args={"n": 2})
    assert decide(asked(question()), "a1", made, now_ms=1).approval.made.args == {"n": 2}
    with pytest.raises(ValueError, match="by approving them"):
        decide(asked(question()), "a1", Made(verdict="always", who="a", args={}), now_ms=1)


def test_what_waits_is_listed_by_age():
    """The oldest first, of one run or of all."""
    ledger = asked(question(2, at=5), question(1, at=9), question(3, run="r2", at=1))
    assert [one.id for one in ledger.pending()] == ["a3", "a2", "a1"]
    assert [one.id for one in ledger.pending("r1")] == ["a2", "a1"]


def test_a_verdict_that_there_is_not():
    """It is refused where it is made, before anybody decides by it."""
    with pytest.raises(ValueError, match="'yes' is no verdict; it is one of approve, "):
        Made(verdict="yes", who="ann")
