"""Runs a request: instance, gate, turns, outcome.

Owns the order of a run's life: image (outside the deadline), gate opened, files in place, turns
until the guest is done or stopped, gate finished, files taken out.
Invariants: a guest's fault is data in the returned `Execution`; what is raised is the host's
fault (a broken handler, a full disk, a divergence), and the instance is closed then too.
"""

from __future__ import annotations

import copy
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from cloche.engine import abi
from cloche.engine.abi import Report, Stop
from cloche.engine.adapters.machine import Machine
from cloche.engine.adapters.pool import Pool
from cloche.engine.errors import TypeScriptError
from cloche.engine.nodes import FileSystemError
from cloche.engine.snippets import as_script
from cloche.engine.virtual_os import Stream
from cloche.exec.adapters.effects import CancelToken, Effects
from cloche.exec.adapters.net import NetHandlers, scrubber_of
from cloche.exec.adapters.output import Output
from cloche.exec.errors import ExecError, InvalidRunError
from cloche.exec.outcome import Ending, ending_of
from cloche.gate.entries import RunInputs, RunOutcome
from cloche.gate.gate import Gate

if TYPE_CHECKING:
    from cloche.egress.secrets import Scrubber
    from cloche.engine.adapters.images import Image, Images
    from cloche.engine.adapters.instance import Instance
    from cloche.engine.vfs import FileSystem, StoredFile
    from cloche.exec.adapters.session_machine import Kept, SessionMachine
    from cloche.exec.request import RunRequest
    from cloche.exec.session_log import SessionSettings, Step
    from cloche.exec.types import ExecResult
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.limits import Limits

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
RUN_ID_BYTES: Final = 16

