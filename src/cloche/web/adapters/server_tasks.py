"""Work that is begun at once, and becomes a task only where it has to wait.

Most requests are answered without waiting for anything; making a task for each costs a quarter of
such a request. So the first step of the work is taken at once, as if by a task that stands ready
(`_Host`): `asyncio.current_task()` is that task, and the context is its own. Where the work waits,
the host goes on with it, and the work does not notice.

Invariants:
- work runs from beginning to end under one task and in one context that nobody else writes to; a
  host whose context was changed is not used again;
- a handle cancels its own work and no other, however late it is asked;
- work is started this way only where no task runs; else it becomes a task of its own.

`asyncio.tasks._enter_task` and `_leave_task` are the documented way for others to make tasks (the
page "Extending" of asyncio). Python 3.12 has eager tasks; this works from 3.11 on,
and needs no task at all where work does not wait.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    Work = Coroutine[Any, Any, None]

_IDLE_MAX: Final = 16  # hosts that stand ready; one is enough where nothing waits


class Running:
    """Work that waits. `cancel` does nothing once it has ended."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task: asyncio.Task[None] | None = task

    def cancel(self) -> None:
        """Cancel the work."""
        if self._task is not None:
            self._task.cancel()

    def ended(self) -> None:
        """Note that the task has other work now."""
        self._task = None


class Runner:
    """Runs the work of one event loop."""

    __slots__ = ("_idle", "_is_ended", "_loop", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[_Host] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ended = False

    def begin(self, work: Work) -> Running | None:
        """Run work as far as it goes without waiting; None where that was all of it."""
        loop = self._loop
        if not self._idle:
            return self._spawn(work)
        host = self._idle.pop()
        try:
            _enter_task(loop, host.task)
        except RuntimeError:  # a task runs
            self._idle.append(host)
            return self._spawn(work)
        try:
            waits_for = host.context.run(work.send, None)
        except StopIteration:
            waits_for = None
            is_done = True
        except asyncio.CancelledError:
            is_done = True
        except BaseException:
            host.task.cancel()
            raise
        else:
            is_done = False
        finally:
            _leave_task(loop, host.task)
        if not is_done:
            return host.take(work, waits_for)
        if host.is_clean:
            self._idle.append(host)
        else:
            host.task.cancel()
        return None

    def add(self, host: _Host) -> bool:
        """Take a host that is ready; return whether it is of use."""
        if self._is_ended or len(self._idle) >= _IDLE_MAX:
            return False
        self._idle.append(host)
        return True

    async def end(self) -> None:
        """Cancel everything, and wait until it has ended."""
        self._is_ended = True
        self._idle.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _spawn(self, work: Work) -> Running:
        if not self._idle and not self._is_ended:
            self._keep(_Host(self, self._loop).task)
        task = self._loop.create_task(work)
        self._keep(task)
        return Running(task)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Host:
    """A task that stands ready to go on with work that was begun in its name."""

    __slots__ = ("_blank", "_called", "_loop", "_runner", "_waits_for", "_work", "context", "task")

    def __init__(self, runner: Runner, loop: asyncio.AbstractEventLoop) -> None:
        self._runner = runner
        self._loop = loop
        self._blank: Context = copy_context()
        self.context = self._blank.copy()
        self._called: asyncio.Future[None]
        self._work: Work | None = None
        self._waits_for: Any = None
        self.task: asyncio.Task[None] = loop.create_task(self._run(), context=self.context)

    @property
    def is_clean(self) -> bool:
        """Whether the next work finds what the first one found."""
        return self.context == self._blank and not self.task.cancelling()

    def take(self, work: Work, waits_for: Any) -> Running:
        """Go on with work that waits."""
        running = Running(self.task)
        self._work = _Rest(work, waits_for, running)  # type: ignore[assignment]  # awaited alike
        if not self._called.done():
            self._called.set_result(None)
        return running

    async def _run(self) -> None:
        while True:
            self._called = self._loop.create_future()
            if not self._runner.add(self):
                return
            try:
                await self._called
            except asyncio.CancelledError:
                rest = self._work
                if rest is None:
                    raise
                # The work was cancelled before this task had taken it over.
                rest.cancel()  # type: ignore[attr-defined]
            rest, self._work = self._work, None
            assert rest is not None, "a host is called for work"
            await rest
            if not self.is_clean:
                return


class _Rest:
    """What is left of a coroutine whose first step was taken elsewhere."""

    __slots__ = ("_is_cancelled", "_running", "_waits_for", "_work")

    def __init__(self, work: Work, waits_for: Any, running: Running) -> None:
        self._work = work
        self._waits_for = waits_for
        self._running = running
        self._is_cancelled = False

    def cancel(self) -> None:
        """Cancel it before it goes on, as a task does: through what it waits for."""
        if self._waits_for is None or not self._waits_for.cancel():
            self._is_cancelled = True

    def __await__(self) -> Generator[Any, Any, None]:
        work, waits_for = self._work, self._waits_for
        try:
            if self._is_cancelled:
                waits_for = work.throw(asyncio.CancelledError())
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    work.close()
                    raise
                except BaseException as raised:  # noqa: BLE001 - it is the work's to deal with
                    waits_for = work.throw(raised)
                else:
                    waits_for = work.send(sent)
        except (StopIteration, asyncio.CancelledError):
            return
        finally:
            self._running.ended()
