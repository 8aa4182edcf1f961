"""Apps in a worker: versions at hand, their instances, evaluating new ones.

Invariants: a version is there from the frame that brings it to the one that drops it, and no
instance of it waits longer; a run of a version that is dropped meanwhile goes on. Which versions
are at hand, and how many, is the server's to say.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from cloche.apps.adapters.evaluation import Recipe, evaluate
from cloche.apps.adapters.instances import AppInstances
from cloche.engine.adapters.handout import take_in
from cloche.errors import InternalError
from cloche.gate.journal import load_journal
from cloche.server import worker_frames as frames
from cloche.server.worker_job import Handlers, HoldingSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.adapters.images import Image
    from cloche.engine.virtual_os import Stream
    from cloche.exec.adapters.runner import Execution
    from cloche.exec.request import RunRequest
    from cloche.limits import Limits
    from cloche.server.worker import JobRunner
    from cloche.server.worker_job import Job


class _Held:
    """One version; its image is made by the first run."""

    def __init__(self, frame: frames.HoldApp, memory: int, content: int, limits: Limits) -> None:
        self.frame = frame
        self.request = frames.request_of_frame(frame.request, limits)
        self._memory = memory
        self._content = content
        self._image: Image | None = None
        self._lock = threading.Lock()

    def image(self, runner: JobRunner) -> Image:
        """Return what its instances start from."""
        with self._lock:
            if self._image is None:
                frame = self.frame
                before = runner.images.get(frame.base, fuel=frame.fuel)
                memory, content = self._memory, self._content
                self._image = take_in(before, frame.image_id, frame.memory_bytes, memory, content)
            return self._image

    def close(self) -> Image | None:
        """Let go of what was not used."""
        with self._lock:
            if self._image is None:
                os.close(self._memory)
                os.close(self._content)
            return self._image


class WorkerApps:
    """The apps of one worker.

    Args:
        runner: executes.
        limits: of the process.
    """

    def __init__(self, runner: JobRunner, limits: Limits) -> None:
        self._limits = limits
        self._instances = AppInstances(runner, limits)
        self._runner: Any = self._instances.runner
        self._held: dict[int, _Held] = {}

    def hold(self, frame: frames.HoldApp, memory: int, content: int) -> None:
        """Have a version at hand. On the thread that reads: quick."""
        self._held[frame.app] = _Held(frame, memory, content, self._limits)

    def drop(self, number: int) -> None:
        """Let go of a version."""
        held = self._held.pop(number, None)
        image = None if held is None else held.close()
        if image is not None:
            self._instances.release(image)

    def evaluate(self, frame: frames.Evaluate) -> tuple[Execution, bytes]:
        """Evaluate the top level of an app; return how that ended, and an `EvaluatedFrame`."""
        found = evaluate(
            self._runner,
            Recipe(
                image=frame.image,
                fuel=frame.fuel,
                files=frame.files,
                request=frames.request_of_frame(frame.request, self._limits),
            ),
        )
        told = frames.EvaluatedFrame(
            handlers=None if found.handlers is None else sorted(found.handlers),
            asked=list(found.asked),
            printed=found.printed,
            snapshot=found.snapshot,
        )
        return found.execution, msgspec.msgpack.encode(told)

    def run(
        self, frame: frames.RunApp, job: Job, on_output: Callable[[Stream, bytes], None]
    ) -> tuple[Execution, list[bytes]]:
        """Let a version answer; return how that ended, and its journal where it is wanted."""
        held = self._held.get(frame.app)
        if held is None:
            raise InternalError(f"this worker has no app {frame.app}")
        image = held.image(self._runner)
        sink = None if frame.journal == "none" else HoldingSink()
        replay = None if frame.replay is None else load_journal(frame.replay, self._limits)
        handlers = Handlers(job, held.frame.kinds)
        try:
            execution = self._instances.run(
                self._runner.hiding(frame.secrets),
                image,
                self._request(frame, held),
                is_warm=held.frame.is_warm and replay is None,
                handlers=handlers,
                on_output=on_output,
                sink=sink,
                replay=replay,
                record=sink is not None,
                cancel=job.cancel,
                run_id=frame.run_id,
                wanted=None if frame.journal != "failed" else lambda _error: True,
            )
        finally:
            job.tend = lambda: self._instances.tend(image)
        return execution, [] if sink is None else sink.records

    def _request(self, frame: frames.RunApp, held: _Held) -> RunRequest:
        if frame.request is not None:
            return frames.request_of_frame(frame.request, self._limits)
        request = held.request.again(
            code=frame.code, seed=frame.seed, now_ns=frame.now_ns, stdin=frame.stdin
        )
        if frame.limits:
            request = dataclasses.replace(request, limits=frames.limits_of(frame.limits))
        return request
