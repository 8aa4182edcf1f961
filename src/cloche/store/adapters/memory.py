"""A store in memory: for tests, and for programs that keep nothing.

One lock makes every call atomic. It keeps the rules of the port to the letter, foreign keys
included, but nothing outlives the process.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from cloche.limits import Limits
from cloche.store.adapters.memory_records import MemoryAudit, MemoryDocuments, check_revision
from cloche.store.adapters.memory_state import (
    JournalRows,
    Part,
    State,
    append_entries,
    check_journal,
    check_run_change,
    page_of,
    replace_run,
)
from cloche.store.adapters.memory_waits import MemoryApprovals, MemoryPromises, MemoryTimers
from cloche.store.checks import (
    check_append,
    check_document,
    check_entries,
    check_history,
    check_page,
    check_run,
    check_session,
    chunks_of,
)
from cloche.store.errors import (
    LeaseHeldError,
    LeaseLostError,
    StoreChangedError,
    StoreExistsError,
    StoreUnknownError,
)
from cloche.store.rows import (
    BlobInfo,
    JournalHead,
    Lease,
    Leased,
    Run,
    Session,
    Snapshot,
    Step,
    check_id,
    check_sha256,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cloche.store.rows import Change, Document, JournalAppend, RunStatus, SessionState


class MemoryStore:
    """The port `Store`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.url = "memory:"
        self.limits = limits or Limits()
        self.lock = threading.RLock()
        self.state = State()
        self.is_closed = False
        self.sessions = MemorySessions(self)
        self.leases = MemoryLeases(self)
        self.runs = MemoryRuns(self)
        self.journals = MemoryJournals(self)
        self.blobs = MemoryBlobs(self)
        self.promises = MemoryPromises(self)
        self.timers = MemoryTimers(self)
        self.approvals = MemoryApprovals(self)
        self.audit = MemoryAudit(self)
        self.documents = MemoryDocuments(self)

    def close(self) -> None:
        """Drop everything; a second call does nothing."""
        with self.lock:
            self.is_closed = True
            self.state = State()


class MemorySessions(Part):
    """The port `SessionTable`."""

    def create(
        self, session: Session, *, steps: Sequence[Step] = (), snapshots: Sequence[Snapshot] = ()
    ) -> None:
        """Add a session with its history."""
        check_session(session, self.limits)
        check_history(steps, snapshots, self.limits)
        with self._state() as state:
            if session.id in state.sessions:
                raise StoreExistsError(what="session", id=session.id)
            _check_session(state, session, steps, snapshots)
            state.sessions[session.id] = session
            _add_history(state, session.id, steps, snapshots)

    def get(self, id_or_name: str) -> Session | None:
        """Return the session of this id, else of this name."""
        check_id("session", id_or_name)
        with self._state() as state:
            if id_or_name in state.sessions:
                return state.sessions[id_or_name]
            named = (row for row in state.sessions.values() if row.name == id_or_name)
            return next(named, None)

    def list(
        self, *, state: SessionState | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Session]:
        """Return sessions in the order of their ids."""
        check_page(limit, self.limits)
        with self._state() as kept:
            rows = [row for row in kept.sessions.values() if state in (None, row.state)]
            return page_of(rows, after, limit)

    def apply(self, change: Change) -> Session:
        """Make a change: all is checked before anything is written."""
        check_session(change.session, self.limits)
        check_history(change.steps, change.snapshots, self.limits)
        for run in change.runs:
            check_run(run, self.limits)
        for append in change.journals:
            check_append(append, self.limits)
        with self._state() as state:
            _check_change(state, change)
            for run in change.runs:
                replace_run(state, run)
            for append in change.journals:
                append_entries(state, append.run_id, append.entries)
            _forget(state, change)
            _add_history(state, change.session.id, change.steps, change.snapshots)
            changed = replace(
                change.session,
                revision=change.session.revision + 1,
                created_ns=state.sessions[change.session.id].created_ns,
            )
            state.sessions[changed.id] = changed
            return changed

    def delete(self, session_id: str) -> bool:
        """Remove a session, its history, its lease and the runs that nobody else names."""
        check_id("session", session_id)
        with self._state() as state:
            if state.sessions.pop(session_id, None) is None:
                return False
            for table in (state.steps, state.snapshots, state.leases):
                table.pop(session_id, None)
            for run in [run for run in state.runs.values() if run.session_id == session_id]:
                if state.run_holder(run.id) is None:
                    state.drop_run(run.id)
                else:
                    state.runs[run.id] = replace(run, session_id=None)
            return True

    def steps(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Step]:
        """Return steps behind an ordinal."""
        check_id("session", session_id)
        check_page(limit, self.limits)
        with self._state() as state:
            rows = state.steps.get(session_id, {})
            return [rows[ordinal] for ordinal in sorted(rows) if ordinal > after][:limit]

    def snapshots(self, session_id: str) -> Sequence[Snapshot]:
        """Return all snapshots, oldest first."""
        check_id("session", session_id)
        with self._state() as state:
            rows = state.snapshots.get(session_id, {})
            return [rows[ordinal] for ordinal in sorted(rows)]


