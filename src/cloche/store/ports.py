"""What a store does, as protocols. `rows` has the values that cross them.

One `Store` has a part for each kind of thing: `store.sessions`, `store.journals`, `store.blobs`…
Rules of every method:
- what it changed is durable when it returns, all of it or nothing of it;
- it may be called from any thread; two processes may have the same store open;
- times are nanoseconds of the Unix epoch, given by the caller; the store reads no clock;
- lists come in a stated order, at most `limit` rows (1 to `store.page_count_max`), from behind
  `after`, which is the id of the last row of the page before, or "" for the first page;
- besides what it names, it raises `StoreInvalidError` for a value that cannot be kept,
  `StoreTooLargeError`, `StoreClosedError`, and what the database cannot do:
  `StoreUnavailableError`, `StoreBusyError`, `StoreFullError`, `StoreReadOnlyError`,
  `StoreCorruptError`.

It implements nothing: adapters do. `cloche.testing.store` checks that they do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cloche.store.errors import StoreUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cloche.store.rows import (
        Approval,
        ApprovalChange,
        ApprovalStatus,
        AuditHead,
        AuditRow,
        BlobInfo,
        Change,
        Document,
        JournalAppend,
        JournalHead,
        Lease,
        Leased,
        Promise,
        Run,
        RunStatus,
        Session,
        SessionState,
        Snapshot,
        Step,
        Timer,
    )


class SessionTable(Protocol):
    """Sessions with their history: steps, and the snapshots that shorten it."""

    def create(
        self, session: Session, *, steps: Sequence[Step] = (), snapshots: Sequence[Snapshot] = ()
    ) -> None:
        """Add a session, with the history of another one when it is a fork.

        Raises:
            StoreExistsError: the id or the name is taken.
            StoreUnknownError: a blob or a run that it names is not kept.
        """

    def get(self, id_or_name: str) -> Session | None:
        """Return the session of this id, else of this name."""

    def list(
        self, *, state: SessionState | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Session]:
        """Return sessions in the order of their ids."""

    def apply(self, change: Change) -> Session:
        """Make a change and return the session as it is now, its revision one more.

        Raises:
            StoreChangedError: the session has another revision, a run has ended, or a journal has
                another length.
            StoreExistsError: the new name or the ordinal of a step is taken.
            StoreUnknownError: the session, or a run or blob that the change names, is not kept.
            LeaseLostError: the lease of the change is not the last one given.
        """

    def delete(self, session_id: str) -> bool:
        """Remove a session, its history and its lease; return whether there was one.

        Its runs go too, except those that a fork's history names: they are no session's then.
        """

    def steps(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Step]:
        """Return steps with a greater ordinal than `after`, in order."""

    def snapshots(self, session_id: str) -> Sequence[Snapshot]:
        """Return all snapshots, oldest first."""


class LeaseTable(Protocol):
    """One runner for each session at a time, across processes."""

    def acquire(self, session_id: str, *, owner: str, now_ns: int, until_ns: int) -> Leased:
        """Take the lease of a session. An owner that has it gets it again, with a new end.

        Nobody else who has to have the lease changes the session from the moment on at which it was
        read: `Leased.session` is what to go on from.

        Raises:
            LeaseHeldError: another owner has it at `now_ns`.
            StoreUnknownError: there is no such session.
        """

    def get(self, session_id: str) -> Lease | None:
        """Return the lease of a session, which may be over by now; None when nobody has one."""

    def renew(self, lease: Lease, *, until_ns: int) -> Lease:
        """Move the end of a lease. One that expired and that nobody took is still good.

        Raises:
            LeaseLostError: somebody else took it, or it was released.
        """

    def release(self, lease: Lease) -> None:
        """Give a lease back; nothing happens when it is lost already."""


class RunTable(Protocol):
    """Runs, each with a journal."""

    def create(
        self, run: Run, *, entries: Sequence[bytes] = (), documents: Sequence[Document] = ()
    ) -> None:
        """Add a run; its journal begins with these entries.

        Args:
            run: to add.
            entries: of its journal.
            documents: what is to be kept together with it; see `DocumentTable.put`.

        Raises:
            StoreExistsError: the id is taken.
            StoreChangedError: another revision of a document is kept.
            StoreUnknownError: its session is not kept.
        """

    def get(self, run_id: str) -> Run | None:
        """Return a run."""

    def list(
        self,
        *,
        session_id: str | None = None,
        status: RunStatus | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Run]:
        """Return runs, newest first: by creation, then by id."""

    def update(
        self,
        run: Run,
        *,
        expected: RunStatus,
        append: JournalAppend | None = None,
        is_lazy: bool = False,
    ) -> None:
        """Replace a run that has the expected status. Its session and creation never change.

        Args:
            run: as it shall be.
            expected: the status that it must have.
            append: what goes to the end of its journal, together with that.
            is_lazy: the loss of power may undo it while nothing was changed after it.

        Raises:
            StoreChangedError: it has another status, the new one cannot follow it, or its journal
                has another length.
            StoreUnknownError: there is no such run.
        """

    def delete(self, run_id: str) -> bool:
        """Remove a run with its journal, promises, timers and approvals; False if there is none.

        Raises:
            StoreChangedError: the history of a session names it.
        """

    def prune(self, *, ended_before_ns: int, limit: int = 1000) -> int:
        """Remove runs that ended before, oldest first, unless history names them; return how many.

        This is retention: call it with a limit until it returns 0.
        """


class JournalTable(Protocol):
    """The journal of each run: encoded entries, in order, only ever appended to."""

    def append(
        self,
        run_id: str,
        entries: Sequence[bytes],
        *,
        expected_count: int,
        head: bytes = b"",
        is_lazy: bool = False,
    ) -> int:
        """Append entries behind `expected_count` others; return how many there are now.

        Appends of many runs at the same time share one transaction.

        Args:
            run_id: whose journal.
            entries: as encoded; the store does not read them.
            expected_count: entries that the caller knows of: what makes this safe to repeat.
            head: hash of the last of these entries, kept beside the count.
            is_lazy: the loss of power may undo it while nothing was changed after it.

        Raises:
            StoreChangedError: there are more or fewer entries; none was appended.
            StoreUnknownError: there is no such run.
        """

    def head(self, run_id: str) -> JournalHead | None:
        """Return where the journal of a run ends; None when there is no such run."""

    def read(self, run_id: str, *, start: int = 0, limit: int = 1000) -> Sequence[bytes]:
        """Return entries from index `start` on."""


class BlobTable(Protocol):
    """Contents, each kept once, compressed, under the SHA-256 of what it is.

    A blob lives while a session, a step, a snapshot or a pin names it. One that nothing names is
    removed by `collect`, which leaves those alone that were put, or put again, after `before_ns`:
    keep that behind now by more than it takes to put a blob and then to name it.
    """

    def put(self, content: bytes | Iterable[bytes], *, now_ns: int) -> BlobInfo:
        """Keep a content, given whole or in chunks; held in memory is one chunk at a time.

        Raises:
            StoreTooLargeError: it is over `store.blob_limit_bytes`; nothing is kept.
        """

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield a content in chunks, verified: the last one comes only when all of it is right.

        Raises:
            StoreUnknownError: it is not kept.
            StoreCorruptError: what is kept is not the content; chunks before it were given out.
        """

    def get(self, sha256: str) -> bytes:
        """Return a content, verified. Raises as `read` does."""

    def info(self, sha256: str) -> BlobInfo | None:
        """Return what is known of a blob."""

    def pin(self, holder: str, sha256: str) -> None:
        """Keep a blob for a holder; a second time changes nothing.

        Raises:
            StoreUnknownError: it is not kept.
        """

    def unpin(self, holder: str) -> int:
        """Drop all pins of a holder; return how many there were."""

    def collect(self, *, before_ns: int, limit: int = 1000) -> int:
        """Remove blobs that nothing names and that were last put before; return how many."""


