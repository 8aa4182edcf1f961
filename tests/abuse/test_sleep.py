"""Attack: sleeping for a year, to keep a place that others wait for."""

from __future__ import annotations

import pytest

from abuse.support import completes, fails

YEAR_S = 365 * 86_400

PYTHON = {
    "time.sleep": f"import time\ntime.sleep({YEAR_S})",
    "asyncio.run": f"import asyncio\nasyncio.run(asyncio.sleep({YEAR_S}))",
    "await": f"import asyncio\nawait asyncio.sleep({YEAR_S})",
    "a timeout": (
        f"import asyncio\ntry: await asyncio.wait_for(asyncio.Future(), {YEAR_S})\n"
        "except TimeoutError: pass"
    ),
    "an event": f"import threading\nthreading.Event().wait({YEAR_S})",
    "a selector": f"import select\nselect.select([], [], [], {YEAR_S})",
}

JAVASCRIPT = {
    "setTimeout": (
        "for (let i = 0; i < 15; i++) await new Promise((r) => setTimeout(r, 2 ** 31 - 1))"
    ),
    "timers/promises": (
        "const { setTimeout: sleep } = require('timers/promises');\n"
        "for (let i = 0; i < 15; i++) await sleep(2 ** 31 - 1)"
    ),
    "an interval": (
        "let n = 0;\n"
        "await new Promise((r) => setInterval(() => { if (++n > 14) r() }, 2 ** 31 - 1));"
    ),
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_sleeps_in_virtual_time(code):
    """It returns inside a time limit of a minute, and a year has passed."""
    code = f"import time\nbefore = time.time()\n{code}\nprint((time.time() - before) // {YEAR_S})"
    assert completes(code, "python") == "1.0\n"


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_sleeps_in_virtual_time(code):
    """It returns inside a time limit of a minute, and a year has passed."""
    code = f"""
const before = Date.now();
{code};
console.log(Math.floor((Date.now() - before) / 1000 / {YEAR_S}));
process.exit();
"""
    assert completes(code, "javascript") == "1\n"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("OverflowError", "import time\ntime.sleep(1e300)"),
        ("ValueError", "import time\ntime.sleep(float('nan'))"),
        ("ValueError", "import time\ntime.sleep(-1)"),
    ],
)
def test_python_refuses_times_that_are_none(name, code):
    """What the clock cannot hold is an error of the program."""
    fails(name, code, "python")


def test_the_clock_stops_at_its_end():
    """Sleeping past what 64 bits of nanoseconds hold neither wraps around nor fails in the host."""
    code = """
import time
for _ in range(50): time.sleep(9 * 10**9)
print(time.time_ns() <= 2**63 - 1, time.time_ns() > 9 * 10**18)
"""
    assert completes(code, "python") == "True True\n"
