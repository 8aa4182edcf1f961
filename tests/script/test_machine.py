"""The whole of approvals against a simple model: runs, decisions, expiry, crashes, in any order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloche.limits import Limits
from cloche.script.approvals import Made
from cloche.script.harness import ScriptHarness
from cloche.script.tools import ToolContext, tool
from cloche.store.open import open_store

EXPIRES_MS = 1000
LIMITS = Limits().replace({"scripts": {"approval_expires_ms": EXPIRES_MS}})
VERDICTS = ["approve", "edit", "reject", "always", "never", "reject_run"]
ROWS = st.integers(0, 30)

ONE_BY_ONE = """
const out = [];
for (let n = 0; n < %d; n++) {
  try { out.push(await tools.act({ n })) } catch (e) { out.push(e.code) }
}
return out;
"""
SIDE_BY_SIDE = """
const all = [...Array(%d).keys()].map((n) => tools.act({ n }).catch((e) => e.code));
return Promise.all(all);
"""


class Killed(BaseException):
    """Stands for the end of a process in the middle of a call."""


class Model:
    """What one run should be: its answers, its questions, and what was done for it."""

    def __init__(self, count, parallel):
        self.count = count
        self.parallel = parallel
        self.answers = [None] * count
        self.questions = {}  # call -> [state, args, expires_ms]
        self.done = []
        self.state = "suspended"

    def open(self):
        """Return the calls that nobody has decided about."""
        return [n for n, question in self.questions.items() if question[0] == "pending"]

    def end(self, state):
        """End the run."""
        self.state = state
        for n in self.open():
            self.questions[n][0] = "cancelled"


class ApprovalsMachine(RuleBasedStateMachine):
    """Drives a harness, and a new one after each crash, over one store."""

    def __init__(self):
        super().__init__()
        self.store = open_store("memory:")
        self.now_ms = 1_000_000
        self.models = {}
        self.really_done = {}
        self.lasting = None
        self.kill_next = False
        self.decisions = 0
        self.crash()

    def tools(self):
        """Return the tool that is asked about; it can die."""

        @tool
        def act(n: int, call: ToolContext) -> str:
            """Do something."""
            if self.kill_next:
                self.kill_next = False
                raise Killed
            # By its key: what was in flight when the process died may be done again.
            self.really_done.setdefault(call.run_id, {})[call.idempotency_key] = n
            return f"did {n}"

        return act

    # --- the model ---

    def ask_all(self, model):
        """Ask, and answer, what can be asked and answered now."""
        if model.state != "suspended":
            return
        for n in range(model.count):
            if model.answers[n] is not None:
                continue
            if n not in model.questions:
                state, args = "pending", n
                if self.lasting is not None:
                    state = "approved" if self.lasting == "always" else "rejected"
                model.questions[n] = [state, args, self.now_ms + EXPIRES_MS]
            state, args, _ = model.questions[n]
            if state == "approved":
                model.done.append(args)
                model.answers[n] = f"did {args}"
            elif state == "rejected":
                model.answers[n] = "APPROVAL_DENIED"
            elif not model.parallel:
                return
        if None not in model.answers:
            model.end("completed")

    def expire_all(self):
        """Close what is over."""
        for model in self.models.values():
            late = [n for n in model.open() if self.now_ms >= model.questions[n][2]]
            for n in late:
                # The first of them ends the run, which cancels the others: which one is first is
                # of no account.
                model.questions[n][0] = "late"
            if late:
                model.end("rejected")

    def model_decide(self, run_id, n, verdict):
        """Return why a decision may change nothing, None if it does; and change the model."""
        self.expire_all()
        model = self.models[run_id]
        state = model.questions[n][0]
        if state != "pending":
            some = {"late": {"expired", "run_over"}, "cancelled": {"run_over"}}
            return some.get(state, {"decided"})
        if verdict in {"always", "never"}:
            self.lasting = verdict
            for other in self.models.values():
                for number in other.open():
                    other.questions[number][0] = "approved" if verdict == "always" else "rejected"
        elif verdict == "reject_run":
            model.questions[n][0] = "rejected"
            model.end("rejected")
        else:
            model.questions[n][0] = "rejected" if verdict == "reject" else "approved"
            if verdict == "edit":
                model.questions[n][1] = n + 100
        return {None}

    # --- what happens ---

    @rule(count=st.integers(1, 3), parallel=st.booleans())
    @precondition(lambda self: len(self.models) < 4)
    def start(self, count, parallel):
        """A script runs until it waits, or to its end when all is decided for ever."""
        result = self.harness.run((SIDE_BY_SIDE if parallel else ONE_BY_ONE) % count)
        model = self.models[result.run_id] = Model(count, parallel)
        self.ask_all(model)
        self.check(result, model)

    @rule(row=ROWS, verdict=st.sampled_from(VERDICTS), again=st.booleans())
    @precondition(lambda self: self.models)
    def decide(self, row, verdict, again):
        """Somebody decides, in time or late, for the first time or not, perhaps twice."""
        known = sorted(self.store.state.approvals.values(), key=lambda one: one.id)
        if not known:
            return
        one = known[row % len(known)]
        n = self.number_of(one)
        args = {"n": n + 100} if verdict == "edit" else None
        self.decisions += 1
        made = Made(
            verdict="approve" if verdict == "edit" else verdict,
            who=f"person {self.decisions}",
            args=args,
        )
        expected = self.model_decide(one.run_id, n, verdict)
        answer = self.harness.decide(one.id, made)
        assert answer.ignored in expected
        assert answer.changed is (answer.ignored is None)
        if again:
            repeated = self.harness.decide(one.id, made).ignored
            assert repeated == ("same" if answer.changed else answer.ignored)

    @rule()
    def decide_about_nothing(self):
        """An unknown question."""
        made = Made(verdict="approve", who="ann")
        self.expire_all()
        assert self.harness.decide("f" * 64, made).ignored == "unknown"

    @rule(row=ROWS)
    @precondition(lambda self: self.models)
    def resume(self, row):
        """Somebody goes on with a run, whatever became of it."""
        run_id = sorted(self.models)[row % len(self.models)]
        model = self.models[run_id]
        self.expire_all()
        self.ask_all(model)
        self.check(self.harness.resume(run_id), model)

    @rule(row=ROWS)
    @precondition(lambda self: self.models)
    def die_in_a_call(self, row):
        """The process ends in the middle of the next call, if there is one; another one goes on."""
        run_id = sorted(self.models)[row % len(self.models)]
        model = self.models[run_id]
        self.expire_all()
        self.kill_next = True
        try:
            result = self.harness.resume(run_id)
        except Killed:
            self.crash()
            result = self.harness.resume(run_id)
        self.kill_next = False
        self.ask_all(model)
        self.check(result, model)

    @rule()
    def crash(self):
        """The process ends; another one opens the store."""
        self.harness = ScriptHarness(
            self.tools(),
            store=self.store,
            session_id="s",
            limits=LIMITS,
            clock_ms=lambda: self.now_ms,
        )

    @rule(passed_ms=st.sampled_from([1, 300, EXPIRES_MS]))
    def wait(self, passed_ms):
        """Time passes."""
        self.now_ms += passed_ms

    # --- what must hold ---

    def number_of(self, row):
        """Return which call of its run a question is about."""
        import json

        return json.loads(row.document)["shown"]["n"]

    def check(self, result, model):
        """Compare a result with the model."""
        assert result.status == model.state
        if model.state == "completed":
            assert result.value == model.answers
        if model.state == "rejected":
            assert result.error["code"] in {"APPROVAL_TIMEOUT", "SCRIPT_CANCELLED"}

    @invariant()
    def what_was_done_was_approved_and_done_once(self):
        """No call happens without a yes, none twice, none after the end."""
        for run_id, model in self.models.items():
            assert sorted(self.really_done.get(run_id, {}).values()) == sorted(model.done)

    @invariant()
    def the_inbox_has_what_is_open(self):
        """Every open question, and no other."""
        self.expire_all()
        self.harness._runs.desk.expire()
        found = sorted((one.run_id, one.shown["n"]) for one in self.harness.pending)
        assert found == sorted(
            (run_id, n) for run_id, model in self.models.items() for n in model.open()
        )

    @invariant()
    def the_audit_is_whole(self):
        """Its chain holds, and it has each question once."""
        entries = self.harness.audit
        asked = [entry.approval_id for entry in entries if entry.event == "pending"]
        assert len(asked) == len(set(asked)) == len(self.store.state.approvals)


TestApprovals = ApprovalsMachine.TestCase
TestApprovals.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestApprovals = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")(
    TestApprovals
)