class PromiseTable(Protocol):
    """Values that are given later, once."""

    def create(self, promise: Promise) -> None:
        """Add a promise. Raises StoreExistsError, or StoreUnknownError for its run."""

    def get(self, promise_id: str) -> Promise | None:
        """Return a promise."""

    def complete(self, promise_id: str, value: bytes, *, now_ns: int) -> bool:
        """Give the value; False, and nothing changes, when it has one already.

        Raises:
            StoreUnknownError: there is no such promise.
        """


class TimerTable(Protocol):
    """Wake-ups that survive a restart."""

    def set(self, timer: Timer) -> None:
        """Add a timer, or move the one of this id. Raises StoreUnknownError for its run."""

    def due(self, *, now_ns: int, limit: int = 100) -> Sequence[Timer]:
        """Return the timers that are due, earliest first, ties by id. They stay until removed."""

    def next_due_ns(self) -> int | None:
        """Return when the earliest timer is due."""

    def remove(self, timer_id: str) -> bool:
        """Remove a timer; True for exactly one of those who try."""


class ApprovalTable(Protocol):
    """Questions to people."""

    def create(self, approval: Approval) -> None:
        """Add a pending approval.

        Raises:
            StoreExistsError: the id is taken, or the run has one for this `seq`.
            StoreUnknownError: its run is not kept.
        """

    def get(self, approval_id: str) -> Approval | None:
        """Return an approval."""

    def list(
        self,
        *,
        status: ApprovalStatus | None = None,
        run_id: str | None = None,
        expired_ns: int | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Approval]:
        """Return approvals in the order of their ids; with `expired_ns`: that are over by then."""

    def count(self, status: ApprovalStatus) -> int:
        """Return how many approvals have a status."""

    def apply(self, change: ApprovalChange) -> AuditHead:
        """Make a change, with what the audit says of it; return where the audit ends now.

        Raises:
            StoreChangedError: the audit has gone on, an approval is not pending any more, or a run
                has another status.
            StoreUnknownError: a run is not kept.
        """

    def decide(
        self, approval_id: str, status: ApprovalStatus, *, decision: bytes = b"", now_ns: int
    ) -> Approval:
        """Answer a pending approval and return it; the same answer again changes nothing.

        Args:
            approval_id: which.
            status: anything but pending.
            decision: kept with the first answer.
            now_ns: from `expires_ns` on the answer is "expired", whatever it was.

        Raises:
            StoreChangedError: it was answered otherwise before, or has expired.
            StoreUnknownError: there is no such approval.
        """

    def expire(self, *, now_ns: int, limit: int = 100) -> Sequence[Approval]:
        """Set pending approvals that are over to expired; return those, in the order of ids."""


