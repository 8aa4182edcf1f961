"""What the server and a worker say of one job, from its first frame to its last.

Owns what the server does for a job: keeping its journal, performing its effects, fetching what is
kept. Invariants:
- a worker is asked for nothing but to compute, and is believed nothing but what its own run came
  to: an effect is decided again by the policy of the run, counted again, and performed here;
- secrets stay here; those that a run's policy names go with that run, to be taken out of its text;
- a worker that says more than its run can have to say, or asks for what is not of its job, is ended
  (`worker_bounds.py`); the id of a run is the server's, never what its worker calls it;
- what the server itself meets is raised when the worker has ended the job, as it is;
- a worker that does not stop when it has to is ended.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.engine.abi import GuestStopped
from cloche.errors import InternalError
from cloche.exec.adapters.effects import CancelToken
from cloche.exec.adapters.net import NetHandlers
from cloche.exec.errors import WorkerLostError
from cloche.gate.canonical import decode, encode_plain
from cloche.gate.effect import EffectError, EffectRequest
from cloche.gate.errors import ValueInvalidError
from cloche.gate.policy import NET_KIND, Deny, decide
from cloche.gate.ports import Cancels, EffectFailure, EffectSuspended
from cloche.server import worker_frames as frames
from cloche.server.adapters.quick_job import Patience, execution_of
from cloche.server.worker_bounds import Said, WorkerLiesError, size_of
from cloche.server.worker_errors import error_of
from cloche.server.worker_frames import Answer, Done, FrameTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.exec.adapters.runner import Execution, OutputListener
    from cloche.exec.adapters.session_machine import Kept
    from cloche.exec.request import RunRequest
    from cloche.exec.session_log import Step
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.limits import Limits
    from cloche.server.adapters.processes import WorkerProcess
    from cloche.server.adapters.remote import WorkerRunner

NS_PER_MS: Final = 1_000_000
_POLL_S: Final = 0.5
_APP_KIND: Final = "app"
_REFUSED: Final = EffectError(
    code="EFFECT_REFUSED", message="the policy of this run does not allow this effect"
)
_UNAVAILABLE: Final = EffectError(
    code="EFFECT_UNAVAILABLE", message="nothing in this run answers effects of this kind"
)


_Quick = tuple[
    "Callable[[Done | None, BaseException | None], None]",
    "Callable[[Callable[[], None]], None]",
]


class Conversation:
    """What is said of one job, until it is done.

    Args:
        runner: whose job it is.
        request: what runs; None where nothing does.
        handlers: who performs effects.
        on_output: gets each piece of output.
        sink: keeps the journal. One that says `is_late` gets it with the end.
        cancel: stops the job.
        kept: where contents and journals are.
        limits: of the session that is woken.
        tail: its steps: what of it may be fetched.
    """

    def __init__(
        self,
        runner: WorkerRunner,
        request: RunRequest | None = None,
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: OutputListener | None = None,
        sink: JournalSink | None = None,
        cancel: CancelToken | None = None,
        kept: Kept | None = None,
        limits: Limits | None = None,
        tail: Sequence[Step] = (),
    ) -> None:
        self._runner = runner
        self._request = request
        self._given = handlers if handlers is not None else {}
        self._on_output = on_output
        self._sink = sink
        self._cancel = cancel or CancelToken()
        self._kept = kept
        self._limits = limits
        self._fault: BaseException | None = None
        self._effects: dict[int, tuple[EffectRequest, EffectHandler]] = {}
        self.run_id = ""
        bounds = request.limits if request is not None else limits or runner.limits
        self._said = Said(bounds, tail)
        self._waiting_bytes = 0
        self._waiting_lock = threading.Lock()
        self._process: WorkerProcess | None = None
        self._job = 0
        self._quick: _Quick | None = None  # of a job that nobody waits for
        self.told: frozenset[str] = frozenset()  # effects of an app that may be told
        self.has_asked = False  # whether the worker said or asked anything before the end
        self.is_awake = True  # of a run in a machine: whether that lives on
        self._frames: queue.SimpleQueue[frames.FromWorker | None] = queue.SimpleQueue()
        ends_ns = None
        if request is not None:
            ends_ns = time.monotonic_ns() + request.limits.guests.timeout_ms * NS_PER_MS
            self._handlers = NetHandlers(self._given, request, store=runner.store, ends_ns=ends_ns)
        self._ends_ns = ends_ns

    def options(
        self,
        run_id: str,
        *,
        replay: Journal | None = None,
        resume: Journal | None = None,
        record: bool = True,
        is_streamed: bool | None = None,
    ) -> frames.RunOptions:
        """Return how the request is to be run."""
        request = self._request
        assert request is not None
        self.run_id = run_id
        limits = request.limits
        journal: frames.Journaling = "none"
        if self._sink is not None:
            journal = "late" if getattr(self._sink, "is_late", False) else "each"
        return frames.RunOptions(
            request=frames.request_frame(request, self._runner.limits),
            run_id=run_id,
            kinds=self.kinds(),
            journal=journal,
            is_recorded=record,
            replay=None if replay is None else frames.journal_bytes(replay, limits),
            resume=None if resume is None else frames.journal_bytes(resume, limits),
            is_streamed=self._on_output is not None if is_streamed is None else is_streamed,
            secrets=self.secrets(may_lack=replay is not None or resume is not None),
            has_pictures=self._runner.has_pictures,
        )

    def kinds(self) -> dict[str, bool]:
        """Return the effects that somebody performs here; calls get theirs with the first one."""
        request = self._request
        assert request is not None
        found: dict[str, bool] = {}
        for kind, _ in request.policy.kinds:
            handler = self._given.get(kind)
            if handler is not None:
                found[kind] = isinstance(handler, Cancels)
        if request.policy.net is not None:
            handler = self._given.get(NET_KIND)
            found[NET_KIND] = handler is None or isinstance(handler, Cancels)
        return found

    def secrets(self, *, may_lack: bool) -> bytes:
        """Return what is to be taken out of what the run prints, as `RunOptions` has it."""
        request = self._request
        assert request is not None
        net = request.policy.net
        if net is None or not net.get("secrets"):
            return b""
        from cloche.egress.allowlist import NetPolicy  # noqa: PLC0415 - as above
        from cloche.egress.errors import NetStoreError  # noqa: PLC0415 - for runs with secrets
        from cloche.egress.open import default_service  # noqa: PLC0415 - as above

        known = NetPolicy.from_document(net)
        try:
            found = default_service(self._runner.store).call(
                lambda egress: egress.known_secrets(known)
            )
        except NetStoreError:
            if not may_lack:
                raise
            return b""
        return msgspec.json.encode(list(found))

    # --- talking ---

    def run(self, process: WorkerProcess, make: Callable[[int], frames.Frame]) -> Execution:
        """Let a run be executed; return what it came to."""
        return self.execution(self.talk(process, make))

    def execution(self, done: Done) -> Execution:
        """Return what a run came to that is over; its journal is kept then."""
        self.is_awake = done.is_awake
        if done.execution is None:
            raise InternalError("a worker ended a run without saying what it came to")
        if self._sink is not None and done.records:
            self._said.records(done.records)
            self._sink.append(done.records)
        return execution_of(done.execution, self.run_id)

    def talk(self, process: WorkerProcess, make: Callable[[int], frames.Frame]) -> Done:
        """Send a job and do what is asked for it, until it is done.

        Raises:
            WorkerLostError: its process ended. ClocheError: what it met. Whatever was met here.
        """
        self._process = process
        job = self._job = process.open(self)
        try:
            self._cancel.bind(lambda: process.send(frames.Cancel(job=job)))
            process.send(make(job))
            done = self._listen(process, job)
        finally:
            self._close()
        return self._checked(done)

    def begin(
        self,
        process: WorkerProcess,
        make: Callable[[int], frames.Frame],
        over: Callable[[Done | None, BaseException | None], None],
        elsewhere: Callable[[Callable[[], None]], None],
    ) -> bool:
        """Send a job and do not wait; False if that cannot be, and nothing was sent.

        Args:
            process: that does it.
            make: of the number of the job, its frame.
            over: called when it is done: at once by who hears of it, or elsewhere when the worker
                asks for something before.
            elsewhere: does something that waits on another thread.
        """
        self._process, self._quick = process, (over, elsewhere)
        self._patience = Patience(self._runner, self._cancel, self._ends_ns)
        try:
            job = self._job = process.open(self)
        except WorkerLostError:
            return False
        self._runner.watch(self)
        if not process.send_now(make(job)):
            is_begun = self._take_quick() is None  # it was lost just now, and that is told
            if not is_begun:
                self._runner.forget(self)
                self._close()
            return is_begun
        self._cancel.bind(lambda: process.send(frames.Cancel(job=job)))
        return True

    def check_time(self) -> None:
        """End the worker when it does not stop in time."""
        if self._process is not None and self._quick is not None:
            self._patience.check(self._process)

    def _take_quick(self) -> _Quick | None:
        with self._waiting_lock:
            quick, self._quick = self._quick, None
        return quick

    def _is_quick(self, frame: frames.FromWorker | None) -> bool:
        """Whether what a frame asks for is begun, or done, without waiting for anything."""
        if isinstance(frame, frames.Output):
            # An effect that is performed may hold what another one waits for.
            return frame.stream not in frames.TOLD or not self._effects
        return isinstance(frame, frames.Effect) and frame.kind in self._given

    def _put_quick(self, frame: Any) -> None:
        process = self._process
        assert process is not None
        try:
            self._take(process, self._job, frame)
        except WorkerLiesError as lie:
            self._refused(lie)  # who waits for the end hears of it as of a loss

    def _put_first(self, frame: frames.FromWorker | None, quick: _Quick) -> None:
        """Take the end of a job that nobody waits for, or let somebody wait for it from now on."""
        over, elsewhere = quick
        self._runner.forget(self)
        if isinstance(frame, Done):
            self._finish(over, lambda: self._heard(frame))
        else:
            self._frames.put(frame)
            process = self._process
            assert process is not None
            elsewhere(lambda: self._finish(over, lambda: self._listen(process, self._job)))

    def _finish(
        self,
        over: Callable[[Done | None, BaseException | None], None],
        listen: Callable[[], Done],
    ) -> None:
        try:
            try:
                done = listen()
            finally:
                self._close()
            done = self._checked(done)
        except BaseException as error:  # noqa: BLE001 - told to who is told of the end
            over(None, error)
        else:
            over(done, None)

    def _close(self) -> None:
        if self._process is not None:
            self._process.close(self._job)
        if self._request is not None:
            self._handlers.close()

    def _checked(self, done: Done) -> Done:
        if self._fault is not None:
            raise self._fault
        if done.is_fault:
            raise InternalError("a worker names a fault that nobody had")
        if done.error is not None:
            raise error_of(done.error)
        return done

    def put(self, frame: frames.FromWorker | None) -> None:
        """Take what the worker says, until it is listened to (a `Box`)."""
        if self._quick is not None:
            if self._is_quick(frame):
                self._put_quick(frame)
                return
            quick = self._take_quick()
            if quick is not None:
                self._put_first(frame, quick)
                return
        with self._waiting_lock:
            self._waiting_bytes += size_of(frame)
            is_much = self._waiting_bytes > self._runner.server.worker_frame_limit_bytes
        if is_much and frame is not None and self._process is not None:
            self._process.kill("it said more than anybody takes")
            return
        self._frames.put(frame)

    def _next(self) -> frames.FromWorker | None:
        frame = self._frames.get(timeout=_POLL_S)
        with self._waiting_lock:
            self._waiting_bytes -= size_of(frame)
        return frame

    def _listen(self, process: WorkerProcess, job: int) -> Done:
        patience = Patience(self._runner, self._cancel, self._ends_ns)
        while True:
            try:
                frame = self._next()
            except queue.Empty:
                patience.check(process)
                continue
            if frame is None:
                raise process.loss()
            if isinstance(frame, Done):
                return self._heard(frame)
            try:
                self._take(process, job, frame)
            except WorkerLiesError as lie:
                raise self._refused(lie) from None

    def _heard(self, done: Done) -> Done:
        """Take what was said with the end."""
        try:
            for stream, data in done.output:
                self._hear(stream, data)
        except WorkerLiesError as lie:
            raise self._refused(lie) from None
        return done

    def _refused(self, lie: WorkerLiesError) -> WorkerLostError:
        problem = f"it {lie.fields['problem']}"
        if self._process is not None:
            self._process.kill(problem)
        return WorkerLostError(problem)

    def _take(self, process: WorkerProcess, job: int, frame: Any) -> None:
        self.has_asked = True
        if isinstance(frame, frames.Output):
            self._hear(frame.stream, frame.data)
        elif isinstance(frame, frames.Records):
            self._said.records(frame.records)
            self._answer(process, job, frame.question, lambda: self._keep(frame.records))
        elif isinstance(frame, frames.Fetch):
            if self._kept is not None:
                self._said.fetch(frame.name)
            self._answer(process, job, frame.question, lambda: self._fetch(frame))
        elif isinstance(frame, frames.Effect):
            self._begin_effect(process, job, frame)
        elif isinstance(frame, frames.CancelEffect):
            found = self._effects.get(frame.question)
            if found is not None and isinstance(found[1], Cancels):
                found[1].cancel(found[0])

    def _hear(self, stream: frames.Heard, data: bytes) -> None:
        if stream in ("stdout", "stderr"):
            self._said.output(len(data))
            if self._on_output is not None:
                self._on_output(stream, data)
        else:
            self._hear_effect(stream, data)

    def _hear_effect(self, target: str, data: bytes) -> None:
        """Perform an effect of an app that needs no answer: who tells of it has checked it."""
        request = self._request
        if request is None or target not in self.told:
            raise WorkerLiesError("tells of what its run does not")
        wanted = EffectRequest(
            sequence=0, task="main", ordinal=0, kind=_APP_KIND, target=target, args=_decoded(data)
        )
        self._said.told(len(data))
        handler = self._handlers.get(_APP_KIND)
        if handler is None or isinstance(decide(request.policy, _APP_KIND, target), Deny):
            raise WorkerLiesError("tells of what its run does not")
        try:
            handler.perform(wanted, self.run_id)
        except EffectFailure:
            pass  # the client is gone, which the app need not hear
        except BaseException as error:  # noqa: BLE001 - as in `_answer`
            self._fault = error
            self._cancel.cancel()

    def _answer(
        self, process: WorkerProcess, job: int, question: int, find: Callable[[], bytes]
    ) -> None:
        if self._fault is not None:
            process.send(Answer(job=job, question=question, kind="fault"))
            return
        try:
            answer = Answer(job=job, question=question, kind="value", data=find())
        except EffectFailure as failure:
            data = msgspec.json.encode(failure.error)
            answer = Answer(job=job, question=question, kind="failure", data=data)
        except EffectSuspended as suspended:
            data = msgspec.json.encode(suspended.due_ns)
            answer = Answer(job=job, question=question, kind="suspended", data=data)
        except GuestStopped as stopped:
            data = msgspec.json.encode(stopped.stop)
            answer = Answer(job=job, question=question, kind="stop", data=data)
        except BaseException as error:  # noqa: BLE001 - raised when the worker has ended the run
            self._fault = error
            answer = Answer(job=job, question=question, kind="fault")
        try:
            process.send(answer)
        except FrameTooLargeError:
            process.send(Answer(job=job, question=question, kind="value"))

    def _keep(self, records: list[bytes]) -> bytes:
        if self._sink is not None:
            self._sink.append(records)
        return b""

    def _fetch(self, frame: frames.Fetch) -> bytes:
        kept, limits = self._kept, self._limits
        if kept is None or limits is None:
            raise InternalError("a worker asks for what its job has nothing to do with")
        if frame.what == "content":
            return kept.content(frame.name)
        journal = kept.journal(frame.name)
        return msgspec.msgpack.encode(
            frames.KeptRun(
                journal=frames.journal_bytes(journal, limits),
                request=frames.request_frame(kept.request(journal), self._runner.limits),
            )
        )

    # --- effects ---

    def _begin_effect(self, process: WorkerProcess, job: int, frame: frames.Effect) -> None:
        """Perform an effect on a thread: others may be asked for meanwhile, or this be given up."""
        request = self._request
        if request is None:
            raise WorkerLiesError("asks for an effect where nothing runs")
        self._said.effect(frame, len(self._effects))
        wanted = EffectRequest(
            sequence=frame.sequence,
            task=frame.task,
            ordinal=frame.ordinal,
            kind=frame.kind,
            target=frame.target,
            args=_decoded(frame.args),
            args_text=frame.args_text,
        )
        is_refused = isinstance(decide(request.policy, frame.kind, frame.target), Deny)
        handler = None if is_refused else self._handlers.get(frame.kind)
        threads = self._runner.threads
        if handler is None:
            data = msgspec.json.encode(_REFUSED if is_refused else _UNAVAILABLE)
            answer = Answer(job=job, question=frame.question, kind="failure", data=data)
            threads.give(lambda: process.send(answer))
            return
        self._effects[frame.question] = wanted, handler
        threads.give(lambda: self._perform(process, job, frame, wanted, handler))

    def _perform(
        self,
        process: WorkerProcess,
        job: int,
        frame: frames.Effect,
        wanted: EffectRequest,
        handler: EffectHandler,
    ) -> None:
        def value() -> bytes:
            found = handler.perform(wanted, self.run_id)
            try:
                return encode_plain(found)
            except ValueInvalidError:
                return b""  # the gate of the worker says what is wrong with it

        try:
            self._answer(process, job, frame.question, value)
        finally:
            self._effects.pop(frame.question, None)


def _decoded(args: bytes) -> Any:
    try:
        return decode(args)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WorkerLiesError("asks for an effect with arguments that are none") from None
