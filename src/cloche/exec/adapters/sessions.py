"""The sessions of one process: who is awake, whose turn it is, what is kept.

Owns the lock and the lease of each session, waking and sleeping, and the order in which things
become durable. Invariants:
- a run is acknowledged only when its journal, its operation and the new head are durable, together;
- one thing at a time happens in a session, in all processes: a lock within, a lease between them;
- a session that sleeps holds no memory and no lease; one that this process lost is woken from what
  is kept, never from what is in memory.

What a session is as data stands in `session_log.py`, what it is alive in `session_machine.py`.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.exec.adapters.runner import new_run_id
from cloche.exec.adapters.session_machine import Kept, SessionMachine
from cloche.exec.adapters.session_store import StoreSink, read_run_journal
from cloche.exec.errors import (
    InvalidRunError,
    SessionBusyError,
    SessionError,
    SessionNotFoundError,
)
from cloche.exec.session_log import (
    Head,
    Operation,
    Ran,
    SessionSettings,
    Step,
    advance,
    first_head,
    run_seed,
    snapshot_is_due,
)
from cloche.exec.session_ports import Change, RunRow, SessionRow, SnapshotRow, StepRow
from cloche.gate.errors import DivergenceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, OutputListener, Runner
    from cloche.exec.request import RunRequest
    from cloche.exec.session_ports import RunStatus, SessionStore
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler
    from cloche.limits import Limits

ID_BYTES: Final = 12
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
LEASE_SHARE: Final = 3  # a lease is renewed when a third of it is over

_json = msgspec.json.Encoder()


class Live:
    """A session as this process knows it. Touched only by who holds `lock`."""

    def __init__(self, row: SessionRow) -> None:
        self.lock = threading.Lock()
        self.waiting = 0
        self.used_ns = 0
        self.machine: SessionMachine | None = None
        self.lease_until_ns = 0
        self.settings = msgspec.json.decode(row.settings, type=SessionSettings)
        self.row = row
        self.head = msgspec.json.decode(row.head, type=Head)
        self.tail: list[Step] = []

    def take(self, row: SessionRow) -> None:
        """Believe this row, and forget an instance in another state."""
        head = msgspec.json.decode(row.head, type=Head)
        if self.machine is not None and head.state != self.head.state:
            self.machine.close()
            self.machine = None
        if self.machine is None:
            self.row, self.head, self.tail = row, head, []


class Sessions:
    """All sessions of a store, for one process. Callable from any thread.

    Args:
        store: keeps them.
        runner: executes.
        limits: group `sessions`, and `guests` for files.
        key: signs snapshots.
        request_of: returns the request that a journal's inputs stand for.
        now_ns: the wall clock.
        monotonic_ns: measures idle time.
    """

    def __init__(
        self,
        store: SessionStore,
        runner: Runner,
        *,
        limits: Limits,
        key: bytes,
        request_of: Callable[[Journal], RunRequest],
        now_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.store = store
        self.limits = limits
        self._runner = runner
        self._key = key
        self._request_of = request_of
        self.now_ns = now_ns
        self._monotonic_ns = monotonic_ns
        self._owner = secrets.token_hex(ID_BYTES)
        self._lock = threading.Lock()
        self._live: OrderedDict[str, Live] = OrderedDict()
        self._keeper: threading.Thread | None = None
        self._closed = threading.Event()
        self._kept = Kept(
            content=store.get_blob,
            journal=lambda run_id: read_run_journal(store, run_id, limits),
            request=request_of,
        )

    # --- making and finding ---

    def create(self, settings: SessionSettings, *, name: str | None = None) -> SessionRow:
        """Create a session; its image is made if need be.

        Raises:
            SessionExistsError: the name is taken. InvalidRunError: it is no name.
        """
        _check_name(name, self.limits)
        now_ns = self.now_ns()
        row = SessionRow(
            id=f"ses-{secrets.token_hex(ID_BYTES)}",
            name=name,
            language=settings.language,
            created_ns=now_ns,
            changed_ns=now_ns,
            settings=_json.encode(settings),
            head=_json.encode(first_head(settings)),
        )
        self.store.create_session(row)
        return row

    def find(self, id_or_name: str) -> SessionRow:
        """Return a session.

        Raises:
            SessionNotFoundError: there is none.
        """
        row = self.store.get_session(id_or_name)
        if row is None:
            raise SessionNotFoundError(id_or_name)
        return row

    # --- one at a time ---

    @contextmanager
    def turn(self, session_id: str, *, wait: bool = True) -> Iterator[Live]:
        """Hold a session: nobody else does anything in it meanwhile.

        Args:
            session_id: which.
            wait: whether to wait behind others (a bounded time, in a bounded queue).

        Raises:
            SessionBusyError: others are in it, or wait already. SessionNotFoundError.
        """
        live = self._entry(session_id)
        self._enter(live, session_id, wait=wait)
        try:
            self._lease(live)
            yield live
        finally:
            live.used_ns = self._monotonic_ns()
            live.lock.release()

    def _entry(self, session_id: str) -> Live:
        with self._lock:
            live = self._live.get(session_id)
            if live is not None:
                self._live.move_to_end(session_id)
                return live
        row = self.find(session_id)
        with self._lock:
            self._start_keeper()
            return self._live.setdefault(row.id, Live(row))

    def _enter(self, live: Live, session_id: str, *, wait: bool) -> None:
        limits = self.limits.sessions
        if live.lock.acquire(blocking=False):
            return
        with self._lock:
            if not wait:
                raise SessionBusyError(session_id, "a run is going on in it")
            if live.waiting >= limits.queue_length_max:
                raise SessionBusyError(session_id, f"{live.waiting} runs wait for it already")
            live.waiting += 1
        try:
            if not live.lock.acquire(timeout=limits.queue_timeout_ms / 1000):
                raise SessionBusyError(session_id, f"waited {limits.queue_timeout_ms} ms")
        finally:
            with self._lock:
                live.waiting -= 1

    def _lease(self, live: Live) -> None:
        """Make sure that no other process has the session, and that we know its head."""
        now_ns = self.now_ns()
        lease_ns = self.limits.sessions.lease_ms * NS_PER_MS
        if now_ns < live.lease_until_ns - lease_ns * (LEASE_SHARE - 1) // LEASE_SHARE:
            return
        is_held = now_ns < live.lease_until_ns
        if not self.store.acquire(live.row.id, self._owner, now_ns, now_ns + lease_ns):
            raise SessionBusyError(live.row.id, "another process works in it")
        live.lease_until_ns = now_ns + lease_ns
        if not is_held:
            live.take(self.find(live.row.id))

    def maintain(self) -> None:
        """Renew the leases of what is at work, and put to sleep what is idle. Called in between."""
        now_ns = self.now_ns()
        until_ns = now_ns + self.limits.sessions.lease_ms * NS_PER_MS
        with self._lock:
            busy = [live for live in self._live.values() if live.lock.locked()]
        for live in busy:
            # A lease that was lost is not fought for: what the run did is refused when it is kept.
            if live.lease_until_ns and self.store.acquire(
                live.row.id, self._owner, now_ns, until_ns
            ):
                live.lease_until_ns = until_ns
        self.sleep_idle()

    def _start_keeper(self) -> None:
        if self._keeper is None:
            limits = self.limits.sessions
            period_s = max(1, min(limits.lease_ms // LEASE_SHARE, limits.idle_ms)) / 1000
            self._keeper = threading.Thread(
                target=self._keep_on, args=(period_s,), name="cloche-sessions", daemon=True
            )
            self._keeper.start()

    def _keep_on(self, period_s: float) -> None:
        while not self._closed.wait(period_s):
            self.maintain()

    # --- waking and sleeping ---

    def awake(self, live: Live) -> SessionMachine:
        """Return the session's machine, woken if it sleeps."""
        if live.machine is not None and live.machine.awake:
            return live.machine
        self._make_room(live)
        head = live.head
        steps = [_step(row) for row in self.store.steps(live.row.id, after=head.snapshot_ordinal)]
        snapshot = None if head.snapshot is None else self.store.get_blob(head.snapshot)
        live.machine = SessionMachine(
            self._runner,
            live.settings,
            self.limits.replace(live.settings.limits),
            key=self._key,
            snapshot=snapshot,
            tail=steps,
            kept=self._kept,
        )
        live.tail = steps
        return live.machine

    def _make_room(self, wanted: Live) -> None:
        with self._lock:
            awake = [live for live in self._live.values() if live.machine is not None]
        for live in awake[: max(0, len(awake) + 1 - self.limits.sessions.live_count_max)]:
            if live is not wanted and live.lock.acquire(blocking=False):
                try:
                    self._sleep(live)
                finally:
                    live.lock.release()

    def sleep_idle(self) -> int:
        """Put to sleep what nobody used for `sessions.idle_ms`; return how many."""
        limit_ns = self._monotonic_ns() - self.limits.sessions.idle_ms * NS_PER_MS
        with self._lock:
            idle = [live for live in self._live.values() if live.used_ns <= limit_ns]
        count = 0
        for live in idle:
            if live.lock.acquire(blocking=False):
                try:
                    count += live.machine is not None
                    self._sleep(live)
                finally:
                    live.lock.release()
        return count

    def sleep(self, session_id: str) -> None:
        """Keep a session's state, and free what it holds here."""
        with self._lock:
            live = self._live.get(session_id)
        if live is not None:
            with live.lock:
                self._sleep(live)

    def _sleep(self, live: Live) -> None:
        machine, live.machine = live.machine, None
        try:
            if machine is not None and machine.awake and live.tail and self._still_ours(live):
                live.machine = machine
                self.keep_snapshot(live)
        finally:
            live.machine = None
            if machine is not None:
                machine.close()
            if live.lease_until_ns:
                self.store.release(live.row.id, self._owner)
                live.lease_until_ns = 0
            with self._lock:
                if not live.waiting and self._live.get(live.row.id) is live:
                    del self._live[live.row.id]

    def _still_ours(self, live: Live) -> bool:
        # Without a snapshot nothing is lost: the operations are kept, waking takes longer.
        return self.now_ns() < live.lease_until_ns

    def close(self) -> None:
        """Put everything to sleep."""
        self._closed.set()
        with self._lock:
            sessions = list(self._live.values())
        for live in sessions:
            with live.lock:
                self._sleep(live)

    # --- keeping ---

    def keep(self, live: Live, operation: Operation, *, run: RunRow | None = None) -> None:
        """Make one operation that happened durable; with a snapshot when that is due.

        Raises:
            SessionBusyError: another process changed the session; the operation is lost here, and
                the machine with it.
        """
        machine = live.machine
        assert machine is not None
        head, step = advance(live.head, operation)
        tail = [*live.tail, step]
        snapshots: list[SnapshotRow] = []
        if snapshot_is_due(tail, machine.size_bytes):
            head, snapshots, tail = self._take_snapshot(live, machine, head)
        if run is not None:
            run = replace(run, ordinal=step.ordinal)
        row = self._next_row(live, head)
        steps = [StepRow(session_id=row.id, ordinal=step.ordinal, document=_json.encode(step))]
        try:
            self.store.apply(Change(session=row, steps=steps, snapshots=snapshots, run=run))
        except BaseException:
            self._drop(live)
            raise
        live.row, live.head, live.tail = row, head, tail
        self._forget_old(live, bool(snapshots))

    def keep_snapshot(self, live: Live) -> Head:
        """Keep a snapshot of where the session is, unless there is one; return the head."""
        if live.head.snapshot_ordinal != live.head.ordinal:
            head, snapshots, tail = self._take_snapshot(live, self.awake(live), live.head)
            row = self._next_row(live, head)
            self.store.apply(Change(session=row, snapshots=snapshots))
            live.row, live.head, live.tail = row, head, tail
            self._forget_old(live, True)
        return live.head

    def _take_snapshot(
        self, live: Live, machine: SessionMachine, head: Head
    ) -> tuple[Head, list[SnapshotRow], list[Step]]:
        blob = machine.snapshot()
        sha256 = self.store.put_blob(blob)
        kept = SnapshotRow(
            session_id=live.row.id,
            ordinal=head.ordinal,
            sha256=sha256,
            size_bytes=len(blob),
            created_ns=self.now_ns(),
        )
        head = msgspec.structs.replace(head, snapshot=sha256, snapshot_ordinal=head.ordinal)
        return head, [kept], []

    def _forget_old(self, live: Live, is_new: bool) -> None:
        if not is_new:
            return
        kept = self.store.snapshots(live.row.id)
        for row in kept[: -self.limits.sessions.snapshot_count_max]:
            self.store.forget_snapshot(live.row.id, row.ordinal)

    def _next_row(self, live: Live, head: Head) -> SessionRow:
        return replace(
            live.row,
            head=_json.encode(head),
            revision=live.row.revision + 1,
            changed_ns=self.now_ns(),
        )

    def _drop(self, live: Live) -> None:
        if live.machine is not None:
            live.machine.close()
            live.machine = None
        live.lease_until_ns = 0

    # --- runs ---

    def run(
        self,
        session_id: str,
        make_request: Callable[[Live, int, int], RunRequest],
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: OutputListener | None = None,
        cancel: CancelToken | None = None,
        wait: bool = True,
    ) -> Execution:
        """Run something in a session, to its end; a guest's failure is data.

        Args:
            session_id: where.
            make_request: called with the session, the seed and the time of the run.
            handlers: who performs which kind of effect.
            on_output: gets each piece of output.
            cancel: stops the run.
            wait: whether to wait for other runs of the session.

        Raises:
            SessionBusyError, SessionNotFoundError, InvalidRunError: nothing ran.
        """
        with self.turn(session_id, wait=wait) as live:
            self.recover(live, handlers)
            machine = self.awake(live)
            request = make_request(live, run_seed(live.settings, live.head), self.now_ns())
            run = self._begin(live, request)
            sink = StoreSink(self.store, run.id)
            execution = self._execute(
                live,
                run,
                lambda: machine.run(
                    request,
                    run_id=run.id,
                    handlers=handlers,
                    on_output=on_output,
                    sink=sink,
                    cancel=cancel,
                ),
            )
            self._finish(live, run, execution, sink.count)
            return execution

    def _begin(self, live: Live, request: RunRequest) -> RunRow:
        row = RunRow(
            id=new_run_id(),
            session_id=live.row.id,
            language=request.language,
            status="running",
            started_ns=self.now_ns(),
        )
        self.store.put_run(row)
        return row

    def _execute(self, live: Live, run: RunRow, execute: Callable[[], Execution]) -> Execution:
        try:
            return execute()
        except BaseException:
            ended = replace(run, status="interrupted", ended_ns=self.now_ns())
            self._drop(live)
            self.store.put_run(ended)
            raise

    def _finish(self, live: Live, run: RunRow, execution: Execution, entry_count: int) -> None:
        assert live.machine is not None
        assert execution.journal_hash is not None
        ended = replace(
            run,
            status=_status(execution),
            ended_ns=self.now_ns(),
            exit_code=execution.exit_code,
            journal_hash=execution.journal_hash,
            entry_count=entry_count,
            result=_json.encode(_result_document(execution)),
        )
        if not live.machine.awake:
            # The guest was stopped: the state is the one before, and the instance is gone.
            self.store.put_run(ended)
            self._drop(live)
            return
        operation = Ran(
            run_id=run.id,
            journal_hash=execution.journal_hash,
            time_ms=execution.result.time_ms or 0,
        )
        self.keep(live, operation, run=ended)

    def recover(
        self, live: Live, handlers: Mapping[str, EffectHandler] | None = None
    ) -> list[RunRow]:
        """Settle the runs that a dead process left: finished, resumed, or interrupted.

        A run whose journal is complete is finished; one whose recorded effects all have answers, or
        whose handlers are at hand, goes on; any other is `interrupted`, and the session is where it
        was before.
        """
        left = [
            run
            for run in self.store.list_runs(session_id=live.row.id, limit=1)
            if run.status in ("running", "queued")
        ]
        return [self._settle(live, run, handlers or {}) for run in left]

    def _settle(self, live: Live, run: RunRow, handlers: Mapping[str, EffectHandler]) -> RunRow:
        records = self.store.read_journal(run.id)
        journal = read_run_journal(self.store, run.id, self.limits) if records else None
        if journal is None or not _can_resume(journal, handlers):
            ended = replace(run, status="interrupted", ended_ns=self.now_ns())
            self.store.put_run(ended)
            return ended
        machine = self.awake(live)
        sink = StoreSink(self.store, run.id, index=len(records))
        try:
            execution = self._execute(
                live,
                run,
                lambda: machine.run(
                    self._request_of(journal),
                    run_id=run.id,
                    handlers=handlers,
                    sink=sink,
                    resume=journal,
                ),
            )
        except DivergenceError:
            found = self.store.get_run(run.id)
            assert found is not None
            return found
        self._finish(live, run, execution, sink.count)
        found = self.store.get_run(run.id)
        assert found is not None
        return found

    # --- time travel ---

    def history(self, live: Live) -> list[Step]:
        """Return every operation of a session, in order."""
        return [_step(row) for row in self.store.steps(live.row.id)]

    def image_id(self, name: str) -> str:
        """Return the id of an image, made if need be."""
        return self._runner.images.get(name).id

    def revert(self, live: Live, ordinal: int) -> None:
        """Go back to the state after an operation; what came later is forgotten.

        Raises:
            SessionError: there is no such operation.
        """
        steps = [_step(row) for row in self.store.steps(live.row.id)]
        if not 0 <= ordinal <= len(steps):
            raise SessionError(
                f"session {live.row.id} has operations 1 to {len(steps)}; {ordinal} is none of them"
            )
        head = first_head(live.settings)
        for step in steps[:ordinal]:
            head, _ = advance(head, step.operation)
        for kept in self.store.snapshots(live.row.id):
            if kept.ordinal <= ordinal:
                head = msgspec.structs.replace(
                    head, snapshot=kept.sha256, snapshot_ordinal=kept.ordinal
                )
        row = self._next_row(live, head)
        self.store.rewind(row)
        if live.machine is not None and head.state != live.head.state:
            live.machine.close()
            live.machine = None
        live.row, live.head = row, head
        live.tail = [s for s in steps[:ordinal] if s.ordinal > head.snapshot_ordinal]

    def fork(self, live: Live, *, name: str | None = None) -> SessionRow:
        """Create a session in the same state, with the same past."""
        _check_name(name, self.limits)
        if live.head.ordinal:
            self.keep_snapshot(live)
        now_ns = self.now_ns()
        session_id = f"ses-{secrets.token_hex(ID_BYTES)}"
        row = replace(
            live.row, id=session_id, name=name, created_ns=now_ns, changed_ns=now_ns, revision=0
        )
        steps = [replace(step, session_id=session_id) for step in self.store.steps(live.row.id)]
        snapshots = [
            replace(kept, session_id=session_id) for kept in self.store.snapshots(live.row.id)
        ]
        self.store.create_session(row, steps, snapshots)
        return row

    def delete(self, session_id: str) -> None:
        """Remove a session and everything of it; deleting twice is an error."""
        with self.turn(session_id, wait=False) as live:
            if live.machine is not None:
                live.machine.close()
                live.machine = None
            self.store.delete_session(live.row.id)
            with self._lock:
                self._live.pop(live.row.id, None)


