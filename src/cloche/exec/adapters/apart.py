"""Runs functions of the host so that nobody has to wait for them until they return.

Owns threads that are used again. Invariants:
- whoever asks is back as soon as the result is not wanted any more; the function itself goes on,
  as nothing can stop it, and what it returns then is dropped;
- what is left behind does nothing more to the run than to end, and not before the run is done with;
- no such thread keeps the process alive.

A change of threads costs as much as the rest of a call. So the turns of a run happen on such a
thread as a whole, and functions that it calls run there with them; only what runs beside the turns
has a thread for itself.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from cloche.engine.abi import GuestStopped, Stop
from cloche.engine.adapters.stack import start_with_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.abi import Report

_LOOK_S: Final = 0.02  # how often it is asked whether the result is still wanted
_IDLE_COUNT_MAX: Final = 8  # threads that are kept for the next call
_LEFT: Final = Stop(kind="cancelled")

Result = TypeVar("Result")
_Answer: TypeAlias = "SimpleQueue[tuple[Any, BaseException | None]]"


class _Worker:
    """A thread that runs one function after the other."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], _Answer] | None] = SimpleQueue()
        start_with_room(self._work, "cloche-script")

    def put(self, job: tuple[Callable[[], Any], _Answer] | None) -> None:
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, answer = job
            try:
                outcome: tuple[Any, BaseException | None] = function(), None
            except BaseException as error:  # noqa: BLE001 - raised where the result is wanted
                outcome = None, error
            if len(_idle) < _IDLE_COUNT_MAX:
                _idle.append(self)
            else:
                self._jobs.put(None)
            answer.put(outcome)
            del job, function, answer, outcome  # an idle thread holds nothing of anybody's


_idle: deque[_Worker] = deque()
# A forked process has the names of these threads, and none of them runs there.
os.register_at_fork(after_in_child=_idle.clear)


def _hand_over(function: Callable[[], Any]) -> _Answer:
    """Return where the result of a function will be that runs on another thread from now on."""
    answer: _Answer = SimpleQueue()
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.put((function, answer))
    return answer


class Apart:
    """The thread of one run's turns, which can be left behind while it is in a function.

    Args:
        is_unwanted: whether what functions return is not wanted any more.
        look: called on the caller's thread every now and then, while the turns go on.
    """

    def __init__(
        self, is_unwanted: Callable[[], bool], look: Callable[[], None] = lambda: None
    ) -> None:
        self._is_unwanted = is_unwanted
        self._look = look
        self._lock = threading.Lock()
        self._ident: int | None = None  # of the thread, while it is at the turns
        self._is_calling = False
        self._is_done = False
        self._may_end = threading.Event()
        self.is_left = False

    def run(self, turns: Callable[[], Report | Stop], stop: Callable[[], None]) -> Report | Stop:
        """Return what the turns of the run come to; see `cloche.exec.adapters.runner.Aside`."""
        context = contextvars.copy_context()

        def work() -> Report | Stop:
            self._ident = threading.get_ident()
            try:
                return context.run(turns)
            finally:
                self._ident = None
                self._is_done = True

        answer = _hand_over(work)
        try:
            while True:
                try:
                    outcome, error = answer.get(timeout=_LOOK_S)
                    break
                except Empty:
                    self._look()
                    if self._is_calling and self._is_unwanted() and self._leave():
                        return _LEFT
        except BaseException:  # Ctrl-C: what it raises is raised when nothing goes on any more
            self._end(stop)
            raise
        if error is not None:
            raise error
        found: Report | Stop = outcome
        return found

    def _end(self, stop: Callable[[], None]) -> None:
        while not self._is_done and not self._leave():
            # A second signal changes nothing: the first one's error is already on its way.
            with suppress(BaseException):
                stop()
                self._may_end.wait(_LOOK_S)

    def _leave(self) -> bool:
        with self._lock:
            self.is_left = self._is_calling
            return self.is_left

    def end(self) -> None:
        """Let what was left behind end when it comes back."""
        self._may_end.set()

    def call(self, function: Callable[[], Result], unwanted: Callable[[], BaseException]) -> Result:
        """Return what a function returns, or raise what it raises.

        Args:
            function: of the host; on the thread of the turns, or of something beside them.
            unwanted: what to raise if its result is not wanted any more before it is there; the
                function then goes on by itself.
        """
        if threading.get_ident() != self._ident:
            return self._call_beside(function, unwanted)
        self._is_calling = True
        try:
            value = function()
        except BaseException:
            self._come_back()
            raise
        self._come_back()
        return value

    def _call_beside(
        self, function: Callable[[], Result], unwanted: Callable[[], BaseException]
    ) -> Result:
        answer = _hand_over(function)
        while True:
            try:
                value, error = answer.get(timeout=_LOOK_S)
            except Empty:
                if self._is_unwanted():
                    raise unwanted() from None
                continue
            if error is not None:
                raise error
            found: Result = value
            return found

    def _come_back(self) -> None:
        with self._lock:
            self._is_calling = False
            is_left = self.is_left
        if is_left:
            self._may_end.wait()
            raise GuestStopped(_LEFT)