class MemoryLeases(Part):
    """The port `LeaseTable`."""

    def acquire(self, session_id: str, *, owner: str, now_ns: int, until_ns: int) -> Leased:
        """Take the lease of a session."""
        check_id("session", session_id)
        check_id("owner", owner)
        with self._state() as state:
            if session_id not in state.sessions:
                raise StoreUnknownError(what="session", id=session_id)
            holder, token, end_ns = state.leases.get(session_id, (None, 0, 0))
            if holder is not None and holder != owner and end_ns > now_ns:
                raise LeaseHeldError(session_id=session_id, owner=holder, until_ns=end_ns)
            token += holder != owner
            state.leases[session_id] = (owner, token, until_ns)
            lease = Lease(session_id=session_id, owner=owner, token=token, until_ns=until_ns)
            return Leased(lease=lease, session=state.sessions[session_id])

    def get(self, session_id: str) -> Lease | None:
        """Return the lease of a session."""
        check_id("session", session_id)
        with self._state() as state:
            owner, token, until_ns = state.leases.get(session_id, (None, 0, 0))
            if owner is None:
                return None
            return Lease(session_id=session_id, owner=owner, token=token, until_ns=until_ns)

    def renew(self, lease: Lease, *, until_ns: int) -> Lease:
        """Move the end of a lease."""
        with self._state() as state:
            if state.leases.get(lease.session_id, ())[:2] != (lease.owner, lease.token):
                raise LeaseLostError(session_id=lease.session_id, token=lease.token)
            state.leases[lease.session_id] = (lease.owner, lease.token, until_ns)
            return replace(lease, until_ns=until_ns)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        with self._state() as state:
            if state.leases.get(lease.session_id, ())[:2] == (lease.owner, lease.token):
                state.leases[lease.session_id] = (None, lease.token, 0)


