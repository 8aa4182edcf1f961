"""Attack: handlers around everything, so that no stop could be caught and outlived."""

from __future__ import annotations

import pytest

from abuse.support import exceeds, times_out

PYTHON = """
while True:
    try:
        while True: pass
    except BaseException: pass
    finally: print("still here")
"""
JAVASCRIPT = """
for (;;) {
  try { for (;;); } catch { console.log("still here") } finally { console.log("still here") }
}
"""


@pytest.mark.parametrize(("code", "language"), [(PYTHON, "python"), (JAVASCRIPT, "javascript")])
def test_the_time_limit_cannot_be_caught(code, language):
    """Neither handler nor finally runs after the stop."""
    assert "still here" not in times_out(code, language).run.stdout


def test_javascript_cannot_catch_the_memory_limit():
    """The allocation that is refused is the last thing that the program does."""
    code = """
const kept = [];
for (;;) try { kept.push(new Uint8Array(1 << 20).fill(1)) } catch { console.log("still here") }
"""
    assert "still here" not in exceeds("memory", code, "javascript").run.stdout


def test_python_that_catches_its_memory_errors_runs_out_of_time():
    """A MemoryError can be caught; more memory there is not, and time goes on."""
    code = """
kept = []
while True:
    try: kept.append(b"x" * (1 << 20))
    except BaseException: pass
"""
    times_out(code, "python")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("while True:\n    try: print('x' * 1000)\n    except BaseException: pass", "python"),
        ("for (;;) try { console.log('x'.repeat(1000)) } catch {}", "javascript"),
    ],
)
def test_the_output_limit_cannot_be_caught(code, language):
    """The write that crosses the limit does not return."""
    exceeds("output", code, language)


def test_tasks_that_refuse_to_be_cancelled():
    """Cancelling a task can be refused; the time limit cannot."""
    code = """
import asyncio
async def stay():
    while True:
        try: await asyncio.sleep(0)
        except BaseException: pass
async def main():
    task = asyncio.create_task(stay()); await asyncio.sleep(0); task.cancel(); await task
asyncio.run(main())
"""
    times_out(code, "python")
