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
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakKeyDictionary, WeakSet

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
    from cloche.server.worker_frames import Done

_TRY_COUNT: Final = 2
_SMALL_BYTES: Final = 1 << 16  # what a socket takes without anybody at its other end
_numbers = itertools.count(1)  # of apps, one sequence for all workers of this process
_evaluated = msgspec.msgpack.Decoder(frames.EvaluatedFrame).decode


class _App:
    """A version as workers are told of it."""

    def __init__(
        self, number: int, handout: Handout, request: RunRequest, told: dict[str, Any]
    ) -> None:
        self.number = number
        self.is_released = False  # no worker keeps it beyond a run
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


class _Attempt:
    """A run of an app that one worker is to execute."""

    def __init__(
        self,
        process: WorkerProcess,
        app: _App,
        conversation: Conversation,
        said: dict[str, Any],
    ) -> None:
        self.process = process
        self.app = app
        self.conversation = conversation
        self._said = said

    def frame(self, job: int) -> frames.RunApp:
        """Return what is said of it first."""
        return frames.RunApp(job=job, **self._said)

    @property
    def may_repeat(self) -> bool:
        """Whether a run that was lost did nothing, and did not end its worker by being slow."""
        return not self.conversation.has_asked and not self.process.is_condemned


class RemoteApps:
    """Runs the code of apps in workers (`Guests`).

    Args:
        runner: has the workers; of the store of the apps.
    """

    is_apart = True

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._apps: WeakKeyDictionary[Image, _App] = WeakKeyDictionary()
        self._released: WeakSet[Image] = WeakSet()  # those that nobody is to ask again

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
        with self._lock:
            self._released.discard(image)

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
        options: dict[str, Any] = {
            "handlers": handlers, "on_output": on_output, "sink": sink, "replay": replay,
            "record": record, "cancel": cancel, "run_id": run_id or new_run_id(), "wanted": wanted,
        }  # fmt: skip
        return self._execute(image, request, _TRY_COUNT, is_warm=is_warm, **options)

    def _execute(
        self, image: Image, request: RunRequest, try_count: int, *, is_warm: bool, **options: Any
    ) -> Execution:
        for number in range(1, try_count + 1):
            process = self._runner.processes.pick()  # before the time of the run begins
            app = self._app_of(image, request, is_warm=is_warm)
            attempt = self._attempt(process, app, request, **options)
            self._take(process, attempt.app)
            try:
                return attempt.conversation.run(process, attempt.frame)
            except WorkersStoppedError:
                raise
            except WorkerLostError:
                if not attempt.may_repeat or number == try_count:
                    raise
            finally:
                self._let_go(process, attempt.app)
        raise InternalError("a run was tried and neither ended nor failed")

    def begin(
        self,
        image: Image,
        request: RunRequest,
        done: Callable[[Execution | None, BaseException | None], None],
        elsewhere: Callable[[Callable[[], None]], None],
        *,
        handlers: Mapping[str, EffectHandler],
        on_output: Callable[[Stream, bytes], None] | None,
        sink: JournalSink | None,
        cancel: CancelToken,
        run_id: str,
        wanted: Wanted | None,
    ) -> bool:
        """See `Guests`. A version that no worker has yet is left to `execute`."""
        process = self._runner.processes.pick_now()
        app = self._apps.get(image)
        if process is None or app is None or len(request.stdin) > _SMALL_BYTES:
            return False
        if (request.policy.net or {}).get("secrets"):
            return False  # they are read first
        if not self._take_held(process, app):
            return False
        options: dict[str, Any] = {
            "handlers": handlers, "on_output": on_output, "sink": sink, "cancel": cancel,
            "run_id": run_id, "wanted": wanted,
        }  # fmt: skip
        attempt = self._attempt(process, app, request, **options)

        def over(end: Done | None, error: BaseException | None) -> None:
            self._let_go(process, app)
            execution = None
            if end is not None:
                try:
                    execution = attempt.conversation.execution(end)
                except BaseException as problem:  # noqa: BLE001 - told to who waits for the end
                    error = problem
            elif (
                isinstance(error, WorkerLostError)
                and not isinstance(error, WorkersStoppedError)
                and attempt.may_repeat
            ):
                try:  # elsewhere: who is lost says nothing
                    left = _TRY_COUNT - 1
                    execution = self._execute(image, request, left, is_warm=False, **options)
                except BaseException as problem:  # noqa: BLE001 - as above
                    error = problem
            done(execution, error)

        is_begun = attempt.conversation.begin(process, attempt.frame, over, elsewhere)
        if not is_begun:
            self._let_go(process, app)
        return is_begun

    def _attempt(
        self,
        process: WorkerProcess,
        app: _App,
        request: RunRequest,
        *,
        handlers: Mapping[str, EffectHandler] | None,
        on_output: Callable[[Stream, bytes], None] | None,
        sink: JournalSink | None,
        cancel: CancelToken | None,
        run_id: str,
        wanted: Wanted | None,
        replay: Journal | None = None,
        record: bool = True,
    ) -> _Attempt:
        conversation = Conversation(
            self._runner, request, handlers=handlers, on_output=on_output, sink=sink, cancel=cancel
        )
        conversation.run_id = run_id
        conversation.told = getattr((handlers or {}).get(APP_KIND), "told", frozenset())
        is_like = replay is None and app.has(request)
        is_kept = record and sink is not None
        journal: Literal["none", "failed", "all"] = "none"
        if is_kept:
            journal = "all" if wanted is None else "failed"
        said: dict[str, Any] = {
            "app": app.number,
            "code": request.code,
            "stdin": request.stdin,
            "seed": request.seed,
            "now_ns": request.now_ns,
            "run_id": run_id,
            "limits": app.limits_for(request) if is_like else b"",
            "journal": journal,
            "told": sorted(conversation.told),
            "secrets": conversation.secrets(may_lack=replay is not None),
        }
        if not is_like:
            said["request"] = frames.request_frame(request, self._runner.limits)
        if replay is not None:
            said["replay"] = frames.journal_bytes(replay, request.limits)
        return _Attempt(process, app, conversation, said)

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
            app.is_released = image in self._released
            return app

    def _take_held(self, process: WorkerProcess, app: _App) -> bool:
        """Keep a version for a run where the worker has it; False where it has not."""
        held, number = process.apps, app.number
        with held.lock:
            if number not in held.uses:
                return False
            held.uses[number] += 1
            held.uses.move_to_end(number)
        return True

    def _take(self, process: WorkerProcess, app: _App) -> None:
        """See to it that a worker has a version at hand, and keeps it for a run; may wait."""
        held = process.apps
        with held.sending:
            if self._take_held(process, app):
                return
            process.send_with(*app.frame())
            with held.lock:
                held.uses[app.number] = 1
                excess = len(held.uses) - self._runner.server.worker_app_count_max
                idle = [number for number, count in held.uses.items() if not count]
                gone = idle[: max(excess, 0)]
                for number in gone:
                    del held.uses[number]
            for number in gone:
                process.send(frames.DropApp(job=0, app=number))

    def _let_go(self, process: WorkerProcess, app: _App) -> None:
        """A run is over. Never waits."""
        held = process.apps
        with held.lock:
            held.uses[app.number] -= 1
            is_idle = not held.uses[app.number]
        if is_idle and app.is_released:
            threading.Thread(
                target=self._drop, args=(process, app), name="cloche-drop", daemon=True
            ).start()

    def _drop(self, process: WorkerProcess, app: _App) -> None:
        """Let a worker forget a version that nobody asks there; may wait."""
        held = process.apps
        with held.sending:
            with held.lock:
                is_idle = held.uses.get(app.number) == 0
                if is_idle:
                    del held.uses[app.number]
            if is_idle:
                process.send(frames.DropApp(job=0, app=app.number))

    def tend(self, image: Image) -> None:
        """See `Guests`: workers do it."""

    def release(self, image: Image) -> None:
        """See `Guests`."""
        with self._lock:
            self._released.add(image)
            app = self._apps.get(image)
        if app is not None:
            app.is_released = True
            for process in self._runner.processes.all():
                self._drop(process, app)

    def close(self) -> None:
        """See `Guests`: the workers end by themselves."""


def _kinds(policy: Policy) -> dict[str, bool]:
    """Return the effects that somebody may perform, and whether they can be cancelled."""
    found = dict.fromkeys((kind for kind, _ in policy.kinds), False)
    return found if policy.net is None else {**found, NET_KIND: True}