class MemoryRuns(Part):
    """The port `RunTable`."""

    def create(
        self, run: Run, *, entries: Sequence[bytes] = (), documents: Sequence[Document] = ()
    ) -> None:
        """Add a run; its journal begins with these entries."""
        check_run(run, self.limits)
        check_entries(entries, b"", self.limits)
        for document in documents:
            check_document("document.data", document.data, self.limits)
        with self._state() as state:
            if run.id in state.runs:
                raise StoreExistsError(what="run", id=run.id)
            if run.session_id is not None and run.session_id not in state.sessions:
                raise StoreUnknownError(what="session", id=run.session_id)
            for document in documents:
                check_revision(state, document)
            state.documents.update({(one.kind, one.name): one for one in documents})
            state.runs[run.id] = run
            state.journals[run.id] = JournalRows()
            append_entries(state, run.id, entries)

    def get(self, run_id: str) -> Run | None:
        """Return a run."""
        check_id("run", run_id)
        with self._state() as state:
            return state.runs.get(run_id)

    def list(
        self,
        *,
        session_id: str | None = None,
        status: RunStatus | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Run]:
        """Return runs, newest first."""
        check_page(limit, self.limits)
        with self._state() as state:
            rows = [
                run
                for run in state.runs.values()
                if session_id in (None, run.session_id) and status in (None, run.status)
            ]
            if after:
                last = _age(state.require_run(after))
                rows = [run for run in rows if _age(run) < last]
            return sorted(rows, key=_age, reverse=True)[:limit]

    def update(
        self,
        run: Run,
        *,
        expected: RunStatus,
        append: JournalAppend | None = None,
        is_lazy: bool = False,  # noqa: ARG002 - nothing here outlives the process
    ) -> None:
        """Replace a run that has the expected status."""
        check_run(run, self.limits)
        check_append(append, self.limits)
        with self._state() as state:
            check_run_change(state, run, expected)
            if append is not None:
                check_journal(state, append.run_id, append.expected_count)
                append_entries(state, append.run_id, append.entries)
            replace_run(state, run)

    def delete(self, run_id: str) -> bool:
        """Remove a run with all that hangs on it."""
        check_id("run", run_id)
        with self._state() as state:
            if (holder := state.run_holder(run_id)) is not None:
                raise StoreChangedError(
                    what="run",
                    id=run_id,
                    expected="no history that names it",
                    found=f"that of session '{holder}'",
                )
            if run_id not in state.runs:
                return False
            state.drop_run(run_id)
            return True

    def prune(self, *, ended_before_ns: int, limit: int = 1000) -> int:
        """Remove runs that ended before, oldest first, unless history names them."""
        check_page(limit, self.limits)
        with self._state() as state:
            old = [
                (run.ended_ns, run.id.encode(), run.id)
                for run in state.runs.values()
                if run.ended_ns is not None
                and run.ended_ns < ended_before_ns
                and state.run_holder(run.id) is None
            ]
            chosen = [run_id for _, _, run_id in sorted(old)[:limit]]
            for run_id in chosen:
                state.drop_run(run_id)
            return len(chosen)


class MemoryJournals(Part):
    """The port `JournalTable`."""

    def append(
        self,
        run_id: str,
        entries: Sequence[bytes],
        *,
        expected_count: int,
        head: bytes = b"",
        is_lazy: bool = False,  # noqa: ARG002 - as above
    ) -> int:
        """Append entries; return how many there are now."""
        check_id("run", run_id)
        check_entries(entries, head, self.limits)
        with self._state() as state:
            check_journal(state, run_id, expected_count)
            append_entries(state, run_id, entries, head=head)
            return expected_count + len(entries)

    def head(self, run_id: str) -> JournalHead | None:
        """Return where the journal of a run ends."""
        check_id("run", run_id)
        with self._state() as state:
            journal = state.journals.get(run_id)
            if journal is None:
                return None
            return JournalHead(
                count=len(journal.entries), size_bytes=journal.size_bytes, hash=journal.head
            )

    def read(self, run_id: str, *, start: int = 0, limit: int = 1000) -> Sequence[bytes]:
        """Return entries from an index on."""
        check_id("run", run_id)
        check_page(limit, self.limits)
        with self._state() as state:
            journal = state.journals.get(run_id)
            return [] if journal is None else journal.entries[max(0, start) :][:limit]


