"""Calls that nobody waits for when a script is over, and errors that nobody handles."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

import pytest
from tests.script.cases import LONG_GRACE, TELL, until

from cloche.limits import Limits
from cloche.script.harness import ScriptHarness
from cloche.script.tools import ToolContext, tool

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
        "[1].forEach(async () => { await tools.deaf({}); });",
        "(async () => { await tools.deaf({}); })();",
        "tools.deaf({});",
        "tools.deaf({}).then(() => tools.slow({ ms: 1 }));",
    ],
)
def test_calls_that_only_something_unawaited_awaits(source):
    """They are stopped, named if they do not stop, and nothing goes on behind them."""
    begun, over = threading.Event(), threading.Event()

    @tool(read_only=True)
    async def deaf() -> int:
        """Go on when asked to stop."""
        begun.set()
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return 0

    harness = calling(deaf, on_progress=until(begun))
    try:
        result = harness.run(f"{source} {TELL['javascript']} return 1", language="javascript")
    finally:
        over.set()
    assert result.error["code"] == "SCRIPT_DETACHED_PROMISE"
    assert result.error["fields"]["calls"] == ["deaf"]
    assert [call.tool for call in result.tool_calls] == ["deaf"]


def test_a_quick_call_at_the_end_is_told_as_it_was():
    """What had happened before it could be stopped is no cancelled call."""
    begun = threading.Event()

    @tool(read_only=True)
    def quick(call: ToolContext) -> int:
        """Return when asked to stop: then it is too late for that."""
        begun.set()
        while not call.cancelled():
            time.sleep(0.001)
        return 0

    harness = calling(quick, on_progress=until(begun), scripts=LONG_GRACE)
    result = harness.run(
        f"[1].forEach(async () => {{ await tools.quick({{}}); }}); {TELL['javascript']} return 'x'"
    )
    assert (result.value, [call.status for call in result.tool_calls]) == ("x", ["completed"])


@pytest.mark.parametrize("end", ["return 1", "await tools.slow({ ms: 1 }); return 1"])
def test_an_error_that_nobody_handles(end):
    """Ends the script wherever it is, as it ends every program."""
    source = f"(async () => {{ throw new TypeError('lost') }})(); {end}"
    result = calling().run(source, language="javascript")
    assert result.status == "failed"
    assert result.error["message"] == "the script failed at line 1: TypeError: lost"


def calling(*tools, scripts=None, **options):
    """Return a harness with these tools, and one that stops when asked to."""

    @tool(read_only=True)
    async def slow(ms: int) -> int:
        """Wait."""
        await asyncio.sleep(ms / 1000)
        return ms

    limits = LIMITS.replace({"scripts": scripts or {}})
    return ScriptHarness(slow, *tools, limits=limits, **options)
