"""A runner whose guests are in worker processes.

Invariants: images are made here, since workers write nothing; a run whose worker was lost ends with
`WorkerLostError`, and a machine that was in it is asleep. What is said of a run stands in
`conversation.py`, of a session in `remote_machine.py`.
"""

from __future__ import annotations

import copy
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from cloche.errors import InternalError
from cloche.exec.adapters.runner import Execution, Runner, new_run_id
from cloche.exec.errors import InvalidRunError
from cloche.server import worker_frames as frames
from cloche.server.adapters.conversation import Conversation
from cloche.server.adapters.effect_threads import EffectThreads
from cloche.server.adapters.quick_job import QuickJob
from cloche.server.adapters.remote_machine import RemoteMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloche.engine.adapters.images import Images
    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import OutputListener
    from cloche.exec.adapters.session_machine import Kept, SessionMachine
    from cloche.exec.request import RunRequest
    from cloche.exec.session_log import SessionSettings, Step
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.limits import Limits
    from cloche.server.adapters.processes import Processes

_POLL_S: Final = 0.5
_SMALL_BYTES: Final = 1 << 16  # what a socket takes without anybody at its other end


class Watched(Protocol):
    """A job that no thread waits for."""

    def check_time(self) -> None:
        """End the worker when it does not stop in time."""


class WorkerRunner(Runner):
    """Runs requests in worker processes; makes images in this one.

    Args:
        images: made here, since workers write nothing; they read what is in their cache.
        processes: the workers.
        limits: those that the workers were told.
    """

    def __init__(self, images: Images, processes: Processes, limits: Limits) -> None:
        super().__init__(images, pool_size=0)
        self.processes = processes
        self.limits = limits
        self.server = limits.server
        self.has_pictures = False
        self._prepared: set[tuple[str, bool]] = set()
        self._quick: dict[Watched, None] = {}
        self.threads = EffectThreads()
        self._watching = threading.Condition()
        self._watcher: threading.Thread | None = None

    def with_pictures(self) -> WorkerRunner:
        """Return a runner of the same workers whose runs return the pictures that they wrote."""
        runner = copy.copy(self)
        runner.has_pictures = True
        return runner

    def prepare(self, request: RunRequest) -> None:
        """See to it that a worker finds what a request needs in its cache."""
        image = self.images.get(request.image_name, fuel=request.limits.guests.fuel > 0)
        if image.language != request.guest_language:
            raise InvalidRunError(
                f"the image {image.name} runs {image.language}, the program is {request.language}"
            )
        if request.guest_language == "javascript":
            self.images.typescript()  # a program may load a module that is TypeScript
        self._prepared.add((request.image_name, request.limits.guests.fuel > 0))

    def watch(self, job: Watched) -> None:
        """Look after a job that no thread waits for."""
        with self._watching:
            self._quick[job] = None
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="cloche-watch", daemon=True
                )
                self._watcher.start()
            elif len(self._quick) == 1:
                self._watching.notify()

    def forget(self, job: Watched) -> None:
        """Look after a job no more."""
        with self._watching:
            self._quick.pop(job, None)

    def _watch(self) -> None:
        while True:
            with self._watching:
                while not self._quick:
                    self._watching.wait()
                jobs = list(self._quick)
            for job in jobs:
                job.check_time()
            time.sleep(_POLL_S)

    def execute(
        self,
        request: RunRequest,
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: OutputListener | None = None,
        sink: JournalSink | None = None,
        replay: Journal | None = None,
        resume: Journal | None = None,
        record: bool = True,
        cancel: CancelToken | None = None,
        run_id: str = "",
        image: Any = None,
        wanted: Any = None,
        aside: Any = None,
    ) -> Execution:
        """Run a request to its end in a worker; see `Runner.execute`.

        Of files it returns pictures alone, and those `with_pictures`.

        Of `aside` it has no need: nobody's turns are on the caller's thread. Apps, which have
        images of their own, run by `RemoteApps`.

        Raises:
            WorkerLostError: its process ended. What it did outside is in its journal.
        """
        del aside
        if image is not None or wanted is not None:
            raise InternalError("an image that was made here is in no worker: see RemoteApps")
        self.prepare(request)
        process = self.processes.pick()  # before the time of the run begins
        conversation = Conversation(
            self, request, handlers=handlers, on_output=on_output, sink=sink, cancel=cancel
        )
        options = conversation.options(
            run_id or new_run_id(), replay=replay, resume=resume, record=record
        )
        return conversation.run(process, lambda job: frames.Run(job=job, options=options))

    def begin(
        self,
        request: RunRequest,
        *,
        run_id: str,
        on_output: OutputListener | None,
        cancel: CancelToken,
        done: Callable[[Execution | None, BaseException | None], None],
    ) -> bool:
        """Begin a run that asks nothing of the world and is not recorded; False if it cannot.

        It does not block: what would is left to `execute`.

        Args:
            request: what to run.
            run_id: its id.
            on_output: gets each piece of output.
            cancel: stops it.
            done: called when it is over, on the thread that listens to its worker.
        """
        name = request.image_name, request.limits.guests.fuel > 0
        size = len(request.code) + len(request.stdin) + sum(len(f.content) for f in request.files)
        process = self.processes.pick_now()
        is_simple = not request.policy.kinds and request.policy.net is None
        if process is None or not is_simple or name not in self._prepared or size > _SMALL_BYTES:
            return False
        job = QuickJob(self, process, request, on_output, cancel, done)
        return job.begin(run_id)

    def machine(
        self,
        settings: SessionSettings,
        limits: Limits,
        *,
        key: bytes,
        snapshot: bytes | None,
        tail: Iterable[Step],
        kept: Kept,
    ) -> SessionMachine:
        """Return a session's machine, awake in a worker; see `SessionMachine`."""
        return RemoteMachine(
            self, settings, limits, key=key, snapshot=snapshot, tail=tail, kept=kept
        )