class AuditTable(Protocol):
    """What happened, in order, for ever: rows are added by `ApprovalTable.apply` alone."""

    def head(self) -> AuditHead:
        """Return where the audit ends."""

    def read(self, *, start: int = 0, limit: int = 1000) -> Sequence[AuditRow]:
        """Return rows from index `start` on."""


class DocumentTable(Protocol):
    """Small things by kind and name, each replaced by those alone who know the newest."""

    def get(self, kind: str, name: str) -> Document | None:
        """Return a document."""

    def put(self, document: Document) -> None:
        """Keep a document: revision 1 is new, any other replaces the one before it.

        Raises:
            StoreChangedError: another revision is kept.
        """

    def list(self, kind: str, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """Return the documents of a kind in the order of their names."""

    def remove(self, kind: str, name: str, *, revision: int | None = None) -> bool:
        """Remove a document, with `revision` that one alone; return whether it was there."""


class Store(Protocol):
    """All parts of one store."""

    @property
    def url(self) -> str:
        """Where it is, without a password."""

    @property
    def sessions(self) -> SessionTable:
        """Sessions and their history."""

    @property
    def leases(self) -> LeaseTable:
        """Who runs a session."""

    @property
    def runs(self) -> RunTable:
        """Runs."""

    @property
    def journals(self) -> JournalTable:
        """The journal of each run."""

    @property
    def blobs(self) -> BlobTable:
        """Contents by digest."""

    @property
    def promises(self) -> PromiseTable:
        """Values given later."""

    @property
    def timers(self) -> TimerTable:
        """Durable wake-ups."""

    @property
    def approvals(self) -> ApprovalTable:
        """Questions to people."""

    @property
    def audit(self) -> AuditTable:
        """What was asked and decided."""

    @property
    def documents(self) -> DocumentTable:
        """Small things by name."""

    def close(self) -> None:
        """Release what the store holds; a second call does nothing."""


def wait_promise(
    promises: PromiseTable, promise_id: str, pause: Callable[[], bool]
) -> bytes | None:
    """Return the value of a promise, asking again after each pause; None when the caller gives up.

    Args:
        promises: where it is kept.
        promise_id: which.
        pause: called while there is no value; waits as long as it likes; False gives up.

    Raises:
        StoreUnknownError: there is no such promise.
    """
    while True:
        promise = promises.get(promise_id)
        if promise is None:
            raise StoreUnknownError(what="promise", id=promise_id)
        if promise.value is not None:
            return promise.value
        if not pause():
            return None
