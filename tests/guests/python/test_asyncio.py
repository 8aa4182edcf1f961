"""asyncio on virtual time, and top-level `await`."""

from __future__ import annotations

import pytest

from cloche.exec.session import Session
from cloche.script.harness import ScriptHarness

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


UNHEARD = """{kind} exception was never retrieved
future: <{shown} exception=ValueError({number})>
Traceback (most recent call last):
  File "main.py", line {line}, in bad
    async def bad(n): raise ValueError(n)
                      ^^^^^^^^^^^^^^^^^^^
ValueError: {number}
"""


def unheard(number: int, line: int = 3, *, name: str = "") -> str:
    """Return what is told of a task that failed, or of a gathering where there is no name."""
    kind, shown = "_GatheringFuture", "_GatheringFuture finished"
    if name:
        kind = "Task"
        shown = f"Task finished name='{name}' coro=<bad() done, defined at main.py:{line}>"
    return UNHEARD.format(kind=kind, shown=shown, number=number, line=line)


@pytest.mark.parametrize("top", [False, True])
def test_errors_of_tasks_that_nobody_asks_for(top: bool) -> None:
    """They are told when the task is dropped, or at the end in order, and end nothing."""
    code = """
import asyncio
async def bad(n): raise ValueError(n)
held = []
async def main():
    asyncio.create_task(bad(0), name="dropped")
    await asyncio.sleep(1)
    for n in 1, 2: held.append(asyncio.create_task(bad(n), name=f"held {n}"))
    held.append(asyncio.gather(bad(3)))
    held.append(heard := asyncio.create_task(bad(4)))
    await asyncio.wait([heard])
    heard.exception()
    print("end")
"""
    code += "await main()" if top else "asyncio.run(main())"
    found = run(code)
    assert (found.stdout, found.exit_code, found.error) == ("end\n", 0, "")
    assert found.stderr == (
        unheard(0, name="dropped")
        + unheard(1, name="held 1")
        + unheard(2, name="held 2")
        + unheard(3)
    )
    assert run(code).stderr == found.stderr


HELD = """
import asyncio
async def bad(n): raise ValueError(n)
task = asyncio.create_task(bad(1), name="held")
await asyncio.sleep(1)
"""


def test_sessions_tell_of_tasks_with_the_run_that_made_them() -> None:
    """A session has no end of its own; a later run can still ask what was told of."""
    with Session.create("python") as session:
        assert session.run(HELD).run.stderr == unheard(1, name="held")
        assert session.run("await asyncio.sleep(0)").run.stderr == ""
        later = session.run("print(repr(task.exception()))").run
        assert (later.stdout, later.stderr) == ("ValueError(1)\n", "")


@pytest.mark.parametrize("end", ["7", "raise KeyError('x')"])
def test_scripts_tell_of_tasks_in_their_output(end: str) -> None:
    """Where the rest of what they print is, whether they end well or not."""
    result = ScriptHarness().run(HELD + end, language="python")
    assert result.status == ("completed" if end == "7" else "failed")
    assert result.output == unheard(1, name="held").replace("main.py", "script.py")


@pytest.mark.parametrize("end", ["sys.exit(3)", "await tools.leave(); sys.exit(3)"])
def test_the_run_itself_is_no_task_that_is_told_of(end: str) -> None:
    """It ends as it says, also with other tasks beside it and over more than one turn."""
    code = f"""
import asyncio, sys
async def bad(n): raise ValueError(n)
held = asyncio.create_task(bad(1), name="held")
await asyncio.sleep(0)
{end}
"""
    found = run(code, tools={"leave": lambda: None})
    assert (found.exit_code, found.stderr) == (3, unheard(1, name="held"))


def test_errors_of_tasks_come_behind_what_ended_the_run() -> None:
    """Also behind what `atexit` calls, and without the frames of the library."""
    code = """
import asyncio, atexit, sys
atexit.register(print, "exit", file=sys.stderr)
async def bad(): await asyncio.wait_for(asyncio.sleep(9), 1)
task = asyncio.create_task(bad(), name="held")
await asyncio.sleep(2)
raise KeyError("x")
"""
    found = run(code)
    assert found.exit_code == 1
    shown = [line.strip() for line in found.stderr.splitlines() if not line.startswith("future: ")]
    first, last = shown.index("KeyError: 'x'"), shown.index("exit")
    assert first < last == shown.index("Task exception was never retrieved") - 1
    assert {line.split(",")[0] for line in shown if line.startswith("File")} == {'File "main.py"'}


def test_a_program_has_its_own_way_to_tell_of_tasks() -> None:
    """The handler of a loop is asked, as in any Python; what it raises ends nothing."""
    code = """
import asyncio
async def bad(): raise ValueError(1)
def handler(loop, context):
    print(context["message"], repr(context["exception"]))
    raise SystemExit(4)
asyncio.get_running_loop().set_exception_handler(handler)
task = asyncio.create_task(bad())
await asyncio.sleep(0)
"""
    found = run(code)
    assert found.stdout == "Task exception was never retrieved ValueError(1)\n"
    assert found.exit_code == 0


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
