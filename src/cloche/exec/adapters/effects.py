"""The effects of one run: every one of them through the gate, live or replayed.

Owns what is in flight. Invariants:
- nothing is performed that the gate did not let pass, and nothing reaches the guest before the
  gate's records of it are durable;
- submitted effects really overlap, on threads; the order in which they complete is recorded, and a
  replay repeats it;
- a submitted effect that the guest gives up is complete at once, as an error that is recorded and
  that the guest does not see; it is cancelled where its handler can;
- the virtual clock moves by what was recorded: by how long the guest had to wait.

The gate itself runs on the guest's thread only.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from cloche.engine.abi import GuestStopped, Stop, Submission, encode
from cloche.gate.effect import EffectCompletion, EffectError, EffectRequest
from cloche.gate.errors import BudgetExhaustedError
from cloche.gate.gate import Answered, Gate, Perform, Recorded
from cloche.gate.ports import (
    Cancels,
    EffectFailure,
    EffectHandler,
    EffectSuspended,
    JournalSink,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

    from cloche.engine.virtual_os import Clock
    from cloche.limits import Limits

_NO_HANDLER: Final = "EFFECT_UNAVAILABLE"
_ABANDONED: Final = "EFFECT_ABANDONED"
_POLL_S: Final = 0.1  # how often a wait looks whether the run was cancelled
NS_PER_S: Final = 1_000_000_000


class Handlers(Protocol):
    """Who performs which kind of effect: a mapping, or what behaves as one."""

    def get(self, kind: str, /) -> EffectHandler | None:
        """Return who performs effects of a kind, None if nobody does."""


class Effects:
    """Answers a guest's effects (an `EffectPort`).

    Args:
        gate: opened already.
        handlers: who performs which kind.
        clock: the guest's.
        sink: keeps the journal, None if nobody does.
        run_id: for idempotency keys.
        deadline_ns: of the run, on the clock of `time.monotonic_ns`.
        cancelled: whether somebody wants the run to stop.
    """

    def __init__(
        self,
        gate: Gate,
        handlers: Handlers,
        *,
        limits: Limits,
        clock: Clock,
        sink: JournalSink | None,
        run_id: str,
        deadline_ns: int,
        cancelled: Callable[[], bool],
    ) -> None:
        self._gate = gate
        self._handlers = handlers
        self._limits = limits
        self._clock = clock
        self._sink = sink
        self._run_id = run_id
        self.deadline_ns = deadline_ns
        self._cancelled = cancelled
        self._guest_ids: dict[int, int] = {}
        self._done: queue.SimpleQueue[
            tuple[EffectRequest, Any, EffectError | EffectSuspended | None, int]
        ] = queue.SimpleQueue()
        self._ready: list[EffectCompletion] = []  # answered without having been performed here
        self._recorded_requests: dict[int, EffectRequest] = {}
        self._in_flight: dict[int, tuple[EffectRequest, Future[None]]] = {}
        self._is_live = not gate.replaying
        self._failure: BaseException | None = None
        self._suspended: set[int] = set()  # begun, and no answer to be had now
        self.due_ns: int | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def pending(self) -> bool:
        """Whether the guest may still be told of a completion."""
        return bool(self._guest_ids)

    def flush(self) -> None:
        """Make the gate's new records durable."""
        records = self._gate.take_entries()
        if records and self._sink is not None:
            self._sink.append(records)

    # --- the port ---

    def call(self, submission: Submission, size_bytes: int) -> bytes:
        """Answer one effect now."""
        gate = self._gate
        verdict = self._request(submission, size_bytes)
        self._check_live()
        if isinstance(verdict, Recorded):
            completion, advance_ns = self._recorded(verdict.request)
        elif isinstance(verdict, Perform):
            completion = self._perform_now(verdict.request)
            advance_ns = completion.duration_ns
        else:
            completion, advance_ns = verdict.completion, 0
        if gate.recording and not gate.closed:
            gate.deliver((completion.sequence,), advance_ns)
            self.flush()
        self._clock.advance(advance_ns)
        return completion.to_guest()

    def submit(self, submission: Submission, size_bytes: int) -> None:
        """Start one effect."""
        if submission.id is None or submission.id in self._guest_ids.values():
            raise GuestStopped(
                Stop(kind="protocol", message="a submitted effect needs a number of its own")
            )
        verdict = self._request(submission, size_bytes)
        self._check_live()
        if isinstance(verdict, Answered):
            self._guest_ids[verdict.completion.sequence] = submission.id
            self._ready.append(verdict.completion)
            return
        self._guest_ids[verdict.request.sequence] = submission.id
        if isinstance(verdict, Perform):
            self.flush()
            self._start(verdict.request)
        else:
            self._recorded_requests[verdict.request.sequence] = verdict.request

    def wait(self, timeout_ns: int | None) -> list[bytes]:
        """Wait for completions; see `EffectPort`."""
        if self._gate.replaying:
            replayed = self._replayed()
            if replayed is not None:
                return replayed
        if not self._guest_ids and timeout_ns is None:
            raise GuestStopped(
                Stop(kind="protocol", message="the guest waits for nothing that could happen")
            )
        self._check_suspended()
        completions, waited_ns = self._collect(timeout_ns)
        if not completions:
            waited_ns = timeout_ns or 0
        return self._deliver(completions, waited_ns)

    def abandon(self, submission_id: int) -> None:
        """Give up a submitted effect; see `EffectPort`."""
        sequence = next((n for n, name in self._guest_ids.items() if name == submission_id), None)
        if sequence is None:
            return
        request = self._recorded_requests.pop(sequence, None)  # not to be performed on a resume
        if self._gate.replaying:
            delivery = self._gate.next_delivery()
            if delivery is not None and _is_abandonment(delivery.completions, sequence):
                self._deliver(list(delivery.completions), 0)
            if self._gate.replaying:
                return  # an older record: there the answer came later, and the guest ignores it
        self._check_live()
        if sequence in self._guest_ids:
            self._abandon_live(sequence, request)

    def close(self) -> None:
        """Stop: what has not begun never will, what is in flight is not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    # --- live ---

    def _request(self, submission: Submission, size_bytes: int) -> Perform | Recorded | Answered:
        try:
            return self._gate.request(
                submission.kind, submission.target, submission.args, size_bytes=size_bytes
            )
        except BudgetExhaustedError as error:
            raise GuestStopped(Stop(kind="effects", message=error.message)) from None

    def _perform_now(self, request: EffectRequest) -> EffectCompletion:
        self.flush()
        value, error, duration_ns = self._perform(request)
        if self._failure is not None:
            raise self._failure
        if isinstance(error, EffectSuspended):
            self._note_suspended(request, error)
            raise GuestStopped(_SUSPENDED)
        return self._gate.complete(request, value=value, error=error, duration_ns=duration_ns)

    def _note_suspended(self, request: EffectRequest, suspended: EffectSuspended) -> None:
        self._suspended.add(request.sequence)
        if suspended.due_ns is not None:
            self.due_ns = min(suspended.due_ns, self.due_ns or suspended.due_ns)

    def _perform(
        self, request: EffectRequest
    ) -> tuple[Any, EffectError | EffectSuspended | None, int]:
        started_ns = time.monotonic_ns()
        value: Any = None
        error: EffectError | EffectSuspended | None = None
        try:
            handler = self._handlers.get(request.kind)
            if handler is None:
                return None, _unavailable(request), 0
            value = handler.perform(request, self._run_id)
        except EffectFailure as failure:
            error = failure.error
        except EffectSuspended as suspended:
            error = suspended
        except BaseException as failure:  # noqa: BLE001 - a broken handler ends the run, see wait
            self._failure = failure
        return value, error, time.monotonic_ns() - started_ns

    def _start(self, request: EffectRequest) -> None:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - slow to import

            self._pool = ThreadPoolExecutor(
                max_workers=self._limits.gate.effect_concurrency_max,
                thread_name_prefix="cloche-effect",
            )
        future = self._pool.submit(lambda: self._done.put((request, *self._perform(request))))
        self._in_flight[request.sequence] = request, future

    def _abandon_live(self, sequence: int, request: EffectRequest | None) -> None:
        ready = [completion for completion in self._ready if completion.sequence == sequence]
        if ready:
            self._ready.remove(ready[0])
            self._deliver(ready, 0)
            return
        if sequence in self._in_flight:
            request, future = self._in_flight.pop(sequence)
            handler = self._handlers.get(request.kind)
            if not future.cancel() and isinstance(handler, Cancels):
                handler.cancel(request)
        if request is None:
            return
        self._suspended.discard(sequence)
        error = EffectError(code=_ABANDONED, message="the guest gave this effect up")
        self._deliver([self._gate.complete(request, error=error)], 0)

    def _collect(self, timeout_ns: int | None) -> tuple[list[EffectCompletion], int]:
        started_ns = time.monotonic_ns()
        if self._ready:
            refused, self._ready = self._ready, []
            return refused, 0
        until_ns = self.deadline_ns
        if timeout_ns is not None:
            until_ns = min(until_ns, started_ns + timeout_ns)
        first = self._take(until_ns)
        if first is None:
            if time.monotonic_ns() >= self.deadline_ns:
                raise GuestStopped(Stop(kind="time", message="the run's time is over"))
            return [], 0
        completions = [first]
        while (more := self._take(0)) is not None:
            completions.append(more)
        return completions, time.monotonic_ns() - started_ns

    def _take(self, until_ns: int) -> EffectCompletion | None:
        while True:
            left_s = (until_ns - time.monotonic_ns()) / NS_PER_S
            try:
                if left_s > 0:
                    done = self._done.get(timeout=min(left_s, _POLL_S))
                else:
                    done = self._done.get_nowait()
            except queue.Empty:
                if self._cancelled():
                    raise GuestStopped(Stop(kind="cancelled")) from None
                if left_s > 0:
                    continue
                return None
            if self._failure is not None:
                raise self._failure
            request, value, error, duration_ns = done
            if request.sequence not in self._in_flight:
                continue  # given up meanwhile
            if isinstance(error, EffectSuspended):
                self._note_suspended(request, error)
                self._check_suspended()
                continue
            del self._in_flight[request.sequence]
            return self._gate.complete(request, value=value, error=error, duration_ns=duration_ns)

    def _check_suspended(self) -> None:
        """Put the run away when nothing that it waits for can be answered now."""
        if self._suspended and self._guest_ids.keys() <= self._suspended and not self._ready:
            raise GuestStopped(_SUSPENDED)

    def _deliver(self, completions: list[EffectCompletion], advance_ns: int) -> list[bytes]:
        sequences = tuple(completion.sequence for completion in completions)
        self._gate.deliver(sequences, advance_ns)
        self.flush()
        self._clock.advance(advance_ns)
        return [
            completion.to_guest(id_text=encode(self._guest_ids.pop(completion.sequence)))
            for completion in completions
        ]

    # --- replay ---

    def _recorded(self, request: EffectRequest) -> tuple[EffectCompletion, int]:
        gate = self._gate
        delivery = gate.next_delivery()
        if not gate.replaying:
            return self._resumed(request)
        if delivery is None or delivery.sequences != (request.sequence,):
            # The gate knows what was recorded instead: it says so in its divergence.
            gate.deliver((request.sequence,), 0)
            raise GuestStopped(_REPLAY_ENDED)
        return delivery.completions[0], delivery.clock_advance_ns

    def _replayed(self) -> list[bytes] | None:
        """Return the next recorded delivery, None where a resumed record stops."""
        delivery = self._gate.next_delivery()
        if delivery is None:
            if not self._gate.replaying:
                self._check_live()
                return None
            raise GuestStopped(_REPLAY_ENDED)
        unknown = [n for n in delivery.sequences if n not in self._guest_ids]
        self._ready = [c for c in self._ready if c.sequence not in delivery.sequences]
        if unknown:
            self._gate.deliver((), 0)
        return self._deliver(list(delivery.completions), delivery.clock_advance_ns)

    # --- resume ---

    def _resumed(self, request: EffectRequest) -> tuple[EffectCompletion, int]:
        """Answer the synchronous effect that was in flight where the record stops."""
        self._check_live()
        if request.sequence in self._gate.open_sequences:
            completion = self._perform_now(request)
        else:
            (completion,) = (c for c in self._gate.undelivered() if c.sequence == request.sequence)
        return completion, completion.duration_ns

    def _check_live(self) -> None:
        """When the record has just ended: take up what was in flight there."""
        if self._is_live or self._gate.replaying:
            return
        self._is_live = True
        refused = {completion.sequence for completion in self._ready}
        self._ready += [
            completion
            for completion in self._gate.undelivered()
            if completion.sequence in self._guest_ids and completion.sequence not in refused
        ]
        for sequence in sorted(self._gate.open_sequences):
            request = self._recorded_requests.get(sequence)
            if request is not None:
                self._start(request)
        self._recorded_requests.clear()


_SUSPENDED: Final = Stop(kind="suspended", message="the run waits, and is put away meanwhile")
_REPLAY_ENDED: Final = Stop(kind="time", message="the recorded run was stopped here")


def _is_abandonment(completions: tuple[EffectCompletion, ...], sequence: int) -> bool:
    (first, *rest) = completions or (None,)
    if first is None or rest or first.sequence != sequence:
        return False
    return first.error is not None and first.error.code == _ABANDONED


def _unavailable(request: EffectRequest) -> EffectError:
    return EffectError(
        code=_NO_HANDLER,
        message=f"nothing in this run answers {request.kind} effects ({request.target})",
    )


class CancelToken:
    """Lets another thread stop a run."""

    def __init__(self) -> None:
        self._is_cancelled = False
        self._event: threading.Event | None = None  # where somebody waits for it
        self._stop: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Stop the run within a tick; a run that has not begun is stopped when it does."""
        self._is_cancelled = True
        if self._event is not None:
            self._event.set()
        if self._stop is not None:
            self._stop()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled

    def wait(self, timeout_s: float) -> bool:
        """Wait until the run is cancelled; False when the time is over before. For one thread."""
        if self._event is None:
            self._event = threading.Event()
        # Whoever cancelled before it was there has said so before.
        return self._is_cancelled or self._event.wait(timeout_s)

    def bind(self, stop: Callable[[], None]) -> None:
        """Say what stops the run."""
        self._stop = stop
        if self._is_cancelled:
            stop()
