"""What a store holds: the rows that cross its port.

Rules of this file:
- times are integers, nanoseconds of the Unix epoch, given by the caller;
- ids are given by the caller: 1 to 200 bytes, printable, the same for ever;
- a document is bytes that the store keeps and does not read, up to `store.document_limit_bytes`;
- a blob is named by the SHA-256 of its content, 64 lower-case hex digits.

Pure. An invalid row cannot exist: construction raises `StoreInvalidError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, get_args

from cloche.store.errors import StoreInvalidError

SessionState = Literal["open", "closed"]
RunStatus = Literal[
    "queued", "running", "suspended", "completed", "failed", "interrupted", "cancelled"
]
ApprovalStatus = Literal["pending", "approved", "denied", "expired", "cancelled"]

# A run in one of these never changes again. An interrupted run may still be resumed.
FINAL_STATUSES: Final[frozenset[RunStatus]] = frozenset({"completed", "failed", "cancelled"})
# A run in one of these is over for now: it has its end time, and retention may remove it.
ENDED_STATUSES: Final[frozenset[RunStatus]] = FINAL_STATUSES | {"interrupted"}

ID_LIMIT_BYTES: Final = 200
HASH_BYTES: Final = 32
TIME_NS_MAX: Final = (1 << 63) - 1  # a 64-bit integer in every database

_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a session is.

    Args:
        ordinal: of its last step; 0 before the first.
        snapshot: blob of its newest snapshot, None for the image's own state.
        snapshot_ordinal: the step that snapshot was taken after. Its tail, what has to be replayed
            on waking, is every step with a greater ordinal.
        files: blob of its files, where they are kept apart from the snapshot.
        document: whatever else the session layer knows of the state.
    """

    ordinal: int = 0
    snapshot: str | None = None
    snapshot_ordinal: int = 0
    files: str | None = None
    document: bytes = b"{}"

    def __post_init__(self) -> None:
        _check_count("head.ordinal", self.ordinal)
        _check_count("head.snapshot_ordinal", self.snapshot_ordinal)
        _check_blob("head.snapshot", self.snapshot)
        _check_blob("head.files", self.files)
        if self.snapshot_ordinal > self.ordinal:
            raise StoreInvalidError(
                where="head.snapshot_ordinal",
                problem=f"is {self.snapshot_ordinal}, behind head.ordinal {self.ordinal}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session. `revision` counts its changes; whoever changes it says which one it read.

    Args:
        settings: limits, policy and all else it was created with: a document.
        working_dir: absolute path inside the guest where runs start.
    """

    id: str
    name: str | None = None
    language: str
    image_id: str
    created_ns: int
    changed_ns: int
    working_dir: str = "/"
    state: SessionState = "open"
    settings: bytes = b"{}"
    head: Head = field(default_factory=Head)
    revision: int = 0

    def __post_init__(self) -> None:
        check_id("session.id", self.id)
        if self.name is not None:
            check_id("session.name", self.name)
        check_id("session.language", self.language)
        check_id("session.image_id", self.image_id)
        _check_time("session.created_ns", self.created_ns)
        _check_time("session.changed_ns", self.changed_ns)
        _check_text("session.working_dir", self.working_dir)
        _check_choice("session.state", self.state, SessionState)
        _check_count("session.revision", self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation in the history of a session; the ordinal counts from 1.

    Args:
        run_id: the run that it was, if it was one. The run is kept as long as a step names it.
        blob: content that it needs, an upload for example. Kept as long as the step.
        document: what the operation was.
    """

    ordinal: int
    run_id: str | None = None
    blob: str | None = None
    document: bytes = b"{}"

    def __post_init__(self) -> None:
        _check_ordinal("step.ordinal", self.ordinal)
        if self.run_id is not None:
            check_id("step.run_id", self.run_id)
        _check_blob("step.blob", self.blob)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot that is kept: the state after the step `ordinal`, as a blob."""

    ordinal: int
    blob: str
    size_bytes: int
    created_ns: int

    def __post_init__(self) -> None:
        _check_count("snapshot.ordinal", self.ordinal)
        _check_blob("snapshot.blob", self.blob)
        _check_count("snapshot.size_bytes", self.size_bytes)
        _check_time("snapshot.created_ns", self.created_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution. How long its journal is stands in `JournalHead`.

    Args:
        session_id: None for a run of its own.
        ended_ns: when it ended; None exactly while it is queued, running or suspended.
        request: what was asked for, a document.
        usage: what it used so far, a document.
        result: how it ended or what it wrote so far, a document.
    """

    id: str
    session_id: str | None = None
    language: str
    status: RunStatus
    created_ns: int
    started_ns: int | None = None
    ended_ns: int | None = None
    request: bytes = b"{}"
    usage: bytes = b"{}"
    result: bytes = b"{}"

    def __post_init__(self) -> None:
        check_id("run.id", self.id)
        if self.session_id is not None:
            check_id("run.session_id", self.session_id)
        check_id("run.language", self.language)
        _check_choice("run.status", self.status, RunStatus)
        _check_time("run.created_ns", self.created_ns)
        if self.started_ns is not None:
            _check_time("run.started_ns", self.started_ns)
        if self.ended_ns is not None:
            _check_time("run.ended_ns", self.ended_ns)
        if (self.ended_ns is not None) != (self.status in ENDED_STATUSES):
            raise StoreInvalidError(
                where="run.ended_ns", problem=f"is {self.ended_ns} while it is {self.status}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHead:
    """The end of a journal: how many entries, their bytes, the hash that the caller gave last."""

    count: int = 0
    size_bytes: int = 0
    hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalAppend:
    """Entries for the end of a run's journal, to be kept together with something else.

    Args:
        run_id: whose journal.
        entries: as encoded.
        expected_count: entries that are there before.
    """

    run_id: str
    entries: tuple[bytes, ...]
    expected_count: int

    def __post_init__(self) -> None:
        check_id("append.run_id", self.run_id)
        _check_count("append.expected_count", self.expected_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one operation changes, all of it or nothing.

    Args:
        session: the row as it shall be; `revision` is that of the row it was made from.
        token: of the lease under which it is made; None where one process owns the store.
        runs: to replace. Their status must be able to follow the one that is kept.
        journals: entries to append, once for each run.
        forget_after: history with a greater ordinal is dropped first: steps and snapshots.
        steps: to add.
        snapshots: to add; their blobs are kept already.
        forget_snapshots: ordinals of snapshots to drop.
    """

    session: Session
    token: int | None = None
    runs: tuple[Run, ...] = ()
    journals: tuple[JournalAppend, ...] = ()
    forget_after: int | None = None
    steps: tuple[Step, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    forget_snapshots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on a session. `token` grows with every owner: a fencing token."""

    session_id: str
    owner: str
    token: int
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A lease, and its session as it was when the lease was taken."""

    lease: Lease
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """What is known of a blob. `stored_bytes` is its size as kept, compressed."""

    sha256: str
    size_bytes: int
    stored_bytes: int
    put_ns: int
    reference_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A value that somebody gives later, once. `value` is None until then."""

    id: str
    run_id: str | None = None
    created_ns: int
    value: bytes | None = None
    completed_ns: int | None = None

    def __post_init__(self) -> None:
        check_id("promise.id", self.id)
        if self.run_id is not None:
            check_id("promise.run_id", self.run_id)
        _check_time("promise.created_ns", self.created_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A wake-up that survives everything: at `due_ns`, for the run."""

    id: str
    run_id: str
    due_ns: int

    def __post_init__(self) -> None:
        check_id("timer.id", self.id)
        check_id("timer.run_id", self.run_id)
        _check_time("timer.due_ns", self.due_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question to a person, and the answer. `seq` is that of the effect in its run.

    Args:
        document: the question, as it is shown.
        expires_ns: from then on nobody can decide any more.
        decision: what came with the answer: who, why; a document. Empty until then.
    """

    id: str
    run_id: str
    seq: int
    document: bytes
    created_ns: int
    expires_ns: int
    status: ApprovalStatus = "pending"
    decision: bytes = b""
    decided_ns: int | None = None

    def __post_init__(self) -> None:
        check_id("approval.id", self.id)
        check_id("approval.run_id", self.run_id)
        _check_count("approval.seq", self.seq)
        _check_time("approval.created_ns", self.created_ns)
        _check_time("approval.expires_ns", self.expires_ns)
        _check_choice("approval.status", self.status, ApprovalStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One thing that happened. `hash` is the SHA-256 of the hash before and of `data`.

    Args:
        run_id: which run it was about; it need not be kept any more.
        data: what happened, a document.
    """

    run_id: str
    data: bytes
    hash: bytes

    def __post_init__(self) -> None:
        check_id("audit.run_id", self.run_id)
        if type(self.hash) is not bytes or len(self.hash) != HASH_BYTES:
            raise StoreInvalidError(where="audit.hash", problem="is no SHA-256 of 32 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The end of the audit: how many rows, and the hash of the last (32 zeros before the first)."""

    count: int = 0
    hash: bytes = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Something small that is kept under a kind and a name. `revision` counts its changes from 1.

    Raises:
        StoreInvalidError: on construction, the kind or the name is no id, or the revision is 0.
    """

    kind: str
    name: str
    data: bytes
    revision: int = 1

    def __post_init__(self) -> None:
        check_id("document.kind", self.kind)
        check_id("document.name", self.name)
        _check_ordinal("document.revision", self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalChange:
    """What one step of the approvals changes, all of it or nothing.

    Args:
        expected_count: rows of the audit that the caller knows of: whoever changes anything about
            approvals adds to the audit, so nothing has changed since.
        audit: to add, at least one.
        approvals: to add, or to replace while they are pending.
        runs: to replace, each with the status that it must have.
        documents: to put.
        is_lazy: the loss of power may undo it while nothing was changed after it.
    """

    expected_count: int
    audit: tuple[AuditRow, ...]
    approvals: tuple[Approval, ...] = ()
    runs: tuple[tuple[Run, RunStatus], ...] = ()
    documents: tuple[Document, ...] = ()
    is_lazy: bool = False

    def __post_init__(self) -> None:
        _check_count("change.expected_count", self.expected_count)
        if not self.audit:
            raise StoreInvalidError(where="change.audit", problem="is empty; every change is told")


def can_follow(old: RunStatus, new: RunStatus) -> bool:
    """Return whether a run may go from one status to the other: what is final stays as it is."""
    return (old not in FINAL_STATUSES and new != "queued") or old == new == "queued"


def check_id(where: str, value: str) -> None:
    """Raise unless a value can be an id or a name.

    Raises:
        StoreInvalidError: not text, empty, too long, or with characters that do not print.
    """
    is_short = type(value) is str and 0 < len(value) <= ID_LIMIT_BYTES
    if is_short and value.isascii() and value.isprintable():
        return  # nearly all are so
    _check_text(where, value)
    if not value.isprintable():
        raise StoreInvalidError(where=where, problem="holds characters that do not print")
    if len(value.encode()) > ID_LIMIT_BYTES:
        raise StoreInvalidError(
            where=where, problem=f"has {len(value.encode())} bytes, more than {ID_LIMIT_BYTES}"
        )


def check_sha256(value: str) -> None:
    """Raise unless a value names a blob.

    Raises:
        StoreInvalidError: not 64 lower-case hex digits.
    """
    _check_blob("blob", value)


def _check_text(where: str, value: str) -> None:
    if not isinstance(value, str) or not value:
        raise StoreInvalidError(where=where, problem=f"is {value!r}; it must be text, not empty")
    # PostgreSQL keeps no NUL in text, and half a surrogate pair is no UTF-8.
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise StoreInvalidError(where=where, problem="holds NUL or half a surrogate pair")


def _check_blob(where: str, value: str | None) -> None:
    if value is not None and not (isinstance(value, str) and _SHA256.match(value)):
        raise StoreInvalidError(where=where, problem=f"is {value!r}, no SHA-256 in hex")


def _check_time(where: str, value: int) -> None:
    if type(value) is not int or not 0 <= value <= TIME_NS_MAX:
        raise StoreInvalidError(
            where=where, problem=f"is {value!r}; it must be nanoseconds, 0 to {TIME_NS_MAX}"
        )


def _check_count(where: str, value: int) -> None:
    if type(value) is not int or not 0 <= value <= TIME_NS_MAX:
        raise StoreInvalidError(where=where, problem=f"is {value!r}; it must be a whole number")


def _check_ordinal(where: str, value: int) -> None:
    _check_count(where, value)
    if value == 0:
        raise StoreInvalidError(where=where, problem="is 0; ordinals count from 1")


@lru_cache
def _choices(kind: object) -> tuple[str, ...]:
    return get_args(kind)


def _check_choice(where: str, value: str, choices: object) -> None:
    if value not in _choices(choices):
        raise StoreInvalidError(
            where=where, problem=f"is {value!r}, none of {', '.join(_choices(choices))}"
        )