OutputListener = Callable[[Stream, bytes], None]
Wanted = Callable[[ExecError | None], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """What a run that was put away waits for: a time (wall clock), or something else (None)."""

    due_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A run that is over, or was put away.

    Args:
        run_id: unique, not part of the journal.
        result: output, exit code, time, memory.
        error: None when the program ended by itself, whatever its exit code.
        exit_code: what a shell would see.
        files: what the file system holds, sorted by path; empty for a run in a session, which
            keeps its files.
        journal_hash: names the run: equal for equal runs; None when nothing was recorded.
        image: name of the image it ran in.
        fuel_used: instructions, when the run was given fuel.
        suspension: set when the run was put away: it has no end and no journal hash yet.
    """

    run_id: str
    language: str
    result: ExecResult
    error: ExecError | None
    exit_code: int
    files: tuple[StoredFile, ...] = field(repr=False)
    journal_hash: str | None
    image: str
    fuel_used: int | None = None
    suspension: Suspension | None = None


class Aside(Protocol):
    """Another thread for the turns of a run, so that the caller is back when it wants to be."""

    @property
    def is_left(self) -> bool:
        """Whether it was left behind: only after `end` it closes the instance, by itself."""

    def run(self, turns: Callable[[], Report | Stop], stop: Callable[[], None]) -> Report | Stop:
        """Return what the turns come to, or why they were left behind, in a call of the host.

        Args:
            turns: of the run.
            stop: makes them end soon; for who cannot wait for them.
        """

    def end(self) -> None:
        """Let what was left behind end: nobody looks at the run any more."""


class Runner:
    """Runs requests. One per process is enough; callable from any thread.

    Args:
        images: where instances come from.
        pool_size: how many ready instances to keep per image in use.
    """

    def __init__(self, images: Images, *, pool_size: int = 0) -> None:
        self.images = images
        self._pool = Pool(pool_size)
        self.store: str | None = None

    def for_store(self, url: str) -> Runner:
        """Return a runner with the same images for the runs of a store.

        Their lists, secrets and log of outbound HTTP are those beside that store; those of other
        runners are the process's.
        """
        runner = copy.copy(self)
        runner.store = url
        return runner

    def with_pool(self, pool: Pool) -> Runner:
        """Return a runner with the same images that takes its instances from this pool."""
        runner = copy.copy(self)
        runner._pool = pool
        return runner

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
        """Return a session's machine, awake; see `SessionMachine`."""
        from cloche.exec.adapters.session_machine import SessionMachine  # noqa: PLC0415 - imports us

        return SessionMachine(
            self, settings, limits, key=key, snapshot=snapshot, tail=tail, kept=kept
        )

    def _scrubber(self, request: RunRequest, *, is_replay: bool) -> Scrubber | None:
        return scrubber_of(request, replaying=is_replay, store=self.store)

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
        image: Image | None = None,
        wanted: Wanted | None = None,
        aside: Aside | None = None,
    ) -> Execution:
        """Run a request to its end.

        Args:
            request: what to run.
            handlers: who performs which kind of effect.
            on_output: gets each piece of output as it is written.
            sink: keeps the journal.
            replay: answers every effect from this journal; nothing is performed.
            resume: the journal of this very run, as far as it came; the run goes on behind it.
            record: False for no journal at all (faster effects, no hash).
            cancel: stops the run from another thread.
            run_id: of the run where it has one; else one is made.
            image: what it starts from, instead of the one that the request names.
            wanted: says at the end whether the sink is to keep the journal, of which it has no
                beginning without its end, unless it grew large; None: all of it, as it comes. Not
                for a run that may be put away.
            aside: has its turns, None for the caller's thread.

        Raises:
            InvalidRunError: the files do not fit or have impossible names.
            ImageError: the image cannot be made.
            DivergenceError: a replay that does something else than was recorded.
            JournalError: the journal would exceed its limits.
        """
        if image is None:
            image = self.images.get(request.image_name, fuel=request.limits.guests.fuel > 0)
        if image.language != request.guest_language:
            raise InvalidRunError(
                f"the image {image.name} runs {image.language}, the program is {request.language}"
            )
        before = replay or resume
        output = Output(on_output, self._scrubber(request, is_replay=before is not None))
        instance = self._pool.take(image)
        run = _Run(self, request, instance, output, cancel or CancelToken(), before)
        try:
            run.attach_machine()
            gate = Gate(
                request.policy,
                request.limits,
                replay=before,
                record=record,
                resume=resume is not None,
                defer=wanted is not None,
            )
            performers = {} if handlers is None else handlers
            return run.execute(gate, performers, sink, run_id=run_id, wanted=wanted, aside=aside)
        finally:
            self._let_go(run, aside)

    def _let_go(self, run: _Run, aside: Aside | None) -> None:
        if aside is not None and aside.is_left:
            aside.end()
        else:
            self._pool.give_back(run.instance)
            run.forget()

    def drop(self, image: Image) -> None:
        """Close the ready instances of an image that is not used any more."""
        self._pool.drop(image)

    def execute_in(
        self,
        instance: Instance,
        request: RunRequest,
        *,
        run_id: str,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: OutputListener | None = None,
        sink: JournalSink | None = None,
        replay: Journal | None = None,
        resume: Journal | None = None,
        record: bool = True,
        cancel: CancelToken | None = None,
        wanted: Wanted | None = None,
    ) -> Execution:
        """Run a request in an instance that lives on: its heap, files, clock and entropy.

        The request's own files are not put in place: they are there already. When the guest was
        stopped the instance is closed afterwards, and its state is lost.

        Args:
            instance: attached to a machine, between two turns.
            request: what to run; `state` is set.
            run_id: names the run in idempotency keys.
            handlers: see `execute`, as for all that follow.
            on_output: gets each piece of output.
            sink: keeps the journal.
            replay: answers every effect.
            resume: the journal of this very run, as far as it came; the run goes on behind it.
            record: whether there is a journal.
            cancel: stops the run.
            wanted: whether the journal is to be kept.

        Raises:
            as `execute`; the instance is then closed.
        """
        before = replay or resume
        done = False
        try:
            output = Output(on_output, self._scrubber(request, is_replay=before is not None))
            run = _Run(self, request, instance, output, cancel or CancelToken(), before)
            run.renew_machine()
            gate = Gate(
                request.policy,
                request.limits,
                replay=before,
                record=record,
                resume=resume is not None,
                defer=wanted is not None,
            )
            execution = run.execute(
                gate, {} if handlers is None else handlers, sink, run_id=run_id, wanted=wanted
            )
            done = True
            return execution
        finally:
            if not done:
                instance.close()


