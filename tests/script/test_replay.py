"""Tests of repeating runs: a replay is the run again, whatever raced, slept or failed in it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.gate.errors import DivergenceError
from cloche.limits import Limits
from cloche.script.approvals import Made
from cloche.script.errors import ScriptRunStateError, ScriptRunUnknownError
from cloche.script.harness import ScriptHarness
from cloche.script.tools import tool
from cloche.store.adapters.memory import MemoryStore

LIMITS = Limits()
BOTH = pytest.mark.parametrize("language", ["typescript", "python"])
APPROVE = Made(verdict="approve", who="ann")
CALLED = []


@tool(read_only=True)
async def slow(n: int) -> int:
    """Take as many ms as the number says."""
    CALLED.append(n)
    import asyncio

    await asyncio.sleep(n / 1000)
    return n


@tool(read_only=True)
def fail(n: int) -> int:
    """Fail."""
    CALLED.append(n)
    raise OSError(f"no {n}")


@tool
def ask(n: int) -> int:
    """Do something that people are asked about."""
    CALLED.append(n)
    return n


def new_harness(**options):
    """Return a harness with these tools."""
    limits = LIMITS.replace({"scripts": {"call_count_max": 100}})
    return ScriptHarness(slow, fail, ask, limits=limits, **options)


# A step of a script: what it does, with what.
LEAVES = st.one_of(
    st.tuples(st.sampled_from(["slow", "fail", "ask", "timer"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(["clock", "random"]), st.just(0)),
)
STEPS = st.lists(
    st.one_of(
        LEAVES,
        st.tuples(
            st.sampled_from(["all", "race", "any"]), st.lists(LEAVES, min_size=2, max_size=3)
        ),
    ),
    min_size=1,
    max_size=4,
)


def javascript(step):
    """Return a step as an expression that gives a promise."""
    kind, given = step
    if kind in {"all", "race", "any"}:
        inner = ", ".join(map(javascript, given))
        name = "allSettled" if kind == "all" else kind
        return f"Promise.{name}([{inner}]).catch((e) => 'lost ' + (e.code ?? e.name))"
    return {
        "slow": f"tools.slow({{ n: {given} }})",
        "fail": f"tools.fail({{ n: {given} }})",
        "ask": f"tools.ask({{ n: {given} }})",
        "timer": f"new Promise((done) => setTimeout(() => done('t{given}'), {given}))",
        "clock": "Promise.resolve(Date.now())",
        "random": "Promise.resolve(Math.random())",
    }[kind]


def python(step):
    """Return a step as an awaitable expression."""
    kind, given = step
    if kind in {"all", "race", "any"}:
        return f"{kind}_of({', '.join(map(python, given))})"
    return {
        "slow": f"call(tools.slow, {given})",
        "fail": f"call(tools.fail, {given})",
        "ask": f"call(tools.ask, {given})",
        "timer": f"asyncio.sleep(0.00{given}, 't{given}')",
        "clock": "now()",
        "random": "rnd()",
    }[kind]


PYTHON_START = """
import asyncio, random, time
async def call(tool, n): return await tool(n=n)
async def now(): return time.time()
async def rnd(): return random.random()
async def all_of(*them):
    found = await asyncio.gather(*them, return_exceptions=True)
    return [str(one) for one in found]
async def race_of(*them):
    tasks = [asyncio.ensure_future(one) for one in them]
    done, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in late: task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return [str(task.exception() or task.result()) for task in tasks if task in done]
