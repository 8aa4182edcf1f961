"""Attack: tasks and promises that make more of themselves."""

from __future__ import annotations

import pytest

from abuse.support import attack

PYTHON = {
    "gather": ("import asyncio\nasync def f(): await asyncio.gather(f(), f())\nasyncio.run(f())"),
    "create_task": (
        "import asyncio\nasync def main():\n"
        "    while True: asyncio.create_task(asyncio.sleep(1e9))\nasyncio.run(main())"
    ),
    "forking tasks": (
        "import asyncio\nkept = set()\nasync def f():\n    await asyncio.sleep(0)\n"
        "    for _ in range(2): kept.add(asyncio.create_task(f()))\n"
        "async def main():\n    await f()\n    while True: await asyncio.sleep(0)\n"
        "asyncio.run(main())"
    ),
    "call_later": (
        "import asyncio\nasync def main():\n    loop = asyncio.get_running_loop()\n"
        "    while True: loop.call_later(1e6, print)\nasyncio.run(main())"
    ),
    "futures": "import asyncio\nk = []\nwhile True: k.append(asyncio.Future())\nawait k[0]",
}

JAVASCRIPT = {
    "promises": "const k = []; for (;;) k.push(new Promise((r) => r()).then(() => {}))",
    "async functions": "const f = async () => { await Promise.all([f(), f()]) }; await f()",
    "async functions that wait": (
        "const f = async () => { await 0; await Promise.all([f(), f()]) }; await f()"
    ),
    "rejections": "for (;;) Promise.reject(1)",
    "thenables": "const t = { then(r) { r(t); r(t) } }; await t",
    "forking timers": "const f = () => { setTimeout(f, 1); setTimeout(f, 1) }; f()",
    "workers of one queue": "const f = () => { setImmediate(f); setImmediate(f) }; f()",
}

TIMEOUT_MS = 600


def assert_stopped(code, language):
    """Assert that time, memory, or the flood of complaints about lost tasks ended it."""
    _, error = attack(code, language, limits={"timeout_ms": TIMEOUT_MS})
    assert error is not None
    ended_by = error.fields.get("resource") or error.case
    assert ended_by in {"timeout", "memory", "output"}, error


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_is_stopped(code):
    """Whichever limit is nearer ends the storm."""
    assert_stopped(code, "python")


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_is_stopped(code):
    """Whichever limit is nearer ends the storm."""
    assert_stopped(code, "javascript")


def test_rejections_that_nobody_handles_are_told_once():
    """A hundred thousand of them are one error."""
    code = "for (let i = 0; i < 1e5; i++) Promise.reject(i)"
    result, error = attack(code, "javascript")
    assert error is not None
    assert error.case == "runtime-failed"
    assert result.run.stderr == "Uncaught 0\n"
