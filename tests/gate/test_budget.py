"""Tests of the budget: what is charged, what is refused, and whether a retry helps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.gate.budget import Budget, Ceilings, ceilings_of
from cloche.gate.errors import BudgetConcurrencyError, BudgetExhaustedError
from cloche.gate.policy import Policy
from gate.support import make_limits


def make_budget(**changes):
    """Return an unused budget with small ceilings."""
    fields = {
        "calls_max": 3,
        "concurrency_max": 2,
        "bytes_out_max": 100,
        "bytes_in_max": 100,
        "calls_max_by_kind": {"http": 1},
    }
    return Budget(ceilings=Ceilings(**{**fields, **changes}))


def test_charging_makes_a_new_budget():
    """A charge leaves the old budget as it was."""
    before = make_budget()
    after = before.charge("tool", 10)
    assert before == make_budget()
    assert (after.calls, after.concurrency, after.bytes_out) == (1, 1, 10)
    assert after.calls_by_kind == {"tool": 1}


def test_settling_frees_concurrency_only():
    """A completed effect gives its place back, not its call."""
    budget = make_budget().charge("tool", 1).settle(7)
    assert (budget.calls, budget.concurrency, budget.bytes_in) == (1, 0, 7)


@pytest.mark.parametrize(
    ("budget", "kind", "bytes_out", "message"),
    [
        (
            make_budget(calls_max=0),
            "tool",
            1,
            "budget gate.effect_count_max is used up: 0 of 0. Raise it, or ask for less",
        ),
        (
            make_budget(calls_max_by_kind={"http": 0}),
            "http",
            1,
            "budget policy http.calls_max is used up: 0 of 0. Raise it, or ask for less",
        ),
        (
            make_budget(),
            "tool",
            101,
            (
                "budget gate.journal_limit_bytes (sent) is used up: 101 of 100. "
                "Raise it, or ask for less"
            ),
        ),
        (
            make_budget().charge("tool", 1).settle(100),
            "tool",
            1,
            (
                "budget gate.journal_limit_bytes (received) is used up: 100 of 100. "
                "Raise it, or ask for less"
            ),
        ),
    ],
)
def test_exhausted(budget, kind, bytes_out, message):
    """A used-up budget refuses, and a retry does not help."""
    refusal = budget.charge(kind, bytes_out)
    assert isinstance(refusal, BudgetExhaustedError)
    assert (refusal.message, refusal.retryable) == (message, False)


def test_concurrency_can_be_retried():
    """One effect too many at a time is refused; it passes when another is complete."""
    full = make_budget().charge("tool", 1).charge("tool", 1)
    refusal = full.charge("tool", 1)
    assert isinstance(refusal, BudgetConcurrencyError)
    assert refusal.retryable
    assert isinstance(full.settle(1).charge("tool", 1), Budget)


def test_exhaustion_is_told_before_concurrency():
    """Who has nothing left is not told to wait."""
    full = make_budget(calls_max=2).charge("tool", 1).charge("tool", 1)
    assert isinstance(full.charge("tool", 1), BudgetExhaustedError)


@given(st.lists(st.tuples(st.sampled_from(["tool", "http", "done"]), st.integers(0, 60))))
def test_never_over_a_ceiling(steps):
    """Whatever is tried, no counter but the received bytes goes over its ceiling."""
    budget = make_budget()
    for kind, size_bytes in steps:
        if kind == "done":
            budget = budget.settle(size_bytes) if budget.concurrency else budget
        else:
            charged = budget.charge(kind, size_bytes)
            budget = charged if isinstance(charged, Budget) else budget
        assert budget.calls <= 3
        assert 0 <= budget.concurrency <= 2
        assert budget.bytes_out <= 100
        assert budget.calls_by_kind.get("http", 0) <= 1
        assert budget.bytes_in < 100 + 2 * 60
        assert sum(budget.calls_by_kind.values()) == budget.calls


def test_ceilings_come_from_limits_and_policy():
    """The run's limits and the policy's ceilings per kind make the ceilings."""
    limits = make_limits(effect_count_max=5, effect_concurrency_max=6, journal_limit_bytes=7000)
    policy = Policy.allow(tool=["a"]).and_calls_max(http=2)
    assert ceilings_of(limits, policy) == Ceilings(
        calls_max=5,
        concurrency_max=6,
        bytes_out_max=7000,
        bytes_in_max=7000,
        calls_max_by_kind={"http": 2},
    )


def test_the_last_byte_may_be_sent():
    """A budget of bytes can be used to its last byte."""
    full = make_budget().charge("tool", 60).charge("tool", 40)
    assert (full.bytes_out, full.ceilings.bytes_out_max) == (100, 100)
