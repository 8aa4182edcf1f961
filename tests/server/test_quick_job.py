"""A run that no thread waits for: what stops it, and when its worker is ended."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cloche.exec.adapters.effects import CancelToken
from cloche.exec.api import default_runner
from cloche.server import worker_frames as frames
from cloche.server.adapters import quick_job
from cloche.server.adapters.quick_job import Patience, QuickJob
from cloche.server.adapters.remote import WorkerRunner

from .test_workers import LIMITS, asked

GRACE_S = LIMITS.server.worker_grace_ms / 1000
FAULT = frames.Done(job=1, is_fault=True)


class Worker:
    """Hears what it is sent, and whether it was ended."""

    def __init__(self):
        self.heard = []
        self.killed = []
        self.has_room = True

    def open(self, box):
        self.box = box
        return 1

    def close(self, job):
        """Nothing to do."""

    def send(self, frame):
        self.heard.append(frame)

    def send_now(self, frame):
        if self.has_room:
            self.send(frame)
        return self.has_room

    def kill(self, problem):
        self.killed.append(problem)


@pytest.fixture
def clock(monkeypatch):
    """The clock of this module alone, at 100 s."""
    now = SimpleNamespace(s=100.0)
    times = {"monotonic": lambda: now.s, "monotonic_ns": lambda: int(now.s * 10**9)}
    monkeypatch.setattr(quick_job, "time", SimpleNamespace(**times))
    return now


def runner():
    """Return a runner without workers."""
    return WorkerRunner(default_runner().images, None, LIMITS)


@pytest.mark.parametrize("why", ["late", "cancelled"])
def test_who_does_not_stop_is_ended(clock, why):
    """Once a run is late or cancelled its worker has a while to stop it, and is ended then."""
    worker, cancel = Worker(), CancelToken()
    patience = Patience(runner(), cancel, 200 * 10**9 if why == "late" else None)
    patience.check(worker)
    if why == "late":
        clock.s = 201.0
    else:
        clock.s += 10 * GRACE_S
        patience.check(worker)
        cancel.cancel()
    patience.check(worker)
    clock.s += GRACE_S
    patience.check(worker)
    assert worker.killed == []
    clock.s += 0.001
    patience.check(worker)
    assert worker.killed == ["it did not stop a run in time"]


def begun(worker, cancel=None, on_output=None):
    """Begin a run; return whether that went well, and the ends that were told."""
    ends = []
    job = QuickJob(
        runner(), worker, asked("1"), on_output, cancel or CancelToken(), lambda *e: ends.append(e)
    )
    return job.begin("r"), ends


@pytest.mark.parametrize("is_early", [True, False])
def test_cancelled(is_early):
    """A worker is told that its run is cancelled, also where that was before it began."""
    worker, cancel = Worker(), CancelToken()
    if is_early:
        cancel.cancel()
    assert begun(worker, cancel)[0]
    if not is_early:
        cancel.cancel()
    assert [type(frame) for frame in worker.heard] == [frames.Run, frames.Cancel]


def test_what_a_program_writes():
    """What is written to the two streams is passed on, nothing else that a worker tells."""
    worker, heard = Worker(), []
    begun(worker, on_output=lambda stream, data: heard.append((stream, data)))
    for stream in ("stdout", "log", "stderr", "respond"):
        worker.box.put(frames.Output(job=1, stream=stream, data=b"x"))
    assert heard == [("stdout", b"x"), ("stderr", b"x")]


def test_one_end():
    """A run ends once, whatever its worker says behind that."""
    worker = Worker()
    _, ends = begun(worker)
    worker.box.put(FAULT)
    worker.box.put(FAULT)
    assert len(ends) == 1


@pytest.mark.parametrize("was_lost", [True, False])
def test_no_room(was_lost):
    """A run that could not be sent is somebody else's, if nobody was told of its end already."""
    worker = Worker()
    worker.has_room = False
    worker.loss = lambda: RuntimeError("lost")
    if was_lost:
        worker.send_now = lambda _frame: worker.box.put(None)
    is_begun, ends = begun(worker)
    assert (is_begun, len(ends)) == (was_lost, int(was_lost))


def test_too_much_with_the_end():
    """What is written last counts as well; a worker that says more than it may is ended."""
    worker, heard = Worker(), []
    _, ends = begun(worker, on_output=lambda *piece: heard.append(piece))
    most = 2 * LIMITS.guests.output_limit_bytes + (1 << 20)
    worker.box.put(frames.Done(job=1, output=[("stdout", b"x" * (most + 1))]))
    assert heard == []
    assert len(ends) == len(worker.killed) == 1


def test_pictures():
    """Of what a worker calls pictures, those that are some are returned."""
    found = frames.ExecutionFrame(
        run_id="other", language="python", result=None, error=None, exit_code=0,
        journal_hash=None, image="python", fuel_used=None,
        pictures={"/a.png": b"\x89PNG\r\n\x1a\n", "/b.png": b"none"},
    )  # fmt: skip
    execution = quick_job.execution_of(found, "r")
    assert [file.path for file in execution.files] == ["/a.png"]
    assert execution.run_id == "r"