any_of = race_of
out = []
"""


def script(steps, language):
    """Return a script that takes these steps, one after the other, and tells what it got."""
    if language == "python":
        lines = [
            f"try: out.append(await {python(step)})\nexcept Exception as e: out.append(str(e))"
            for step in steps
        ]
        return PYTHON_START + "\n".join(lines) + "\nprint(out)\nout"
    lines = [
        f"try {{ out.push(await {javascript(step)}) }} catch (e) {{ out.push(e.message) }}"
        for step in steps
    ]
    return "const out = [];\n" + "\n".join(lines) + "\nconsole.log(out.length);\nreturn out;"


def ended(harness, source, language):
    """Return the result of a script whose questions are all answered with yes, in some order."""
    result = harness.run(source, language=language)
    while result.status == "suspended":
        pending = harness.pending
        harness.decide(pending[len(pending) // 2].id, APPROVE)
        result = harness.resume(result.run_id)
    return result


def told(result):
    """Return what of a result must be equal: all but how long things took."""
    calls = [(one.tool, one.args, one.status, one.value, one.error) for one in result.tool_calls]
    return (result.status, result.value, result.output, result.error, calls, result.journal_id)


HARNESSES = {}


@BOTH
@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(steps=STEPS)
def test_a_replay_is_the_run_again(language, steps):
    """Winners of races, clocks, random numbers, failures and output are those that were."""
    harness = HARNESSES.setdefault(language, new_harness())
    live = ended(harness, script(steps, language), language)
    assert live.status in {"completed", "failed"}
    assert told(harness.replay(live.run_id)) == told(live)


@BOTH
def test_the_same_one_wins_a_race(language):
    """Although nothing takes any time in a replay."""
    harness = new_harness()
    source = script([("race", [("slow", 60_000), ("slow", 1)])], language)
    live = ended(harness, source, language)
    assert "1" in str(live.value)
    del CALLED[:]
    assert told(harness.replay(live.run_id)) == told(live)
    assert CALLED == []


DIFFERENT = [
    ("slow({ n: 1 })", "slow({ n: 2 })", "args differ"),
    ("slow({ n: 1 })", "fail({ n: 1 })", "target"),
    ("return", "await tools.slow({ n: 1 }); return", "effect"),
    ("const before", "// changed\nconst before", "another script, which did the same"),
]


@pytest.mark.parametrize(("old", "new", "reason"), DIFFERENT)
def test_another_script_diverges(old, new, reason):
    """Another tool, other arguments, another text: both sides are shown."""
    harness = new_harness()
    source = "const before = 1; return tools.slow({ n: 1 })"
    live = harness.run(source, language="javascript")
    with pytest.raises(DivergenceError) as raised:
        harness.replay(live.run_id, source=source.replace(old, new))
    assert reason in raised.value.fields["reason"]
    assert raised.value.fields["recorded"] != raised.value.fields["requested"]
    CALLED.clear()
    assert harness.replay(live.run_id, source=source).value == 1
    assert CALLED == [], "a replay calls nothing"


def test_another_python_script_diverges():
    """The same in Python."""
    harness = new_harness()
    live = harness.run("tools.slow(n=1)", language="python")
    with pytest.raises(DivergenceError) as raised:
        harness.replay(live.run_id, source="tools.slow(n=2)")
    assert raised.value.fields["recorded"]["args"] == {"n": 1}
    assert raised.value.fields["requested"]["args"] == {"n": 2}


@pytest.mark.parametrize(
    ("language", "source", "other"),
    [("typescript", "help", "return 1"), ("python", "1", "2"), ("python", "sys=1", "3")],
)
def test_a_script_that_is_a_word_of_the_program_around_it(language, source, other):
    """It is the script that is replaced, and not that word."""
    harness = new_harness()
    live = harness.run(source, language=language)
    assert live.status == "completed"
    with pytest.raises(DivergenceError) as raised:
        harness.replay(live.run_id, source=other)
    assert '"problem"' not in str(raised.value.fields["requested"])
    assert "value" in str(raised.value.fields["requested"])


def test_only_what_ended_is_replayed():
    """A run that waits has no end to come to."""
    harness = new_harness()
    parked = harness.run("return tools.ask({ n: 1 })")
    with pytest.raises(ScriptRunStateError, match="has not ended"):
        harness.replay(parked.run_id)
    with pytest.raises(ScriptRunUnknownError):
        harness.replay("unknown")


@BOTH
def test_a_fork_shares_the_first_calls(language):
    """What comes behind them happens anew, and is asked about anew."""
    harness = new_harness()
    source = {
        "typescript": "const a = await tools.slow({ n: 1 }); return [a, await tools.ask({ n: 7 })]",
        "python": "a = tools.slow(n=1)\n[a, tools.ask(n=7)]",
    }[language]
    live = ended(harness, source, language)
    CALLED.clear()
    fork = harness.fork(live.run_id, calls=1)
    assert (fork.status, CALLED) == ("suspended", [])
    harness.decide(harness.pending[0].id, Made(verdict="approve", who="bob", args={"n": 8}))
    result = harness.resume(fork.run_id)
    assert (result.value, CALLED) == ([1, 8], [8])
    assert harness.result(live.run_id).value == [1, 7]
    assert told(harness.replay(fork.run_id)) == told(result)
    with pytest.raises(ScriptRunStateError, match="made 2 calls"):
        harness.fork(live.run_id, calls=2)


def test_a_fork_begins_where_everything_is_answered():
    """Calls side by side cannot be shared in part."""
    harness = new_harness()
    live = harness.run("return Promise.all([1, 2].map((n) => tools.slow({ n })))")
    with pytest.raises(ScriptRunStateError, match="without answers where call 2 began"):
        harness.fork(live.run_id, calls=1)
    assert harness.fork(live.run_id, calls=0).value == [1, 2]


def test_a_fork_that_cannot_be():
    """Says how many calls can be shared."""
    harness = new_harness()
    live = harness.run("return await tools.slow({ n: 1 })")
    with pytest.raises(ScriptRunStateError) as refused:
        harness.fork(live.run_id, calls=3)
    assert str(refused.value) == (
        f"script run {live.run_id} made 1 calls, and 3 cannot be shared; a fork shares from 0 to 0 "
        "of them"
    )


def test_a_replay_without_the_tools():
    """Tells the calls as they were kept, since nobody knows which of their arguments are secret."""
    store = MemoryStore(LIMITS)
    live = new_harness(store=store).run("return await tools.slow({ n: 1 })")
    again = ScriptHarness(limits=LIMITS, store=store).replay(live.run_id)
    assert (again.value, again.tool_calls) == (1, live.tool_calls)
    assert again.usage["tool_calls"] == 1