class _Run:
    """One execution in progress."""

    def __init__(
        self,
        runner: Runner,
        request: RunRequest,
        instance: Instance,
        output: Output,
        cancel: CancelToken,
        replay: Journal | None,
    ) -> None:
        self.instance = instance
        self._replay = replay
        self._request = request
        self._cancel = cancel
        self._output = output
        self._runner = runner
        self._one_shot = True

    def attach_machine(self) -> None:
        """Give a fresh instance a machine of its own, with the request's files."""
        request = self._request
        self._machine = Machine(
            request.limits,
            now_ns=request.now_ns,
            seed=request.seed,
            stdin=request.stdin,
            sink=self._output.write,
            transform=self._transform,
        )
        self.instance.attach(self._machine)
        self._place_files(self._machine.files)

    def forget(self) -> None:
        """Let go of the files of a run that is over."""
        self._machine.files.clear()

    def renew_machine(self) -> None:
        """Go on with the machine that the instance has."""
        request, self._machine = self._request, self.instance.machine
        self._one_shot = False
        self._machine.begin_run(
            request.limits,
            now_ns=request.now_ns,
            stdin=request.stdin,
            sink=self._output.write,
            transform=self._transform,
        )
        self.instance.begin_run()

    def execute(
        self,
        gate: Gate,
        handlers: Mapping[str, EffectHandler],
        sink: JournalSink | None,
        *,
        run_id: str = "",
        wanted: Wanted | None = None,
        aside: Aside | None = None,
    ) -> Execution:
        request, machine, instance = self._request, self._machine, self.instance
        run_id = run_id or new_run_id()
        started_ns = time.monotonic_ns()
        ends_ns = started_ns + request.limits.guests.timeout_ms * NS_PER_MS
        performers = NetHandlers(handlers, request, store=self._runner.store, ends_ns=ends_ns)
        effects = Effects(
            gate,
            performers,
            limits=request.limits,
            clock=machine.clock,
            sink=sink,
            run_id=run_id,
            deadline_ns=ends_ns,
            cancelled=lambda: self._cancel.cancelled,
        )
        machine.effects = effects
        if request.real_time and self._replay is None:
            machine.pause = lambda duration_ns: self._pause(duration_ns, ends_ns)
        gate.started(self._inputs if gate.recording else None)
        effects.flush()
        begun_ns = time.monotonic_ns()  # keeping that it begins is not what the program takes
        try:
            outcome = self._outcome(effects, aside)
        finally:
            effects.close()
            performers.close()
        suspended = isinstance(outcome, Stop) and outcome.kind == "suspended"
        if isinstance(outcome, Stop):
            gate.close(outcome.kind)
        time_ms = (time.monotonic_ns() - begun_ns) // NS_PER_MS
        self._output.end()
        ending = ending_of(
            self._output.scrubbed(outcome),
            stdout=self._output.shown("stdout"),
            stderr=self._output.shown("stderr"),
            time_ms=time_ms,
            memory_bytes=instance.memory_bytes,
            limits=request.limits,
            quota=machine.files.quota_hit,
        )
        # A run that is put away has no end yet: its journal goes on when it is resumed.
        journal_hash: str | None = None
        if not suspended:
            is_kept = gate.recording and (
                wanted is None or self._replay is not None or wanted(ending.error)
            )
            journal_hash = gate.finish(self._run_outcome(ending) if is_kept else None)
        effects.flush()
        return Execution(
            run_id=run_id,
            language=request.guest_language,
            result=ending.result,
            error=None if suspended else ending.error,
            exit_code=ending.exit_code,
            files=tuple(machine.files.files()) if self._one_shot else (),
            journal_hash=journal_hash,
            image=instance.image.name,
            fuel_used=self._fuel_used(),
            suspension=Suspension(due_ns=effects.due_ns) if suspended else None,
        )

    def _inputs(self) -> RunInputs:
        """Return what the journal says the run was given.

        In a replay that is what the record says: a later version may have limits that the recorded
        one had not, and they are no part of the run. The image is compared.
        """
        image_id = self.instance.image.id
        if self._replay is not None:
            return msgspec.structs.replace(self._replay.inputs, image_id=image_id)
        return self._request.inputs(image_id, world="sandboxed")

    def _place_files(self, files: FileSystem) -> None:
        request = self._request
        try:
            if request.cwd != "/":
                files.make_directories(request.cwd)
            for file in request.files:
                files.add(file)
        except FileSystemError as error:
            raise InvalidRunError(
                f"the files of the run cannot be put in place: {error.errno.name}; check their "
                "names, sizes and number against `cloche limits --group guests`"
            ) from None

    def _outcome(self, effects: Effects, aside: Aside | None) -> Report | Stop:
        if aside is None:
            return self._turns(effects)
        return aside.run(lambda: self._turns(effects), self._cancel.cancel)

    def _turns(self, effects: Effects) -> Report | Stop:
        request, instance = self._request, self.instance
        code = request.code
        if request.is_typescript:
            try:
                code = self._runner.images.typescript().strip_types(code, request.filename)
            except TypeScriptError as error:
                return self._not_typescript(error)
        is_source = request.filename != abi.APP_PROGRAM
        if is_source and request.state is not None and request.guest_language == "javascript":
            code = as_script(code)
        now_ns = instance.machine.clock.now_ns
        if not is_source and instance.takes_questions:
            body = abi.ask_input(code, now_ns=now_ns)
        else:
            body = abi.encode(request.start_input(code, now_ns=now_ns))
        deadline_ns = effects.deadline_ns
        self._cancel.bind(instance.cancel)
        for _ in range(request.limits.guests.turn_count_max):
            outcome = instance.turn(body, deadline_ns=deadline_ns)
            if isinstance(outcome, Stop):
                return self._stopped(outcome)
            if outcome.state != "waiting":
                return outcome
            try:
                completions = effects.wait(self._timeout_ns(outcome))
            except abi.GuestStopped as stopped:
                return self._stopped(stopped.stop)
            body = abi.deliver_input(completions) if completions else abi.WAKE
        return Stop(kind="turns")

    def _pause(self, duration_ns: int, ends_ns: int) -> None:
        """Let time pass in the world, up to the end of the run."""
        left_ns = ends_ns - time.monotonic_ns()
        if self._cancel.wait(max(0, min(duration_ns, left_ns)) / NS_PER_S):
            raise abi.GuestStopped(Stop(kind="cancelled"))
        if left_ns < duration_ns:
            raise abi.GuestStopped(Stop(kind="time", message="the run's time is over"))

    def _timeout_ns(self, report: Report) -> int | None:
        if report.wake_ns is None:
            return None
        return max(0, report.wake_ns - self._machine.clock.now_ns)

    def _stopped(self, stop: Stop) -> Stop:
        if self._cancel.cancelled and stop.kind == "time":
            return Stop(kind="cancelled")
        return stop

    def _not_typescript(self, error: TypeScriptError) -> Report:
        self._output.write("stderr", f"{error.display()}\n".encode())
        return Report(
            state="failed",
            exit_code=1,
            stage="compile",
            error=abi.GuestError(name="SyntaxError", message=error.reason),
        )

    def _transform(self, source: str, filename: str) -> dict[str, object]:
        """Strip types for a guest that loads a TypeScript module (operation TRANSFORM)."""
        try:
            return {"code": self._runner.images.typescript().strip_types(source, filename)}
        except TypeScriptError as error:
            return {"error": {"message": error.reason, "line": error.line, "column": 0}}

    def _run_outcome(self, ending: Ending) -> RunOutcome:
        error = ending.error
        return RunOutcome(
            exit_code=ending.exit_code,
            stage=ending.stage,
            error=None if error is None else {"code": error.code, "message": error.message},
            stdout_sha256=self._output.sha256("stdout"),
            stderr_sha256=self._output.sha256("stderr"),
            files_sha256=files_digest(self._machine.files),
            clock_ns=self._machine.clock.now_ns,
        )

    def _fuel_used(self) -> int | None:
        fuel = self._request.limits.guests.fuel
        return fuel - self.instance.fuel_left() if fuel else None


def new_run_id() -> str:
    """Return a name that no other run has."""
    return secrets.token_hex(RUN_ID_BYTES)


def files_digest(files: FileSystem) -> str:
    """Return the SHA-256 that stands for a set of files: paths and contents."""
    digest = hashlib.sha256()
    for path, file in files.visible_files():
        digest.update(f"{file.sha256()} {path}\0".encode())
    return digest.hexdigest()
