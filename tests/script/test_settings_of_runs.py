"""Limits of a turn, a provider and everything; old runs that go; a harness that failed itself."""

from __future__ import annotations

import pytest
from tests.script.cases import add, block, chat, write

import cloche
from cloche.limits.adapters.settings import load_limits
from cloche.limits.errors import LimitError
from cloche.script.approvals import Made
from cloche.store.adapters.memory import MemoryStore

LEFT = "return context.sandbox.toolCallsLeft"
DAY_MS = 24 * 3600 * 1000


def test_turn_before_provider_before_everything():
    """Each of them changes what it names, and nothing else."""
    limits = load_limits({"scripts": {"call_count_max": 9}})
    harness = cloche.ScriptHarness(
        limits=limits, provider_limits={"small": {"call_count_max": 5, "timeout_ms": 1000}}
    )

    def handled(source, **options):
        history = harness.handle(chat(block(source)), api="openai.chat", **options)
        return history.results[0].value

    both = "return [context.sandbox.toolCallsLeft, context.sandbox.timeoutMs]"
    assert handled(both) == [9, 30_000]
    assert handled(both, provider="small") == [5, 1000]
    assert handled(both, provider="small", limits={"call_count_max": 2}) == [2, 1000]
    assert harness.run(LEFT, limits={"call_count_max": 3}).value == 3
    assert harness.run(LEFT).value == 9


def test_they_hold_for_the_run():
    """The budget, the time and the size of the source are those of the turn."""
    harness = cloche.ScriptHarness(add)
    call = "await tools.add({ a: 1, b: 1 });"
    spent = harness.run(call * 2, limits={"call_count_max": 1})
    assert spent.error["code"] == "TOOL_BUDGET_EXCEEDED"
    late = harness.run("for (;;);", limits={"timeout_ms": 50})
    assert (late.error["code"], late.error["fields"]["timeout_ms"]) == ("SCRIPT_TIMEOUT", 50)
    long = harness.run("return 12345", limits={"source_limit_bytes": 5})
    assert long.error["code"] == "SCRIPT_TOO_LARGE"


def test_a_run_that_goes_on_keeps_them():
    """They are in its row; another harness goes on with them."""
    store = MemoryStore(cloche.Limits())
    call = "await tools.write({ path: 'a', text: 'b' });"
    parked = cloche.ScriptHarness(write, store=store).run(call * 2, limits={"call_count_max": 1})
    again = cloche.ScriptHarness(
        write, store=store, approver=lambda _: Made(verdict="approve", who="ann")
    )
    result = again.resume(parked.run_id)
    assert result.error["code"] == "TOOL_BUDGET_EXCEEDED"
    assert result.error["fields"]["limit"] == 1


@pytest.mark.parametrize("limits", [{"timeout_ms": 0}, {"memory_limit_bytes": 1}, {"no": 1}])
def test_limits_have_their_range(limits):
    """Nothing runs with others, whoever sets them."""
    harness = cloche.ScriptHarness()
    for failing in (
        lambda: harness.run("return 1", limits=limits),
        lambda: harness.handle(chat(block("return 1")), api="openai.chat", limits=limits),
        lambda: cloche.ScriptHarness(provider_limits={"any": limits}),
    ):
        with pytest.raises(LimitError):
            failing()


def pruned(*, ages_ms, **limits):
    """Return which runs of these ages are left, the newest first."""
    now_ms = [1_800_000_000_000]
    harness = cloche.ScriptHarness(
        write,
        limits=load_limits({"scripts": limits}),
        store=MemoryStore(cloche.Limits()),
        clock_ms=lambda: now_ms[0],
    )
    base_ms = now_ms[0]
    ids = []
    for age_ms in ages_ms:
        now_ms[0] = base_ms - age_ms
        ids.append(harness.run("return 1").run_id)
    now_ms[0] = base_ms
    removed = harness.prune()
    left = [number for number, one in enumerate(ids) if harness.store.runs.get(one)]
    assert removed == len(ids) - len(left)
    return left


def test_finished_runs_are_kept_in_number_and_age():
    """The newest stay, as many as may; those that are too old go."""
    ages_ms = [40 * DAY_MS, 20 * DAY_MS, 10 * DAY_MS, 0]
    assert pruned(ages_ms=ages_ms) == [1, 2, 3]
    assert pruned(ages_ms=ages_ms, kept_run_count_max=2) == [2, 3]
    assert pruned(ages_ms=ages_ms, kept_run_ms=15 * DAY_MS) == [2, 3]
    assert pruned(ages_ms=ages_ms, kept_run_count_max=0) == []


def test_what_waits_is_not_pruned():
    """However old it is; and the audit stays."""
    now_ms = [1_000_000_000_000]
    limits = load_limits({"scripts": {"kept_run_count_max": 0, "approval_expires_ms": 30 * DAY_MS}})
    harness = cloche.ScriptHarness(write, limits=limits, clock_ms=lambda: now_ms[0])
    parked = harness.run("await tools.write({ path: 'a', text: 'b' }); return 1")
    now_ms[0] += 20 * DAY_MS
    assert harness.prune() == 0
    harness.decide(harness.pending[0].id, Made(verdict="approve", who="ann"))
    assert harness.resume(parked.run_id).value == 1
    assert harness.prune() == 1
    assert [one.event for one in harness.audit] == ["pending", "approved"]
