"""Attack: more timers than anyone could wait for."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes, exceeds, times_out

NEAR = {"limits": {"memory_limit_bytes": 128 << 20}}


def test_javascript_timers_have_a_number():
    """One more than allowed is refused, with an error that can be caught."""
    code = """
try { for (;;) setTimeout(() => {}, 1e9) } catch (e) { console.log(e.name) }
process.exit();
"""
    assert completes(code, "javascript", **NEAR) == "RangeError\n"


def test_python_timers_count_as_memory():
    """A timer is memory as any other object."""
    code = """
import asyncio
loop = asyncio.get_running_loop()
while True: loop.call_later(1e9, print)
await asyncio.sleep(0)
"""
    exceeds("memory", code, "python")


@pytest.mark.parametrize(
    "code",
    [
        "setInterval(() => {}, 0)",
        "setInterval(() => {}, -1)",
        "setInterval(() => {}, NaN)",
        "const t = setTimeout(() => t.refresh(), 1)",
        "const f = () => setTimeout(f, 2 ** 31 - 1); f()",
    ],
)
def test_javascript_timers_that_never_end(code):
    """Virtual time is free; the real time of a program that only waits is limited all the same."""
    times_out(code, "javascript")


def test_python_timers_that_never_end():
    """Virtual time is free; the real time of a program that only waits is limited all the same."""
    times_out("import time\nwhile True: time.sleep(10**6)", "python")
    times_out("import asyncio\nwhile True: await asyncio.sleep(10**6)", "python")


def test_cleared_timers_leave_nothing():
    """Setting and clearing is no way to fill the table."""
    code = (
        "for (let i = 0; i < 2e4; i++) clearTimeout(setTimeout(() => {}, 1e9)); console.log('end')"
    )
    assert completes(code, "javascript") == "end\n"


def test_timers_of_timers():
    """A hundred thousand that are due at once are run one by one, inside the limits."""
    code = "for (let i = 0; i < 5e4; i++) setTimeout(() => setTimeout(() => {}, 1), 1)"
    _, error = attack(code, "javascript", limits={"timeout_ms": 500, "memory_limit_bytes": 1 << 27})
    assert error is None or error.case == "timeout", error
