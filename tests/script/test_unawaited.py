"""Calls that nobody waits for when a script is over, and errors that nobody handles."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from cloche.limits import Limits
from cloche.script.harness import ScriptHarness
from cloche.script.tools import tool

LIMITS = Limits()


@pytest.mark.parametrize("name", ["race", "any"])
def test_a_loser_that_is_awaited_all_the_same(name):
    """Gets an error with a code, and does not wait for ever."""
    source = (
        "const late = tools.slow({ ms: 60_000 });"
        f"const first = await Promise.{name}([late, tools.slow({{ ms: 1 }})]);"
        "return [first, await late.catch((e) => e.code)]"
    )
    result = calling().run(source, language="javascript")
    assert result.value == [1, "SCRIPT_CANCELLED"]
    assert [call.status for call in result.tool_calls] == ["cancelled", "completed"]


@pytest.mark.parametrize(
    "source",
    [
        "[1].forEach(async () => { await tools.deaf({}); }); return 1",
        "(async () => { await tools.deaf({}); })(); return 1",
        "tools.deaf({}); return 1",
        "tools.deaf({}).then(() => tools.slow({ ms: 1 })); return 1",
    ],
)
def test_calls_that_only_something_unawaited_awaits(source):
    """They are stopped, named if they do not stop, and nothing goes on behind them."""
    result = calling().run(source, language="javascript")
    assert result.error["code"] == "SCRIPT_DETACHED_PROMISE"
    assert result.error["fields"]["calls"] == ["deaf"]
    assert [call.tool for call in result.tool_calls] == ["deaf"]


def test_a_quick_call_at_the_end_is_told_as_it_was():
    """What had happened before it could be stopped is no cancelled call."""
    result = calling().run("[1].forEach(async () => { await tools.quick({}); }); return 'x'")
    assert (result.value, [call.status for call in result.tool_calls]) == ("x", ["completed"])


@pytest.mark.parametrize("end", ["return 1", "await tools.slow({ ms: 1 }); return 1"])
def test_an_error_that_nobody_handles(end):
    """Ends the script wherever it is, as it ends every program."""
    source = f"(async () => {{ throw new TypeError('lost') }})(); {end}"
    result = calling().run(source, language="javascript")
    assert result.status == "failed"
    assert result.error["message"] == "the script failed at line 1: TypeError: lost"


def calling():
    """Return a harness with tools that stop, and one that does not listen."""

    @tool(read_only=True)
    async def slow(ms: int) -> int:
        """Wait."""
        await asyncio.sleep(ms / 1000)
        return ms

    @tool(read_only=True)
    async def deaf() -> int:
        """Go on when asked to stop."""
        until = time.monotonic() + 1
        while time.monotonic() < until:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return 0

    @tool(read_only=True)
    def quick() -> int:
        """Return at once."""
        return 0

    return ScriptHarness(slow, deaf, quick, limits=LIMITS)
