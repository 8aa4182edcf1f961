"""Attack: a queue that is never empty, so that the loop never gets on."""

from __future__ import annotations

import pytest

from abuse.support import completes, fails, times_out

JAVASCRIPT = {
    "queueMicrotask": "const f = () => queueMicrotask(f); f()",
    "nextTick": "const f = () => process.nextTick(f); f()",
    "setImmediate": "const f = () => setImmediate(f); f()",
    "setInterval": "setInterval(() => {}, 1)",
    "awaits": "for (;;) await 0",
    "an unhandled rejection that makes another": (
        "const f = () => Promise.reject(1); process.on('unhandledRejection', f); f();"
    ),
}

PYTHON = {
    "call_soon": (
        "import asyncio\nasync def main():\n    loop = asyncio.get_running_loop()\n"
        "    def f(): loop.call_soon(f)\n    f(); await asyncio.sleep(1e9)\nasyncio.run(main())"
    ),
    "call_soon from the top level": (
        "import asyncio\nloop = asyncio.get_running_loop()\ndef f(): loop.call_soon(f)\n"
        "f(); await asyncio.Future()"
    ),
    "sleep(0)": "import asyncio\nwhile True: await asyncio.sleep(0)",
}


@pytest.mark.parametrize("code", [c for n, c in JAVASCRIPT.items() if "rejection" not in n])
def test_javascript_is_stopped(code):
    """The time limit holds between callbacks too."""
    times_out(code, "javascript")


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_is_stopped(code):
    """The time limit holds between callbacks too."""
    times_out(code, "python")


def test_waiting_for_what_can_never_happen_ends_at_once():
    """A program whose queues are all empty is over."""
    fails("Deadlock", "import asyncio\nawait asyncio.Future()", "python")
    completes("await new Promise(() => {})", "javascript", exit_code=13)
