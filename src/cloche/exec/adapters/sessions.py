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

from cloche.exec.adapters.process_owner import is_gone, owner_name
from cloche.exec.adapters.session_live import Live, head_row, step_row
from cloche.exec.adapters.session_machine import Kept, SessionMachine
from cloche.exec.adapters.session_store import read_run_journal
from cloche.exec.errors import (
    InvalidRunError,
    SessionBusyError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
)
from cloche.exec.session_log import (
    Head,
    Operation,
    SessionSettings,
    Step,
    advance,
    first_head,
    sleep_is_cheap,
    snapshot_is_due,
)
from cloche.store.errors import (
    LeaseHeldError,
    LeaseLostError,
    StoreChangedError,
    StoreExistsError,
    StoreUnknownError,
)
from cloche.store.rows import Change, Run, Session, Snapshot
from cloche.store.rows import Step as StepRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloche.exec.adapters.runner import Runner
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.store.ports import Store
    from cloche.store.rows import JournalAppend, Leased

ID_BYTES: Final = 12
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
_PAGE: Final = 1000
LEASE_SHARE: Final = 3  # a lease is renewed when a third of it is over

_json = msgspec.json.Encoder()


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
        store: Store,
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
        self.runner = runner.for_store(store.url)
        self.key = key
        self.request_of = request_of
        self.now_ns = now_ns
        self._monotonic_ns = monotonic_ns
        self._owner = owner_name()
        self._lock = threading.Lock()
        self._live: OrderedDict[str, Live] = OrderedDict()
        self._keeper: threading.Thread | None = None
        self._closed = threading.Event()
        self._kept = Kept(
            content=store.blobs.get,
            journal=self.journal,
            request=request_of,
        )

    def journal(self, run_id: str) -> Journal:
        """Return the journal of a run that a session's history names."""
        journal = read_run_journal(self.store, run_id, self.limits)
        if journal is None:
            raise SessionError(f"the journal of run {run_id} is not in the store any more")
        return journal

    # --- making and finding ---

    def create(self, settings: SessionSettings, *, name: str | None = None) -> Session:
        """Create a session; its image is made if need be.

        Raises:
            SessionExistsError: the name is taken. InvalidRunError: it is no name.
        """
        check_name(name, self.limits)
        now_ns = self.now_ns()
        row = Session(
            id=f"ses-{secrets.token_hex(ID_BYTES)}",
            name=name,
            language=settings.language,
            image_id=settings.image_id,
            created_ns=now_ns,
            changed_ns=now_ns,
            settings=_json.encode(settings),
            head=head_row(first_head(settings)),
        )
        self.add(row)
        return row

    def add(
        self, row: Session, steps: Sequence[StepRow] = (), snapshots: Sequence[Snapshot] = ()
    ) -> None:
        """Keep a new session.

        Raises:
            SessionExistsError: its name is taken.
        """
        try:
            self.store.sessions.create(row, steps=steps, snapshots=snapshots)
        except StoreExistsError:
            raise SessionExistsError(row.name or row.id) from None

    def find(self, id_or_name: str) -> Session:
        """Return a session.

        Raises:
            SessionNotFoundError: there is none.
        """
        row = self.store.sessions.get(id_or_name)
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
        try:
            self._enter(live, session_id, wait=wait)
            try:
                self._lease(live)
                yield live
            finally:
                try:
                    live.used_ns = self._monotonic_ns()
                finally:
                    live.lock.release()
        finally:
            self._leave(live)

    def _entry(self, session_id: str) -> Live:
        with self._lock:
            live = self._live.get(session_id)
            if live is not None:
                self._live.move_to_end(session_id)
            else:
                self._start_keeper()
                live = self._live[session_id] = Live(session_id)
            live.users += 1
            return live

    def _leave(self, live: Live) -> None:
        with self._lock:
            live.users -= 1
            if live.lease is None and live.machine is None:
                self._forget(live)  # nothing is held of it: there may be no such session

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
        held = live.lease
        if held is not None and held.until_ns - now_ns > lease_ns // LEASE_SHARE:
            return
        try:
            taken = self._acquire(live.id, now_ns, now_ns + lease_ns)
        except LeaseHeldError:
            raise SessionBusyError(live.id, "another process works in it") from None
        except StoreUnknownError:
            raise SessionNotFoundError(live.id) from None
        live.lease = taken.lease
        if held is None or held.token != taken.lease.token:
            live.take(taken.session)

    def _acquire(self, session_id: str, now_ns: int, until_ns: int) -> Leased:
        """Take the lease of a session, also from a process of this machine that has died."""
        leases = self.store.leases
        try:
            return leases.acquire(session_id, owner=self._owner, now_ns=now_ns, until_ns=until_ns)
        except LeaseHeldError:
            held = leases.get(session_id)
            if held is None or not is_gone(held.owner):
                raise
            leases.release(held)  # nothing happens if another process was faster
        return leases.acquire(session_id, owner=self._owner, now_ns=now_ns, until_ns=until_ns)

    def maintain(self) -> None:
        """Renew the leases of what is at work, and put to sleep what is idle. Called in between."""
        until_ns = self.now_ns() + self.limits.sessions.lease_ms * NS_PER_MS
        with self._lock:
            busy = [live for live in self._live.values() if live.lock.locked()]
        for live in busy:
            lease = live.lease
            if lease is None:
                continue
            try:
                live.lease = self.store.leases.renew(lease, until_ns=until_ns)
            except LeaseLostError:
                # Not fought for: what the run did is refused when it is to be kept.
                live.lease = None
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
        tail = self._tail(live, live.head)
        live.machine = self.wake(live, live.head, tail)
        live.tail = tail
        return live.machine

    def wake_as(self, settings: SessionSettings) -> SessionMachine:
        """Return a machine in the start state of some settings; the caller closes it."""
        return self.runner.machine(
            settings,
            self.limits.replace(settings.limits),
            key=self.key,
            snapshot=None,
            tail=(),
            kept=self._kept,
        )

    def wake(self, live: Live, head: Head, steps: list[Step] | None = None) -> SessionMachine:
        """Return a machine of its own in one of the session's states; the caller closes it.

        Args:
            live: the session.
            head: the state.
            steps: what follows the head's snapshot, where that is known.
        """
        if steps is None:
            steps = self._tail(live, head)
        snapshot = None if head.snapshot is None else self.store.blobs.get(head.snapshot)
        return self.runner.machine(
            live.settings,
            self.limits.replace(live.settings.limits),
            key=self.key,
            snapshot=snapshot,
            tail=[step for step in steps if step.ordinal <= head.ordinal],
            kept=self._kept,
        )

    def _tail(self, live: Live, head: Head) -> list[Step]:
        """Return what follows a head's snapshot."""
        if head.ordinal == head.snapshot_ordinal:
            return []
        return self.history(live, after=head.snapshot_ordinal)

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
            is_worth_it = machine is not None and machine.awake and not sleep_is_cheap(live.tail)
            if is_worth_it and self._still_ours(live):
                live.machine = machine
                self.keep_snapshot(live)
        finally:
            live.machine = None
            if machine is not None:
                machine.close()
            if live.lease is not None:
                self.store.leases.release(live.lease)
                live.lease = None
            with self._lock:
                self._forget(live)

    def _forget(self, live: Live) -> None:
        if not live.users and self._live.get(live.id) is live:
            del self._live[live.id]

    def _still_ours(self, live: Live) -> bool:
        # Without a snapshot nothing is lost: the operations are kept, waking takes longer.
        return live.lease is not None and self.now_ns() < live.lease.until_ns

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Put everything to sleep."""
        self._closed.set()
        with self._lock:
            sessions = list(self._live.values())
        for live in sessions:
            with live.lock:
                self._sleep(live)

    # --- keeping ---

    def keep(
        self,
        live: Live,
        operation: Operation,
        *,
        run: Run | None = None,
        append: JournalAppend | None = None,
    ) -> None:
        """Make one operation that happened durable; with a snapshot when that is due.

        Args:
            live: the session.
            operation: what happened.
            run: the run that it was, as it ended.
            append: the end of its journal.

        Raises:
            SessionBusyError: another process changed the session; the operation is lost here, and
                the machine with it.
        """
        machine = live.machine
        assert machine is not None
        head, step = advance(live.head, operation)
        tail = [*live.tail, step]
        snapshots: tuple[Snapshot, ...] = ()
        if snapshot_is_due(tail, machine.size_bytes):
            head, snapshots, tail = self._take_snapshot(machine, head)
        self.apply(
            live,
            head,
            steps=(step_row(step),),
            snapshots=snapshots,
            runs=() if run is None else (run,),
            journals=() if append is None else (append,),
        )
        live.tail = tail

    def apply(
        self,
        live: Live,
        head: Head,
        *,
        steps: tuple[StepRow, ...] = (),
        snapshots: tuple[Snapshot, ...] = (),
        runs: tuple[Run, ...] = (),
        journals: tuple[JournalAppend, ...] = (),
        forget_after: int | None = None,
    ) -> None:
        """Make a new head durable, with what goes with it.

        Raises:
            SessionBusyError: another process changed the session; what is alive is dropped.
        """
        row = replace(live.row, head=head_row(head), working_dir=head.cwd, changed_ns=self.now_ns())
        change = Change(
            session=row,
            token=None if live.lease is None else live.lease.token,
            steps=steps,
            snapshots=snapshots,
            runs=runs,
            journals=journals,
            forget_after=forget_after,
            forget_snapshots=self._outdated(live) if snapshots else (),
        )
        try:
            live.row = self.store.sessions.apply(change)
        except (StoreChangedError, LeaseLostError):
            self.drop(live)
            raise SessionBusyError(live.id, "another process took it over") from None
        except BaseException:
            self.drop(live)
            raise
        live.head = head

    def keep_snapshot(self, live: Live) -> Head:
        """Keep a snapshot of where the session is, unless there is one; return the head."""
        if live.head.snapshot_ordinal != live.head.ordinal:
            head, snapshots, tail = self._take_snapshot(self.awake(live), live.head)
            self.apply(live, head, snapshots=snapshots)
            live.tail = tail
        return live.head

    def _take_snapshot(
        self, machine: SessionMachine, head: Head
    ) -> tuple[Head, tuple[Snapshot, ...], list[Step]]:
        blob = machine.snapshot()
        now_ns = self.now_ns()
        kept = self.store.blobs.put(blob, now_ns=now_ns)
        snapshot = Snapshot(
            ordinal=head.ordinal, blob=kept.sha256, size_bytes=len(blob), created_ns=now_ns
        )
        head = msgspec.structs.replace(head, snapshot=kept.sha256, snapshot_ordinal=head.ordinal)
        return head, (snapshot,), []

    def _outdated(self, live: Live) -> tuple[int, ...]:
        kept = self.store.sessions.snapshots(live.id)
        count = len(kept) + 1 - self.limits.sessions.snapshot_count_max
        return tuple(snapshot.ordinal for snapshot in kept[: max(0, count)])

    def drop_machine(self, live: Live) -> None:
        """Free the memory of a session that goes on from another state; the lease is kept."""
        if live.machine is not None:
            live.machine.close()
            live.machine = None

    def drop(self, live: Live) -> None:
        """Forget what is alive of a session; the next one wakes it from what is kept."""
        if live.machine is not None:
            live.machine.close()
            live.machine = None

    def history(self, live: Live, *, after: int = 0) -> list[Step]:
        """Return the operations of a session behind an ordinal, in order."""
        rows = self.rows(live, after=after)
        return [msgspec.json.decode(row.document, type=Step) for row in rows]

    def rows(self, live: Live, *, after: int = 0) -> list[StepRow]:
        """Return the operations as they are kept."""
        found: list[StepRow] = []
        while page := self.store.sessions.steps(live.id, after=after, limit=_PAGE):
            found += page
            after = page[-1].ordinal
            if len(page) < _PAGE:
                break
        return found

    def image_id(self, name: str) -> str:
        """Return the id of an image, made if need be."""
        return self.runner.images.get(name).id

    def delete(self, session_id: str) -> None:
        """Remove a session and everything of it; deleting twice is an error."""
        with self.turn(session_id, wait=False) as live:
            if live.machine is not None:
                live.machine.close()
                live.machine = None
            self.store.sessions.delete(live.id)
            with self._lock:
                self._live.pop(live.id, None)


def check_name(name: str | None, limits: Limits) -> None:
    """Raise unless a session can have this name.

    Raises:
        InvalidRunError: too long, not printable, or it looks like an id.
    """
    if name is None:
        return
    limit = limits.sessions.name_limit_bytes
    if not name.isprintable() or not name.strip() or len(name.encode()) > limit:
        raise InvalidRunError(
            f"{name!r} is no name for a session; it has 1 to {limit} bytes, all printable"
        )
    if name.startswith("ses-"):
        raise InvalidRunError("a session's name cannot start with 'ses-', ids do")
