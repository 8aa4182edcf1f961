"""What sessions need of a store, as a protocol, and the rows that cross it.

Every method is durable on return, atomic, and callable from any thread. Times are nanoseconds of
the Unix epoch, given by the caller; documents are bytes that the store does not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

RunStatus = Literal[
    "queued", "running", "suspended", "completed", "failed", "interrupted", "cancelled"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session. `settings` and `head` are JSON; `revision` counts the changes of the head."""

    id: str
    name: str | None
    language: str
    created_ns: int
    changed_ns: int
    settings: bytes
    head: bytes
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run. `ordinal` is that of the operation it became, 0 while it is none."""

    id: str
    session_id: str | None
    language: str
    status: RunStatus
    started_ns: int
    ended_ns: int | None = None
    exit_code: int | None = None
    journal_hash: str | None = None
    entry_count: int = 0
    ordinal: int = 0
    result: bytes = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """An operation of a session: `document` is a `Step` as JSON."""

    session_id: str
    ordinal: int
    document: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRow:
    """A snapshot that is kept: taken after the operation `ordinal`."""

    session_id: str
    ordinal: int
    sha256: str
    size_bytes: int
    created_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one operation changes, all of it or nothing.

    Args:
        session: the row afterwards; its `revision` is one more than the one it replaces.
        steps: to add.
        snapshots: to add; their blobs are kept already.
        run: to replace.
    """

    session: SessionRow
    steps: Sequence[StepRow] = ()
    snapshots: Sequence[SnapshotRow] = ()
    run: RunRow | None = None


class SessionStore(Protocol):
    """Keeps sessions, their operations and snapshots, runs, journals and blobs."""

    def create_session(self, row: SessionRow, steps: Sequence[StepRow] = (),
                       snapshots: Sequence[SnapshotRow] = ()) -> None:  # fmt: skip
        """Add a session.

        Raises:
            SessionExistsError: the name is taken.
        """

    def get_session(self, id_or_name: str) -> SessionRow | None:
        """Return a session by id, else by name."""

    def list_sessions(self, *, after: str = "", limit: int) -> list[SessionRow]:
        """Return sessions in order of id, from behind `after`."""

    def apply(self, change: Change) -> None:
        """Make a change durable.

        Raises:
            SessionBusyError: the session has another revision than the change was made from.
        """

    def rewind(self, session: SessionRow) -> None:
        """Set the head back; steps and snapshots behind it are forgotten."""

    def delete_session(self, session_id: str) -> None:
        """Remove a session with its steps, snapshots and runs."""

    def steps(self, session_id: str, *, after: int = 0) -> list[StepRow]:
        """Return the operations with a greater ordinal, in order."""

    def snapshots(self, session_id: str) -> list[SnapshotRow]:
        """Return the snapshots, oldest first."""

    def forget_snapshot(self, session_id: str, ordinal: int) -> None:
        """Remove a snapshot; its blob goes when nothing names it any more."""

    def acquire(self, session_id: str, owner: str, now_ns: int, until_ns: int) -> bool:
        """Take or renew the lease of a session; False when another owner has it at `now_ns`."""

    def release(self, session_id: str, owner: str) -> None:
        """Give the lease back."""

    def put_run(self, row: RunRow) -> None:
        """Add a run, or replace it."""

    def get_run(self, run_id: str) -> RunRow | None:
        """Return a run."""

    def list_runs(
        self, *, session_id: str | None = None, after: str = "", limit: int
    ) -> list[RunRow]:
        """Return runs, newest first, from behind the id `after`."""

    def append_journal(self, run_id: str, index: int, records: Sequence[bytes]) -> None:
        """Append encoded records; the first of them has this index."""

    def read_journal(self, run_id: str) -> list[bytes]:
        """Return all records of a run."""

    def put_blob(self, content: bytes) -> str:
        """Keep a content; return its SHA-256 in hex. Equal contents are kept once."""

    def get_blob(self, sha256: str) -> bytes:
        """Return a content.

        Raises:
            KeyError: it is not kept.
        """

    def collect_garbage(self) -> int:
        """Remove blobs that no snapshot and no step names; return how many."""

    def close(self) -> None:
        """Release what the store holds; a second call does nothing."""
