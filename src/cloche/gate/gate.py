"""The gate of one run: a state machine that every effect passes.

Owns the order of things: check, policy, budget, journal, perform, journal, deliver.
Invariants:
- no I/O: the host performs what `request` lets pass and makes durable what `take_entries` returns,
  records of a request before it performs, records of a completion before the guest sees it;
- every request of a guest is answered: with leave to perform, with a recorded answer, or with a
  refusal; a guest's fault is never an exception;
- once closed, diverged or failed, the gate lets nothing pass and records nothing (absorbing);
- a replay that ends without divergence wrote the same bytes as the recorded run.

Not recorded (`record=False`) it only checks policy and budget: the fast way for runs that nobody
will replay. Where the end of a run decides whether its journal is wanted (`defer=True`) entries are
noted and encoded then, or never. One gate serves one run on one thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

import msgspec

from cloche.gate.admission import Admission, kind_is_valid
from cloche.gate.budget import Budget, ceilings_of
from cloche.gate.canonical import digest, encode_canonical, encode_plain
from cloche.gate.effect import EffectCompletion, EffectError, EffectRequest
from cloche.gate.entries import (
    COUNT_MAX,
    Delivered,
    EffectCompleted,
    EffectRefused,
    EffectStarted,
    Entry,
    RunFinished,
    RunInputs,
    RunOutcome,
    split_inputs,
)
from cloche.gate.errors import (
    BudgetExhaustedError,
    DivergenceError,
    EffectInvalidError,
    GateClosedError,
    GateMisuseError,
    JournalError,
    JournalValueTooLargeError,
    ValueInvalidError,
)
from cloche.gate.journal import Chain, Journal
from cloche.gate.replay import Delivery, Replay, completion_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.errors import ClocheError
    from cloche.gate.policy import Policy
    from cloche.limits import Limits

_Phase = Literal["new", "open", "stopped", "finished", "failed"]
# What is noted at most, of texts and of entries, before it is encoded after all.
_DEFER_LIMIT_BYTES: Final = 1 << 20
_DEFER_COUNT_MAX: Final = 256


class Perform(msgspec.Struct, frozen=True):
    """Perform this request, then call `complete`."""

    request: EffectRequest


class Recorded(msgspec.Struct, frozen=True):
    """Replay: do not perform; `next_delivery` brings the recorded answer when its time comes."""

    request: EffectRequest


class Answered(msgspec.Struct, frozen=True):
    """The effect was refused, and this is the answer."""

    completion: EffectCompletion


Verdict: TypeAlias = Perform | Recorded | Answered


class Gate:
    """The gate of one run.

    Args:
        policy: what the run may do.
        limits: the ceilings of the run.
        replay: a finished journal whose completions answer this run, or None to live.
        record: False for a run without a journal; a replay always records.
        resume: the journal to replay may stop before the run finished; where it stops the gate goes
            live. What comes before is compared and not recorded a second time; see `unanswered`.
        defer: encode nothing (of a small journal) before `finish` says that it is wanted.

    Raises:
        JournalUnfinishedError: the journal to replay stops before the run finished.
    """

    def __init__(
        self,
        policy: Policy,
        limits: Limits,
        *,
        replay: Journal | None = None,
        record: bool = True,
        resume: bool = False,
        defer: bool = False,
    ) -> None:
        self._limits = limits.gate
        self._budget = Budget(ceilings=ceilings_of(limits, policy))
        self._chain = Chain(limits) if record or replay is not None else None
        self._replay = None if replay is None else Replay(replay, resume=resume)
        self._replay_hash = None if replay is None else replay.hash or None
        self._resume = resume
        self._phase: _Phase = "new"
        self._closed_reason = ""
        self._failure: ClocheError | None = None
        self._admission = Admission(policy, limits)
        self._next_sequence = 0
        self._refused_count = 0
        self._ordinals: dict[str, int] = {}
        self._open: set[int] = set()
        self._answered: set[int] = set()
        self._records: list[bytes] = []
        self._defers = defer and replay is None and self._chain is not None
        self._noted: list[Entry] | None = [] if self._defers else None
        self._noted_bytes = 0
        self._make_inputs: Callable[[], RunInputs] | None = None
        self._undelivered: tuple[EffectCompletion, ...] = ()

    @property
    def recording(self) -> bool:
        """Whether this gate writes a journal."""
        return self._chain is not None

    @property
    def replaying(self) -> bool:
        """Whether a recorded run answers this one."""
        return self._replay is not None

    @property
    def closed(self) -> bool:
        """Whether the gate lets nothing pass any more."""
        return self._phase not in ("new", "open")

    @property
    def open_sequences(self) -> frozenset[int]:
        """The effects that were begun and are not complete."""
        return frozenset(self._open)

    def started(self, inputs: Callable[[], RunInputs] | RunInputs | None) -> None:
        """Open the gate; the first call. Records what the run is given.

        Args:
            inputs: or who says them, when they are encoded; None where nothing is recorded.

        Raises:
            DivergenceError: replay with other inputs. JournalError: over a limit.
                In both cases the gate is closed.
        """
        self._expect_phase("started", "new")
        self._phase = "open"
        if self._chain is None:
            return
        assert inputs is not None
        if callable(inputs):
            if self._noted is not None:
                self._make_inputs = inputs
                return
            inputs = inputs()
        for entry in split_inputs(inputs):
            self._write(entry)

    def request(
        self, kind: str, target: str, args: Any, *, task: str = "main", size_bytes: int = 0
    ) -> Verdict:
        """Decide about one effect that the guest asks for.

        Args:
            kind: what sort of effect; nothing that the guest says is trusted.
            target: whom it concerns.
            args: plain JSON.
            task: the guest's task that asks; ordinals count within it.
            size_bytes: size of the args as they came, for a gate that does not record.

        Raises:
            DivergenceError: replay, and the recorded run did something else here.
            BudgetExhaustedError: more refusals than gate.effect_count_max: stop the guest.
            JournalError: over a limit of the journal.
            In all cases the gate is closed.
        """
        if self._phase != "open":
            return self._answer_closed()
        self._go_live_at_end()
        sequence = self._next_sequence
        ordinal = self._ordinals.get(task, 0)
        self._next_sequence = sequence + 1
        self._ordinals[task] = ordinal + 1
        asked = EffectRequest(
            sequence=sequence, task=task, ordinal=ordinal, kind=kind, target=target, args=args
        )
        refusal = self._admission.refusal(kind, target)
        if self._chain is not None:
            return self._request_recorded(asked, refusal)
        if refusal is None and size_bytes > self._limits.args_limit_bytes:
            refusal = self._admission.args_too_large()
        if refusal is None:
            budget = self._budget.charge(kind, size_bytes)
            if isinstance(budget, Budget):
                self._budget = budget
                self._open.add(sequence)
                return Perform(asked)
            refusal = EffectError.from_error(budget)
        self._count_refusal()
        return Answered(EffectCompletion(sequence=sequence, error=refusal))

    def complete(
        self,
        request: EffectRequest,
        *,
        value: Any = None,
        error: EffectError | None = None,
        duration_ns: int = 0,
    ) -> EffectCompletion:
        """Record how a performed effect ended and return what the guest shall see.

        A value that is not plain JSON, or over gate.value_limit_bytes, becomes an error for the
        guest: the effect was performed, its value is lost, and nothing is truncated.

        Raises:
            GateMisuseError: the request is not open. GateClosedError: the run has finished.
            JournalError: over a limit of the journal; the gate is closed.
        """
        if self._phase not in ("open", "stopped"):
            raise GateClosedError(reason=self._closed_reason or self._phase)
        sequence = request.sequence
        if sequence not in self._open or self._replay is not None:
            raise GateMisuseError(call="complete", problem=f"effect {sequence} is not open")
        if not 0 <= duration_ns <= COUNT_MAX:
            raise GateMisuseError(call="complete", problem=f"duration_ns is {duration_ns}")
        completion = self._completion(sequence, value, error, duration_ns)
        self._open.remove(sequence)
        self._budget = self._budget.settle(len(completion.value_text or b""))
        if self._chain is not None:
            self._write(
                EffectCompleted(
                    sequence=sequence,
                    value=completion.value_text,
                    error=_error_text(completion.error),
                    duration_ns=duration_ns,
                )
            )
            self._answered.add(sequence)
        return completion

    def next_delivery(self) -> Delivery | None:
        """Replay: return what the guest got next in the recorded run, to be given to `deliver`.

        None: the recorded run gave it nothing more here; then it ended, or did something else.
        """
        if self._replay is None:
            raise GateMisuseError(call="next_delivery", problem="this gate does not replay")
        if self._phase != "open":
            return None
        self._copy_completed(self._replay)
        if self._go_live_at_end():
            return None
        return self._replay.delivery()

    def undelivered(self) -> tuple[EffectCompletion, ...]:
        """Return the recorded answers that had not reached the guest where a resumed run went live.

        Effects in `open_sequences` then have none: they are to be performed, once more if the
        recorded run had begun to.
        """
        return self._undelivered

    def deliver(self, sequences: tuple[int, ...], clock_advance_ns: int) -> None:
        """Record that these answers reach the guest now, in this order.

        Completions and refusals are delivered, each once. Empty `sequences`: only the clock moved.

        Raises:
            GateMisuseError: an effect has no answer to deliver. GateClosedError: closed before.
            DivergenceError: replay, and another delivery was recorded here; the gate is closed.
        """
        if self._phase != "open":
            raise GateClosedError(reason=self._closed_reason or self._phase)
        if self._chain is None:
            return
        self._go_live_at_end()
        if self._replay is None:
            self._check_delivery(sequences, clock_advance_ns)
        self._write(Delivered(sequences=sequences, clock_advance_ns=clock_advance_ns))
        self._answered.difference_update(sequences)

    def close(self, reason: str) -> None:
        """Stop believing the guest: from now on every request is refused and not recorded.

        Effects in flight may still be completed, and the run be finished. Does nothing if closed.
        """
        if self._phase in ("new", "open"):
            self._phase = "stopped"
            self._closed_reason = reason

    def finish(self, outcome: RunOutcome | None) -> str | None:
        """Record the end of the run and return the journal's hash, None where nothing is recorded.

        Args:
            outcome: None where nothing is recorded, or what was put off is not wanted.

        Raises:
            DivergenceError: replay, and the recorded run ended otherwise, or did not end here; or
                the divergence that closed the gate before.
            JournalError: over a limit; or the failure that closed the gate before.
            ValueInvalidError: the outcome's error is no JSON; nothing was recorded, call again.
        """
        if self._failure is not None:
            raise self._failure
        self._expect_phase("finish", "open", "stopped")
        if self._chain is None or (self._defers and outcome is None):
            self._noted = None
            self._end("finished", "the run has finished")
            return None
        assert outcome is not None
        self._encode_noted()
        error = outcome.error
        self._write(
            RunFinished(
                exit_code=outcome.exit_code,
                stage=outcome.stage,
                error=None if error is None else encode_canonical(error),
                stdout_sha256=outcome.stdout_sha256,
                stderr_sha256=outcome.stderr_sha256,
                files_sha256=outcome.files_sha256,
                clock_ns=outcome.clock_ns,
                effects=dict(self._budget.calls_by_kind),
                refused=self._refused_count,
            )
        )
        self._end("finished", "the run has finished")
        head = self._chain.head.hex()
        if self._replay_hash is not None and head != self._replay_hash:
            raise GateMisuseError(call="finish", problem="equal entries gave another hash")
        return head

    def take_entries(self) -> list[bytes]:
        """Return the records written since the last call; the caller makes them durable."""
        if self._resume and self._replay is not None:
            return []  # they are durable already
        records = self._records
        self._records = []
        return records

    def _request_recorded(self, asked: EffectRequest, refusal: EffectError | None) -> Verdict:
        text: bytes | None = None
        try:
            text = encode_canonical(
                asked.args,
                limit_bytes=self._limits.args_limit_bytes,
                depth_max=self._limits.value_depth_max,
            )
        except ValueInvalidError as error:
            refusal = EffectError.from_error(EffectInvalidError(problem=f"args: {error.message}"))
        if refusal is None and text is not None:
            verdict = self._start(asked, text)
            if not isinstance(verdict, EffectError):
                return verdict
            refusal = verdict
        assert refusal is not None
        return self._refuse(
            EffectRefused(
                sequence=asked.sequence,
                task=asked.task,
                ordinal=asked.ordinal,
                kind=asked.kind if kind_is_valid(asked.kind) else "",
                target=asked.target if self._admission.target_is_valid(asked.target) else "",
                args_sha256="" if text is None else digest(text),
                error=encode_plain(refusal.to_document()),
            )
        )

    def _start(self, asked: EffectRequest, text: bytes) -> Verdict | EffectError:
        request = EffectRequest(
            sequence=asked.sequence,
            task=asked.task,
            ordinal=asked.ordinal,
            kind=asked.kind,
            target=asked.target,
            args=asked.args,
            args_text=text,
        )
        spent: Budget | None = None
        if self._replay is None:
            budget = self._budget.charge(request.kind, len(text))
            if not isinstance(budget, Budget):
                return EffectError.from_error(budget)
            spent = budget
        recorded = self._write(
            EffectStarted(
                sequence=request.sequence,
                task=request.task,
                ordinal=request.ordinal,
                kind=request.kind,
                target=request.target,
                args=text,
            )
        )
        if isinstance(recorded, EffectRefused):
            return self._refused(recorded)
        self._budget = spent or self._budget.spend(request.kind, len(text))
        self._open.add(request.sequence)
        return Perform(request) if self._replay is None else Recorded(request)

    def _refuse(self, refused: EffectRefused) -> Answered:
        recorded = self._write(refused)
        assert isinstance(recorded, EffectRefused)
        return self._refused(recorded)

    def _refused(self, recorded: EffectRefused) -> Answered:
        self._count_refusal()
        self._answered.add(recorded.sequence)
        return Answered(completion_of(recorded))

    def _count_refusal(self) -> None:
        self._refused_count += 1
        limit = self._limits.effect_count_max
        if self._refused_count > limit:
            # A guest that goes on after so many refusals would only fill the journal.
            self.close("BUDGET_EXHAUSTED")
            raise BudgetExhaustedError(
                budget="gate.effect_count_max (refused)", limit=limit, used=self._refused_count
            )

    def _check_delivery(self, sequences: tuple[int, ...], clock_advance_ns: int) -> None:
        problem = ""
        missing = [sequence for sequence in sequences if sequence not in self._answered]
        if missing:
            problem = f"effects {missing} have no answer to deliver"
        elif len(set(sequences)) != len(sequences):
            problem = f"effects {list(sequences)}: one would be delivered twice"
        elif not 0 <= clock_advance_ns <= COUNT_MAX:
            problem = f"clock_advance_ns is {clock_advance_ns}, expected 0 to {COUNT_MAX}"
        if problem:
            raise GateMisuseError(call="deliver", problem=problem)

    def _completion(
        self, sequence: int, value: Any, error: EffectError | None, duration_ns: int
    ) -> EffectCompletion:
        text: bytes | None = None
        limit_bytes = self._limits.value_limit_bytes
        try:
            if error is None:
                depth_max = self._limits.value_depth_max
                text = encode_plain(value, limit_bytes=limit_bytes, depth_max=depth_max)
            else:
                error = _printable(error)
                encode_plain(error.to_document(), limit_bytes=limit_bytes)
        except ValueInvalidError as invalid:
            error = EffectError.from_error(_lost(invalid, limit_bytes))
        return EffectCompletion(
            sequence=sequence, value_text=text, error=error, duration_ns=duration_ns
        )

    def _answer_closed(self) -> Answered:
        self._expect_phase("request", "open", "stopped", "finished", "failed")
        error = EffectError.from_error(GateClosedError(reason=self._closed_reason))
        return Answered(EffectCompletion(sequence=self._next_sequence, error=error))

    def _write(self, entry: Entry) -> Entry:
        """Append an entry, in a replay the recorded one that it repeats, and return that."""
        self._go_live_at_end()
        if self._replay is not None:
            self._copy_completed(self._replay)
            try:
                entry = self._replay.match(entry)
            except DivergenceError as error:
                self._fail(error)
        self._append(entry)
        return entry

    def _append(self, entry: Entry) -> None:
        assert self._chain is not None
        noted = self._noted
        if noted is not None:
            noted.append(entry)
            if isinstance(entry, EffectStarted):
                self._noted_bytes += len(entry.args)
            elif isinstance(entry, EffectCompleted):
                self._noted_bytes += len(entry.value or b"")
            if len(noted) >= _DEFER_COUNT_MAX or self._noted_bytes > _DEFER_LIMIT_BYTES:
                self._encode_noted()
            return
        try:
            self._records.append(self._chain.append(entry))
        except JournalError as error:
            self._fail(error)

    def _encode_noted(self) -> None:
        """Encode what was put off; what follows is encoded as it comes."""
        noted, self._noted = self._noted or (), None
        if self._make_inputs is not None:
            make, self._make_inputs = self._make_inputs, None
            for given in split_inputs(make()):
                self._append(given)
        for entry in noted:
            self._append(entry)

    def _copy_completed(self, replay: Replay) -> None:
        for entry in replay.completed():
            self._append(entry)
            self._open.remove(entry.sequence)
            self._answered.add(entry.sequence)
            self._budget = self._budget.settle(len(entry.value or b""))

    def _go_live_at_end(self) -> bool:
        """Leave the replay where a resumed journal stops; return whether that is now."""
        replay = self._replay
        if replay is None or not self._resume:
            return False
        self._copy_completed(replay)
        if not replay.exhausted:
            return False
        self._replay = self._replay_hash = None
        self._records.clear()
        self._undelivered = tuple(replay.answer(n) for n in sorted(self._answered))
        return True

    def _fail(self, error: ClocheError) -> NoReturn:
        self._failure = error
        self._end("failed", error.code)
        raise error

    def _end(self, phase: _Phase, reason: str) -> None:
        self._phase = phase
        self._closed_reason = reason

    def _expect_phase(self, call: str, *phases: _Phase) -> None:
        if self._phase not in phases:
            problem = f"called when the gate is {self._phase}, expected {' or '.join(phases)}"
            raise GateMisuseError(call=call, problem=problem)


def _printable(error: EffectError) -> EffectError:
    # A message of the operating system may hold bytes that are no UTF-8.
    code, message = (
        text.encode("utf-8", "replace").decode() for text in (error.code, error.message)
    )
    return msgspec.structs.replace(error, code=code, message=message)


def _error_text(error: EffectError | None) -> bytes | None:
    return None if error is None else encode_plain(error.to_document())


def _lost(invalid: ValueInvalidError, limit_bytes: int) -> ClocheError:
    if invalid.fields["reason"] != "size":
        return invalid
    return JournalValueTooLargeError(
        what="the value of a performed effect",
        limit="gate.value_limit_bytes",
        limit_bytes=limit_bytes,
        size_bytes=limit_bytes + 1,
    )
