"""Runs a function where nobody has to wait for it until it returns.

Owns threads that are used again. Invariants:
- whoever asks is back as soon as the result is not wanted any more; the function itself goes on,
  as nothing can stop it, and what it returns then is dropped;
- no such thread keeps the process alive.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_S: Final = 0.02  # how often it is asked whether the result is still wanted
_IDLE_COUNT_MAX: Final = 8  # threads that are kept for the next call


class Unwanted(Exception):  # noqa: N818 - it is no error
    """The result was not wanted any more before it was there."""


class _Worker:
    """A thread that runs one function after the other."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any]] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="cloche-tool", daemon=True).start()

    def put(self, job: tuple[Callable[[], Any], SimpleQueue[Any]] | None) -> None:
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


def run_apart(function: Callable[[], Any], is_unwanted: Callable[[], bool]) -> Any:
    """Return what a function returns, or raise what it raises.

    Raises:
        Unwanted: the result was not wanted any more; the function goes on by itself.
    """
    answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.put((function, answer))
    while True:
        try:
            value, error = answer.get(timeout=_LOOK_S)
        except Empty:
            if is_unwanted():
                raise Unwanted from None
            continue
        if error is not None:
            raise error
        return value
