"""asyncio on virtual time, and top-level `await`."""

from __future__ import annotations

import pytest

from .driver import output, run


def test_a_day_takes_no_time() -> None:
    """Sleeping moves the virtual clock only, in `asyncio` and in `time`."""
    code = """
import asyncio, time
start = time.monotonic()
asyncio.run(asyncio.sleep(86_400))
time.sleep(86_400)
print(round(time.monotonic() - start))
"""
    assert output(code) == "172800\n"  # of the minute that it has


def test_tasks_overlap_in_order_of_their_time() -> None:
    """Timers fire in order of their time; equal ones in order of their start."""
    code = """
import asyncio
async def after(delay, name):
    await asyncio.sleep(delay)
    print(name)
    return name
async def main():
    started = asyncio.get_running_loop().time()
    names = await asyncio.gather(after(3, "c"), after(1, "a"), after(1, "b"), after(0, "0"))
    print(names, round(asyncio.get_running_loop().time() - started))
asyncio.run(main())
"""
    assert output(code) == "0\na\nb\nc\n['c', 'a', 'b', '0'] 3\n"


def test_top_level_await() -> None:
    """`await`, `async for` and `async with` work outside functions."""
    code = """
import asyncio
async def numbers():
    for n in range(3):
        await asyncio.sleep(1)
        yield n
print([n async for n in numbers()])
async for n in numbers():
    print(n, end=" ")
async with asyncio.timeout(5), asyncio.TaskGroup() as group:
    task = group.create_task(asyncio.sleep(1, "done"))
print(task.result())
"""
    assert output(code) == "[0, 1, 2]\n0 1 2 done\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("async with asyncio.timeout(1): await asyncio.sleep(2)", "TimeoutError"),
        ("await asyncio.wait_for(asyncio.Event().wait(), 1)", "TimeoutError"),
        ("t = asyncio.ensure_future(asyncio.sleep(9)); t.cancel(); await t", "CancelledError"),
        (
            "async with asyncio.TaskGroup() as g: g.create_task(asyncio.sleep('x'))",
            "ExceptionGroup",
        ),
    ],
)
def test_failures(code: str, expected: str) -> None:
    """Timeouts, cancellation and groups fail as in any Python."""
    text = f"import asyncio\ntry:\n    {code}\nexcept BaseException as e: print(type(e).__name__)"
    assert output(text) == f"{expected}\n"


@pytest.mark.parametrize(
    "code",
    [
        "await asyncio.Event().wait()",
        "await asyncio.get_running_loop().create_future()",
        "asyncio.run(asyncio.Event().wait())",
    ],
)
def test_waiting_for_nothing_is_an_error(code: str) -> None:
    """A program that waits for what can never happen fails at once and says so."""
    outcome = run(f"import asyncio\n{code}")
    assert outcome.stderr.endswith(
        "cloche.Deadlock: the program waits for something that can never happen: nothing is "
        "scheduled and no effect is pending\n"
    )


def test_primitives() -> None:
    """Queues, locks, semaphores, events, conditions and barriers."""
    code = """
import asyncio
async def main():
    queue, lock, event = asyncio.Queue(1), asyncio.Lock(), asyncio.Event()
    async def produce():
        for n in range(3):
            await queue.put(n)
        event.set()
    async def consume():
        got = [await queue.get() for _ in range(3)]
        await event.wait()
        return got
    async with lock, asyncio.Semaphore(2):
        print((await asyncio.gather(produce(), consume()))[1])
    barrier = asyncio.Barrier(2)
    print(sorted(await asyncio.gather(barrier.wait(), barrier.wait())))
asyncio.run(main())
"""
    assert output(code) == "[0, 1, 2]\n[0, 1]\n"


def test_work_for_other_threads_runs_at_once() -> None:
    """`to_thread` and executors give the right values, one after the other."""
    code = """
import asyncio
from concurrent.futures import ThreadPoolExecutor, as_completed
async def main():
    loop = asyncio.get_running_loop()
    print(await asyncio.to_thread(sum, [1, 2]), await loop.run_in_executor(None, len, "abc"))
asyncio.run(main())
with ThreadPoolExecutor(4) as pool:
    print(list(pool.map(str.upper, "ab")), [f.result() for f in [pool.submit(abs, -1)]])
    failed = pool.submit(int, "x")
    print(type(failed.exception()).__name__, len(list(as_completed([failed]))))
try:
    pool.submit(print)
except RuntimeError as error:
    print(error)
"""
    assert output(code) == (
        "3 3\n['A', 'B'] [1]\nValueError 1\ncannot schedule new futures after shutdown\n"
    )


def test_loops_by_hand() -> None:
    """Runners, new loops and `run_until_complete` work; a loop can be made twice."""
    code = """
import asyncio
loop = asyncio.new_event_loop()
print(loop.run_until_complete(asyncio.sleep(1, 1)))
loop.call_later(2, loop.stop)
loop.run_forever()
loop.close()
with asyncio.Runner() as runner:
    print(runner.run(asyncio.sleep(1, 2)), runner.run(asyncio.sleep(1, 3)))
"""
    assert output(code) == "1\n2 3\n"


def test_tasks_left_over_do_not_run() -> None:
    """What the program did not wait for is dropped at its end, as by `asyncio.run`."""
    code = """
import asyncio
async def late():
    await asyncio.sleep(1)
    print("late")
t = asyncio.ensure_future(late())
await asyncio.sleep(0)
print("end")
"""
    assert run(code).stdout == "end\n"


def test_tools_overlap_when_awaited() -> None:
    """In async code a tool gives something to await; elsewhere it gives the value."""
    code = """
import asyncio
print(await tools.add(a=1, b=2))
print(await asyncio.gather(*(tools.add(a=n, b=n) for n in range(3))))
try:
    await tools.fail()
except Exception as error:
    print(type(error).__module__, type(error).__name__, error.code, error.retryable)
"""

    def add(a: int, b: int) -> int:
        return a + b

    def fail() -> None:
        raise ValueError("no")

    text = output(code, tools={"add": add, "fail": fail})
    assert text == ("3\n[0, 2, 4]\ncloche EffectError TOOL_ERROR False\n")
