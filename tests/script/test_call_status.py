"""What is said of the calls of a run that is over: none of them is under way any more."""

from __future__ import annotations

import asyncio

import pytest
from tests.clock import stop_clock
from tests.script.cases import LONG_GRACE

from cloche.limits import Limits
from cloche.script.approvals import Made
from cloche.script.harness import ScriptHarness
from cloche.script.tools import tool

BOTH = pytest.mark.parametrize("language", ["typescript", "python"])
PARALLEL = {
    "typescript": "return Promise.all([tools.send({ n: 1 }), tools.send({ n: 2 })])",
    "python": "import asyncio\nawait asyncio.gather(tools.send(n=1), tools.send(n=2))",
}

RACE = """
import asyncio
calls = [tools.slow(), tools.fast()]
done, left = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
left.pop().cancel()
done.pop().result()
"""


@tool(read_only=True)
async def slow() -> None:
    """Take longer than any test."""
    await asyncio.sleep(60)


@tool(read_only=True)
def fast() -> int:
    """Answer at once."""
    return 1


@tool
def send(n: int) -> int:
    """Send."""
    return n


def harness():
    """Return a harness with these tools."""
    return ScriptHarness(slow, fast, send, limits=Limits().replace({"scripts": LONG_GRACE}))


def told(result):
    """Return what a result says of its calls: tool, status and code."""
    return [
        (call.tool, call.status, None if call.error is None else call.error["code"])
        for call in result.tool_calls
    ]


@pytest.mark.parametrize(
    ("language", "source", "status"),
    [
        ("typescript", "return Promise.race([tools.slow(), tools.fast()])", "completed"),
        (
            "python",
            RACE,
            "completed",
        ),
        ("typescript", "tools.slow(); return tools.fast()", "completed"),
        ("typescript", "tools.slow(); await tools.fast(); throw new Error('x')", "failed"),
        ("python", "call = tools.slow()\nawait tools.fast()\n1 / 0", "failed"),
    ],
)
def test_what_nobody_waits_for_any_more_is_cancelled(language, source, status):
    """The loser of a race, and whatever was under way at the end; a replay says the same."""
    using = harness()
    result = using.run(source, language=language)
    assert result.status == status
    assert told(result) == [("slow", "cancelled", "SCRIPT_CANCELLED"), ("fast", "completed", None)]
    assert told(using.result(result.run_id)) == told(result)
    assert told(using.replay(result.run_id)) == told(result)


@BOTH
def test_the_time_of_a_run_cancels_its_calls(language, monkeypatch):
    """The error names what was unfinished, the record says what became of it."""
    clock = stop_clock(monkeypatch)

    @tool(read_only=True)
    async def slow() -> None:
        """Let time pass once it is called."""
        clock.start()
        await asyncio.sleep(60)

    source = {"typescript": "return tools.slow()", "python": "await tools.slow()"}[language]
    result = ScriptHarness(slow).run(source, language=language, limits={"timeout_ms": 300})
    assert (result.error["code"], result.error["fields"]["pending"]) == (
        "SCRIPT_TIMEOUT",
        ["slow"],
    )
    assert told(result) == [("slow", "cancelled", "SCRIPT_CANCELLED")]


@BOTH
def test_calls_of_a_run_that_a_person_ends(language):
    """None of them is made: neither the one that was decided about, nor the other one."""
    using = harness()
    parked = using.run(PARALLEL[language], language=language)
    assert told(parked) == [("send", "pending", None)] * 2
    second = next(one for one in using.pending if one.shown == {"n": 2})
    using.decide(second.id, Made(verdict="reject_run", who="ann"))
    result = using.resume(parked.run_id)
    assert (result.status, told(result)) == (
        "rejected",
        [("send", "cancelled", "SCRIPT_CANCELLED")] * 2,
    )
    assert using.result(parked.run_id) == result


@BOTH
@pytest.mark.parametrize("end", ["cancel", "rollback"])
def test_calls_of_a_run_that_is_given_up(language, end):
    """What it waited for is not asked any more."""
    using = harness()
    parked = using.run(PARALLEL[language], language=language)
    result = getattr(using, end)(parked.run_id)
    assert (result.status, told(result)) == (
        "cancelled",
        [("send", "cancelled", "SCRIPT_CANCELLED")] * 2,
    )
    assert using.pending == ()
