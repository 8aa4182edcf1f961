"""What a run may spend, and who may call now."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloche.egress.budget import NS_PER_MS, RunBudget, Slots
from cloche.egress.errors import NetBudgetError, NetLimitError
from cloche.limits import Limits

LIMITS = Limits()
MS = NS_PER_MS


def test_the_sixth_call_is_refused():
    """net.max_calls calls begin, the next does not, and a retry cannot help."""
    budget = RunBudget(LIMITS)
    for _ in range(5):
        budget.begin(0)
        budget.end(0)
    with pytest.raises(NetLimitError) as caught:
        budget.begin(0)
    assert caught.value.message == "this run made 5 calls; net.max_calls allows 5"
    assert not caught.value.retryable
    assert budget.calls == 5


@pytest.mark.parametrize(
    ("spent_ms", "timeout_ms", "allowed_ms"),
    [
        (0, None, 4000),
        (0, 100, 100),
        (0, 9000, 4000),
        (1000, None, 3000),
        (3900, None, 100),
        (3980, None, 20),
    ],
)
def test_the_deadline_of_a_call(spent_ms, timeout_ms, allowed_ms):
    """It is the least of the call's limit, what is asked for and what the run has left."""
    budget = RunBudget(LIMITS)
    budget.begin(0)
    budget.end(spent_ms * MS)
    assert budget.begin(10_000 * MS, timeout_ms=timeout_ms) == (10_000 + allowed_ms) * MS


def test_no_time_left():
    """With too little time left a call is refused before anything happens."""
    budget = RunBudget(LIMITS)
    budget.begin(0)
    budget.end(3981 * MS)
    with pytest.raises(NetBudgetError) as caught:
        budget.begin(5000 * MS)
    assert caught.value.reason == "time"
    assert budget.calls == 1


@pytest.mark.parametrize(
    ("left_ms", "timeout_ms", "allowed_ms"),
    [(10_000, None, 4000), (3000, None, 2500), (3000, 100, 100), (1000, None, 500)],
)
def test_a_call_leaves_its_run_some_time(left_ms, timeout_ms, allowed_ms):
    """It ends egress.run_reserve_ms before its run does, whatever else would be allowed."""
    budget = RunBudget(LIMITS, run_ends_ns=left_ms * MS)
    assert budget.begin(0, timeout_ms=timeout_ms) == allowed_ms * MS


@pytest.mark.parametrize("left_ms", [999, 500, 0, -5000])
def test_a_run_that_is_almost_over_calls_nobody(left_ms):
    """With less than egress.run_left_min_ms left a call is refused, and not counted."""
    budget = RunBudget(LIMITS, run_ends_ns=left_ms * MS)
    with pytest.raises(NetBudgetError) as caught:
        budget.begin(0)
    assert caught.value.reason == "time"
    assert caught.value.message == (
        f"insufficient time: the run ends in {max(0, left_ms)} ms, and a call needs "
        "egress.run_left_min_ms = 1000, of which egress.run_reserve_ms = 500 stay for the run"
    )
    assert budget.calls == 0


def test_time_of_calls_at_once_is_their_union():
    """Two calls of a second at the same time cost one second, waiting between calls nothing."""
    budget = RunBudget(LIMITS)
    budget.begin(0)
    budget.begin(0)
    assert budget.spent_ns(500 * MS) == 500 * MS
    budget.end(1000 * MS)
    budget.end(1000 * MS)
    assert budget.spent_ns(9000 * MS) == 1000 * MS


def test_bytes_of_a_run():
    """Bytes are counted over all calls; the one over the limit is an error, and so is the next."""
    budget = RunBudget(Limits().replace({"egress": {"run_bytes_max": 1024}}))
    budget.begin(0)
    budget.spend_bytes(1024)
    with pytest.raises(NetBudgetError, match="moved 1025 bytes"):
        budget.spend_bytes(1)
    with pytest.raises(NetBudgetError):
        budget.begin(0)


SLOTS = Limits().replace(
    {"net": {"app_concurrency": 2, "concurrency": 5}, "egress": {"waiting_count_max": 3}}
)


class SlotMachine(RuleBasedStateMachine):
    """Slots against a model: counts are exact and nobody waits who could call."""

    def __init__(self):
        super().__init__()
        self.slots = Slots(SLOTS)
        self.held = []
        self.waiting = []

    @rule(owner=st.sampled_from("abcd"))
    def ask(self, owner):
        def granted():
            self.waiting.remove((owner, granted))
            self.held.append(owner)

        try:
            if self.slots.ask(owner, granted):
                self.held.append(owner)
            else:
                self.waiting.append((owner, granted))
        except NetLimitError:
            assert len(self.waiting) == 3

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data):
        owner = data.draw(st.sampled_from(sorted(self.held)))
        self.held.remove(owner)
        self.slots.give_back(owner)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data):
        entry = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        assert self.slots.withdraw(entry[1])
        assert not self.slots.withdraw(entry[1])

    @invariant()
    def exact(self):
        assert self.slots.held == len(self.held) <= 5
        assert self.slots.waiting == len(self.waiting)
        for owner in "abcd":
            assert self.held.count(owner) <= 2
        for owner, _ in self.waiting:
            assert len(self.held) == 5 or self.held.count(owner) == 2


TestSlots = SlotMachine.TestCase


def test_refusals_say_which_limit():
    """The message names the limit of the app, or that of all."""
    slots = Slots(SLOTS)
    for owner in "aab":
        assert slots.ask(owner, lambda: None)
    assert "net.app_concurrency" in slots.refusal("a").message
    assert "net.concurrency" in slots.refusal("c").message
    assert slots.refusal("a").retryable


def test_no_waiting_at_all():
    """With a wait of 0 a call without a slot is refused at once."""
    slots = Slots(SLOTS.replace({"egress": {"slot_timeout_ms": 0}}))
    assert slots.ask("a", lambda: None)
    assert slots.ask("a", lambda: None)
    with pytest.raises(NetLimitError, match=r"net\.app_concurrency"):
        slots.ask("a", lambda: None)
    assert slots.waiting == 0
