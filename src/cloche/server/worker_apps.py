"""Apps in a worker: versions at hand, their instances, evaluating new ones.

Invariants: a version is there from the frame that brings it to the one that drops it, and no
instance of it waits longer; a run of a version that is dropped meanwhile goes on. Which versions
are at hand, and how many, is the server's to say.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.apps.adapters.evaluation import Recipe, evaluate
from cloche.apps.adapters.instances import AppInstances
from cloche.apps.manifest import APP_KIND
from cloche.apps.messages import Answer
from cloche.engine.adapters.handout import take_in
from cloche.errors import InternalError
from cloche.gate.canonical import encode_plain
from cloche.gate.journal import load_journal
from cloche.server import worker_frames as frames
from cloche.server.worker_job import AskingHandler, Handlers, HoldingSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.apps.ports import Line
    from cloche.engine.adapters.images import Image
    from cloche.exec.adapters.runner import Execution
    from cloche.exec.request import RunRequest
    from cloche.gate.effect import EffectRequest
    from cloche.limits import Limits
    from cloche.server.worker import JobRunner
    from cloche.server.worker_job import Job, Streams

_TOLD_BYTES: Final = 1 << 18  # more is asked for: its client may be slow
_OPENING: Final = ("respond", "respond.start")
_ENDING: Final = ("respond", "respond.end", "return", "socket.accept")


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


class _Nowhere:
    """A reply that nobody gets (a `ReplySink`)."""

    def start(self, status: int, lines: Sequence[Line], length_bytes: int | None) -> None:
        """Nothing to do, as everywhere below."""

    def write(self, data: bytes) -> None:
        """See `start`."""

    def end(self) -> None:
        """See `start`."""

    def abort(self) -> None:
        """See `start`."""


class AppHandler(AskingHandler):
    """Performs the effects of kind `app`: tells the server what needs no answer, asks for the rest.

    What is told is checked here as the server will check it, so that the app hears what is wrong.

    Args:
        job: of the run.
        streams: tell.
        limits: of the run.
        told: targets that may be told.
    """

    def __init__(self, job: Job, streams: Streams, limits: Limits, told: Sequence[str]) -> None:
        super().__init__(job)
        self._streams = streams
        self._limits = limits
        self._told = told
        self._answer: Answer | None = Answer(_Nowhere(), limits)
        self.is_well = False  # whether it did what it is for, so that nobody wants its journal

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Perform one."""
        target, args = request.target, request.args
        if target in self._told and (target != "log" or _is_line(args)):
            # Fields of a line keep their order; in a response nothing depends on it.
            text = request.args_text if target == "respond" else None
            text = encode_plain(args) if text is None else text
            is_small = len(text) <= _TOLD_BYTES
            if is_small and target == "log":
                self._streams.write(self._job, "log", text)
                return None
            if is_small and self._answer is not None:
                self._answer.respond(args)
                self._answer, self.is_well = None, True
                self._streams.write(self._job, "respond", text)
                return None
        if target in _OPENING:
            self._answer = None  # the server knows what is open
        self._streams.flush(self._job)
        value = super().perform(request, run_id)
        self.is_well = self.is_well or target in _ENDING
        return value


def _is_line(args: Any) -> bool:
    return (
        isinstance(args, dict)
        and isinstance(args.get("message"), str)
        and isinstance(args.get("fields", {}), dict)
    )


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
        self, frame: frames.RunApp, job: Job, streams: Streams
    ) -> tuple[Execution, list[bytes]]:
        """Let a version answer; return how that ended, and its journal where it is wanted."""
        held = self._held.get(frame.app)
        if held is None:
            raise InternalError(f"this worker has no app {frame.app}")
        image = held.image(self._runner)
        sink = None if frame.journal == "none" else HoldingSink()
        replay = None if frame.replay is None else load_journal(frame.replay, self._limits)
        request = self._request(frame, held)
        app = AppHandler(job, streams, request.limits, frame.told)
        handlers = Handlers(job, held.frame.kinds, {APP_KIND: app})
        try:
            execution = self._instances.run(
                self._runner.hiding(frame.secrets) if frame.secrets else self._runner,
                image,
                request,
                is_warm=held.frame.is_warm and replay is None,
                handlers=handlers,
                on_output=lambda stream, data: streams.write(job, stream, data),
                sink=sink,
                replay=replay,
                record=sink is not None,
                cancel=job.cancel,
                run_id=frame.run_id,
                wanted=None
                if frame.journal != "failed"
                else lambda error: error is not None or not app.is_well,
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