class MemoryBlobs(Part):
    """The port `BlobTable`."""

    def put(self, content: bytes | Iterable[bytes], *, now_ns: int) -> BlobInfo:
        """Keep a content, given whole or in chunks."""
        data = b"".join(chunks_of(content, self.limits))
        sha256 = hashlib.sha256(data).hexdigest()
        with self._state() as state:
            _, put_ns = state.blobs.get(sha256, (b"", 0))
            state.blobs[sha256] = (data, max(put_ns, now_ns))
            return self._info(state, sha256)

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield a content in chunks."""
        return chunks_of(self.get(sha256), self.limits)

    def get(self, sha256: str) -> bytes:
        """Return a content."""
        check_sha256(sha256)
        with self._state() as state:
            state.require_blob(sha256)
            return state.blobs[sha256][0]

    def info(self, sha256: str) -> BlobInfo | None:
        """Return what is known of a blob."""
        check_sha256(sha256)
        with self._state() as state:
            return self._info(state, sha256) if sha256 in state.blobs else None

    def _info(self, state: State, sha256: str) -> BlobInfo:
        data, put_ns = state.blobs[sha256]
        return BlobInfo(
            sha256=sha256,
            size_bytes=len(data),
            stored_bytes=len(data),
            put_ns=put_ns,
            reference_count=state.reference_count(sha256),
        )

    def pin(self, holder: str, sha256: str) -> None:
        """Keep a blob for a holder."""
        check_id("holder", holder)
        check_sha256(sha256)
        with self._state() as state:
            state.require_blob(sha256)
            state.pins.setdefault(holder, set()).add(sha256)

    def unpin(self, holder: str) -> int:
        """Drop all pins of a holder."""
        check_id("holder", holder)
        with self._state() as state:
            return len(state.pins.pop(holder, ()))

    def collect(self, *, before_ns: int, limit: int = 1000) -> int:
        """Remove blobs that nothing names and that were last put before."""
        check_page(limit, self.limits)
        with self._state() as state:
            garbage = [
                (put_ns, sha256)
                for sha256, (_, put_ns) in state.blobs.items()
                if put_ns < before_ns and not state.reference_count(sha256)
            ]
            chosen = sorted(garbage)[:limit]
            for _, sha256 in chosen:
                del state.blobs[sha256]
            return len(chosen)


def _age(run: Run) -> tuple[int, bytes]:
    return run.created_ns, run.id.encode()


def _check_change(state: State, change: Change) -> None:
    _check_session_change(state, change)
    for run in change.runs:
        check_run_change(state, run, None)
    for append in change.journals:
        check_journal(state, append.run_id, append.expected_count)
    _check_ordinals(state, change)


def _check_session_change(state: State, change: Change) -> None:
    session = change.session
    found = state.sessions.get(session.id)
    if found is None:
        raise StoreUnknownError(what="session", id=session.id)
    if found.revision != session.revision:
        raise StoreChangedError(
            what="session",
            id=session.id,
            expected=f"revision {session.revision}",
            found=f"revision {found.revision}",
        )
    if change.token is not None:
        owner, token, _ = state.leases.get(session.id, (None, 0, 0))
        if owner is None or token != change.token:
            raise LeaseLostError(session_id=session.id, token=change.token)
    _check_session(state, session, change.steps, change.snapshots)


def _check_ordinals(state: State, change: Change) -> None:
    session, kept = change.session, change.forget_after
    for step in change.steps:
        if step.ordinal in state.steps.get(session.id, {}) and (
            kept is None or step.ordinal <= kept
        ):
            raise StoreExistsError(what="step", id=f"{session.id}/{step.ordinal}")
    for snapshot in change.snapshots:
        is_there = snapshot.ordinal in state.snapshots.get(session.id, {})
        is_dropped = snapshot.ordinal in change.forget_snapshots
        if is_there and not is_dropped and (kept is None or snapshot.ordinal <= kept):
            raise StoreExistsError(what="snapshot", id=f"{session.id}/{snapshot.ordinal}")


def _check_session(
    state: State, session: Session, steps: Sequence[Step], snapshots: Sequence[Snapshot]
) -> None:
    for other in state.sessions.values():
        if session.name is not None and other.name == session.name and other.id != session.id:
            raise StoreExistsError(what="session", id=session.name)
    for step in steps:
        if step.run_id is not None:
            state.require_run(step.run_id)
    named = [step.blob for step in steps] + [snapshot.blob for snapshot in snapshots]
    for sha256 in (*named, session.head.snapshot, session.head.files):
        if sha256 is not None:
            state.require_blob(sha256)


def _forget(state: State, change: Change) -> None:
    session_id = change.session.id
    steps = state.steps.get(session_id, {})
    snapshots = state.snapshots.get(session_id, {})
    if change.forget_after is not None:
        for rows in (steps, snapshots):
            for ordinal in [ordinal for ordinal in rows if ordinal > change.forget_after]:
                del rows[ordinal]
    for ordinal in change.forget_snapshots:
        snapshots.pop(ordinal, None)


def _add_history(
    state: State, session_id: str, steps: Sequence[Step], snapshots: Sequence[Snapshot]
) -> None:
    state.steps.setdefault(session_id, {}).update({row.ordinal: row for row in steps})
    state.snapshots.setdefault(session_id, {}).update({row.ordinal: row for row in snapshots})