def _check_name(name: str | None, limits: Limits) -> None:
    if name is None:
        return
    limit = limits.sessions.name_limit_bytes
    if not name.isprintable() or not name.strip() or len(name.encode()) > limit:
        raise InvalidRunError(
            f"{name!r} is no name for a session; it has 1 to {limit} bytes, all printable"
        )
    if name.startswith("ses-"):
        raise InvalidRunError("a session's name cannot start with 'ses-', ids do")


def _step(row: StepRow) -> Step:
    return msgspec.json.decode(row.document, type=Step)


def _status(execution: Execution) -> RunStatus:
    error = execution.error
    if error is None:
        return "completed"
    return "cancelled" if error.fields.get("resource") == "cancelled" else "failed"


def _result_document(execution: Execution) -> dict[str, object]:
    result, error = execution.result, execution.error
    return {
        "stdout": result.run.stdout,
        "stderr": result.run.stderr,
        "time_ms": result.time_ms,
        "memory_bytes": result.memory_bytes,
        "error": None if error is None else error.to_document(),
    }


def _can_resume(journal: Journal, handlers: Mapping[str, EffectHandler]) -> bool:
    """Return whether a run can go on: it is over, asked for nothing, or who answers is here."""
    from cloche.gate.entries import EffectStarted  # noqa: PLC0415

    if journal.finish is not None:
        return True
    kinds = {entry.kind for entry in journal.entries if isinstance(entry, EffectStarted)}
    return kinds <= handlers.keys()
