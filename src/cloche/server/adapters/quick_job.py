"""A run in a worker that asks nothing and is not kept: one frame there, one back.

Owns what is said of such a run, and what every job has: how long it may take, how its end is read.
Invariant: no thread waits for it; a worker that says more than its run can have to say, or does not
stop in time, is ended.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from cloche.engine.vfs import StoredFile
from cloche.errors import InternalError
from cloche.exec.adapters.runner import Execution, Suspension
from cloche.exec.errors import ExecError, InternalExecError, WorkerLostError
from cloche.server import worker_frames as frames
from cloche.server.pictures import bounded
from cloche.server.worker_bounds import Said, WorkerLiesError
from cloche.server.worker_errors import error_of
from cloche.server.worker_frames import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import OutputListener
    from cloche.exec.request import RunRequest
    from cloche.server.adapters.processes import WorkerProcess
    from cloche.server.adapters.remote import WorkerRunner

MS_PER_S: Final = 1000
NS_PER_MS: Final = 1_000_000


class Patience:
    """Ends a worker that goes on for longer than its run may, or than it was asked to."""

    def __init__(self, runner: WorkerRunner, cancel: CancelToken, ends_ns: int | None) -> None:
        self._grace_s = runner.server.worker_grace_ms / MS_PER_S
        self._cancel = cancel
        self._ends_ns = ends_ns
        self._stop_s: float | None = None

    def check(self, process: WorkerProcess) -> None:
        """Look at the clock. Called every now and then while the job goes on."""
        now_s = time.monotonic()
        if self._stop_s is None:
            is_over = self._ends_ns is not None and time.monotonic_ns() > self._ends_ns
            if is_over or self._cancel.cancelled:
                self._stop_s = now_s + self._grace_s
        elif now_s > self._stop_s:
            process.kill("it did not stop a run in time")


class QuickJob:
    """A run that asks nothing and is not kept: one frame there, one back, no thread that waits."""

    def __init__(
        self,
        runner: WorkerRunner,
        process: WorkerProcess,
        request: RunRequest,
        on_output: OutputListener | None,
        cancel: CancelToken,
        done: Callable[[Execution | None, BaseException | None], None],
    ) -> None:
        self._runner = runner
        self._process = process
        self._request = request
        self._on_output = on_output
        self._cancel = cancel
        self._done = done
        self._job = 0
        self._run_id = ""
        self._said = Said(request.limits)
        self._lock = threading.Lock()
        self._is_over = False
        ends_ns = time.monotonic_ns() + request.limits.guests.timeout_ms * NS_PER_MS
        self._patience = Patience(runner, cancel, ends_ns)

    def begin(self, run_id: str) -> bool:
        """Send it off; False when the worker has just been lost."""
        process, self._run_id = self._process, run_id
        try:
            job = self._job = process.open(self)
        except WorkerLostError:
            return False
        options = frames.RunOptions(
            request=frames.request_frame(self._request, self._runner.limits),
            run_id=run_id,
            is_recorded=False,
            is_streamed=self._on_output is not None,
        )
        self._runner.watch(self)
        if not process.send_now(frames.Run(job=job, options=options)):
            return not self._give_up()
        self._cancel.bind(lambda: process.send(frames.Cancel(job=job)))
        return True

    def _give_up(self) -> bool:
        """Leave the job to somebody who can wait; False when it is over already: it was lost."""
        with self._lock:
            is_over, self._is_over = self._is_over, True
        self._process.close(self._job)
        self._runner.forget(self)
        return not is_over

    def check_time(self) -> None:
        """End the worker when it does not stop in time."""
        self._patience.check(self._process)

    def put(self, frame: frames.FromWorker | None) -> None:
        """Take what the worker says."""
        problem = "it asked for something that its run has not"
        try:
            if isinstance(frame, frames.Output):
                self._said.output(len(frame.data))
                _tell(self._on_output, ((frame.stream, frame.data),))
                return
            if isinstance(frame, Done):
                self._said.output(sum(len(data) for _, data in frame.output))
        except WorkerLiesError as lie:
            frame, problem = frames.CancelEffect(job=self._job, question=0), lie.fields["problem"]
        with self._lock:
            was_over, self._is_over = self._is_over, True
        if was_over:
            return
        execution: Execution | None = None
        error: BaseException | None = None
        if isinstance(frame, Done):
            _tell(self._on_output, frame.output)
        if frame is None:
            error = self._process.loss()
        elif isinstance(frame, Done) and frame.execution is not None:
            execution = execution_of(frame.execution, self._run_id)
        elif isinstance(frame, Done) and frame.error is not None:
            error = error_of(frame.error)
        else:
            error = InternalError("a worker asks for something that its run has not")
            self._process.kill(problem)
        self._process.close(self._job)
        self._runner.forget(self)
        self._done(execution, error)


def _tell(on_output: OutputListener | None, pieces: Iterable[tuple[frames.Heard, bytes]]) -> None:
    if on_output is not None:
        for stream, data in pieces:
            if stream in ("stdout", "stderr"):
                on_output(stream, data)


def execution_of(frame: frames.ExecutionFrame, run_id: str) -> Execution:
    """Return what the run of this id came to, as a worker tells it."""
    error: ExecError | None = None
    if frame.error is not None:
        made = error_of(frame.error, result=frame.result)
        error = (
            made
            if isinstance(made, ExecError)
            else InternalExecError(made.message, result=frame.result)
        )
    return Execution(
        run_id=run_id,
        language=frame.language,
        result=frame.result,
        error=error,
        exit_code=frame.exit_code,
        files=tuple(
            StoredFile(path=path, content=content)
            for path, content in bounded(frame.pictures).items()
        ),
        journal_hash=frame.journal_hash,
        image=frame.image,
        fuel_used=frame.fuel_used,
        suspension=Suspension(due_ns=frame.due_ns) if frame.is_suspended else None,
    )
