"""Apps whose code runs in worker processes.

Invariants:
- a worker has a version at hand before the first run of it there, at most
  `server.worker_app_count_max` of them beside those that run; those used longest ago go;
- a run that its worker took along is executed once more if nothing was heard of it: it can have
  done nothing. Else it ends with `WorkerLostError`;
- no guest, and no top level of an app, runs in this process.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import msgspec

from cloche.apps.adapters.evaluation import Evaluated, Recipe
from cloche.apps.manifest import APP_KIND
from cloche.engine.adapters.handout import Handout, hand_out
from cloche.errors import InternalError
from cloche.exec.adapters.runner import new_run_id
from cloche.exec.errors import WorkerLostError, WorkersStoppedError
from cloche.gate.policy import NET_KIND, Policy
from cloche.server import worker_frames as frames
from cloche.server.adapters.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.engine.adapters.images import Image
    from cloche.engine.virtual_os import Stream
    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, Wanted
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.server.adapters.processes import WorkerProcess
    from cloche.server.adapters.remote import WorkerRunner

_TRY_COUNT: Final = 2
_numbers = itertools.count(1)  # of apps, one sequence for all workers of this process
_evaluated = msgspec.msgpack.Decoder(frames.EvaluatedFrame).decode


class _App:
    """A version as workers are told of it."""

    def __init__(
        self, number: int, handout: Handout, request: RunRequest, told: dict[str, Any]
    ) -> None:
        self.number = number
        self._handout = handout
        self._request = request
        self._told = told

    def has(self, request: RunRequest) -> bool:
        """Whether a request differs from the others in what may differ alone."""
        own = self._request
        return (
            request.env is own.env and request.policy is own.policy and request.state == own.state
        )

    def limits_for(self, request: RunRequest) -> bytes:
        """Return what is said of the limits of a request."""
        if request.limits is self._request.limits:
            return b""
        return frames.limits_text(request.limits)

    def frame(self) -> tuple[frames.HoldApp, tuple[int, int]]:
        """Return the frame that brings it to a worker, and the descriptors that go with it."""
        handout = self._handout
        frame = frames.HoldApp(
            job=0,
            app=self.number,
            image_id=handout.image_id,
            base=handout.base,
            fuel=handout.fuel,
            memory_bytes=handout.memory_bytes,
            **self._told,
        )
        return frame, (handout.memory, handout.content)


class RemoteApps:
    """Runs the code of apps in workers (`Guests`).

    Args:
        runner: has the workers; of the store of the apps.
    """

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._apps: WeakKeyDictionary[Image, _App] = WeakKeyDictionary()

    def evaluate(self, recipe: Recipe) -> Evaluated:
        """See `Guests`."""
        runner, request = self._runner, recipe.request
        runner.images.get(recipe.image, fuel=recipe.fuel)  # workers find it in the cache
        if request.guest_language == "javascript":
            runner.images.typescript()
        conversation = Conversation(runner, request)
        conversation.run_id = "build"
        done = conversation.talk(
            runner.processes.pick(),
            lambda job: frames.Evaluate(
                job=job,
                image=recipe.image,
                fuel=recipe.fuel,
                files=dict(recipe.files),
                request=frames.request_frame(request, runner.limits),
            ),
        )
        try:
            told = _evaluated(done.value)
        except msgspec.DecodeError as error:
            raise InternalError(
                f"a worker evaluated an app and told nothing of it: {error}"
            ) from error
        execution = conversation.execution(done)
        if execution.error is None and told.snapshot is None:
            raise InternalError("a worker evaluated an app and kept nothing of it")
        return Evaluated(
            execution=execution,
            handlers=None if told.handlers is None else frozenset(told.handlers),
            asked=tuple(told.asked),
            printed=told.printed,
            snapshot=told.snapshot,
        )

    def hold(self, image: Image) -> None:
        """See `Guests`."""

    def execute(
        self,
        image: Image,
        request: RunRequest,
        *,
        is_warm: bool = False,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        sink: JournalSink | None = None,
        replay: Journal | None = None,
        record: bool = True,
        cancel: CancelToken | None = None,
        run_id: str = "",
        wanted: Wanted | None = None,
    ) -> Execution:
        """See `Guests`.

        Raises:
            WorkerLostError: the process ended.
        """
        run_id = run_id or new_run_id()
        for number in range(1, _TRY_COUNT + 1):
            process = self._runner.processes.pick()  # before the time of the run begins
            conversation = Conversation(
                self._runner, request, handlers=handlers, on_output=on_output, sink=sink,
                cancel=cancel,
            )  # fmt: skip
            conversation.run_id = run_id
            app = self._app_of(image, request, is_warm=is_warm)
            conversation.told = getattr((handlers or {}).get(APP_KIND), "told", frozenset())
            frame = self._frame(app, request, conversation, replay)
            journal = "none" if sink is None or not record else "all"
            frame = msgspec.structs.replace(
                frame, journal="failed" if wanted is not None and journal == "all" else journal
            )
            try:
                return self._run(process, app, conversation, frame)
            except WorkersStoppedError:
                raise
            except WorkerLostError:
                if conversation.has_asked or process.is_condemned or number == _TRY_COUNT:
                    raise
        raise InternalError("a run was tried and neither ended nor failed")

    def _run(
        self,
        process: WorkerProcess,
        app: _App,
        conversation: Conversation,
        frame: frames.RunApp,
    ) -> Execution:
        self._take(process, app)
        try:
            return conversation.run(process, lambda job: msgspec.structs.replace(frame, job=job))
        finally:
            self._let_go(process, app)

    def _frame(
        self, app: _App, request: RunRequest, conversation: Conversation, replay: Journal | None
    ) -> frames.RunApp:
        is_like = replay is None and app.has(request)
        return frames.RunApp(
            job=0,
            app=app.number,
            code=request.code,
            stdin=request.stdin,
            seed=request.seed,
            now_ns=request.now_ns,
            run_id=conversation.run_id,
            told=sorted(conversation.told),
            limits=app.limits_for(request) if is_like else b"",
            replay=None if replay is None else frames.journal_bytes(replay, request.limits),
            request=None if is_like else frames.request_frame(request, self._runner.limits),
            secrets=conversation.secrets(may_lack=replay is not None),
        )

    # --- what workers have at hand ---

    def _app_of(self, image: Image, request: RunRequest, *, is_warm: bool) -> _App:
        with self._lock:
            app = self._apps.get(image)
            if app is None:
                told = {
                    "request": frames.request_frame(request, self._runner.limits),
                    "kinds": _kinds(request.policy),
                    "is_warm": is_warm,
                }
                app = self._apps[image] = _App(next(_numbers), hand_out(image), request, told)
            return app

    def _take(self, process: WorkerProcess, app: _App) -> None:
        """See to it that a worker has a version at hand, and keeps it for a run."""
        held, number = process.apps, app.number
        with held.lock:
            if number not in held.uses:
                process.send_with(*app.frame())
                held.uses[number] = 0
            held.uses[number] += 1
            held.uses.move_to_end(number)
            self._make_room(process)

    def _make_room(self, process: WorkerProcess) -> None:
        held = process.apps
        excess = len(held.uses) - self._runner.server.worker_app_count_max
        idle = [number for number, count in held.uses.items() if not count]
        for number in idle[: max(excess, 0)]:
            self._drop(process, number)

    def _let_go(self, process: WorkerProcess, app: _App) -> None:
        held, number = process.apps, app.number
        with held.lock:
            held.uses[number] -= 1
            if not held.uses[number] and number in held.released:
                self._drop(process, number)

    def _drop(self, process: WorkerProcess, number: int) -> None:
        del process.apps.uses[number]
        process.apps.released.discard(number)
        process.send(frames.DropApp(job=0, app=number))

    def tend(self, image: Image) -> None:
        """See `Guests`: workers do it."""

    def release(self, image: Image) -> None:
        """See `Guests`."""
        with self._lock:
            app = self._apps.pop(image, None)
        if app is None:
            return
        for process in self._runner.processes.all():
            held = process.apps
            with held.lock:
                if held.uses.get(app.number):
                    held.released.add(app.number)
                elif app.number in held.uses:
                    self._drop(process, app.number)

    def close(self) -> None:
        """See `Guests`: the workers end by themselves."""


def _kinds(policy: Policy) -> dict[str, bool]:
    """Return the effects that somebody may perform, and whether they can be cancelled."""
    found = dict.fromkeys((kind for kind, _ in policy.kinds), False)
    return found if policy.net is None else {**found, NET_KIND: True}
