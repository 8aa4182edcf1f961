"""What a store in memory holds, and what its parts share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from cloche.store.errors import (
    StoreChangedError,
    StoreClosedError,
    StoreUnknownError,
)
from cloche.store.rows import (
    Approval,
    AuditRow,
    Document,
    Promise,
    Run,
    Session,
    Snapshot,
    Step,
    Timer,
    can_follow,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cloche.limits import Limits
    from cloche.store.rows import RunStatus


Row = TypeVar("Row", Session, Approval)


@dataclass(slots=True)
class JournalRows:
    """The journal of one run."""

    entries: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    head: bytes = b""


@dataclass(slots=True)
class State:
    """Everything that is kept. Histories are by ordinal, in order."""

    sessions: dict[str, Session] = field(default_factory=dict)
    steps: dict[str, dict[int, Step]] = field(default_factory=dict)
    snapshots: dict[str, dict[int, Snapshot]] = field(default_factory=dict)
    leases: dict[str, tuple[str | None, int, int]] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    journals: dict[str, JournalRows] = field(default_factory=dict)
    blobs: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    pins: dict[str, set[str]] = field(default_factory=dict)
    promises: dict[str, Promise] = field(default_factory=dict)
    timers: dict[str, Timer] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    audit: list[AuditRow] = field(default_factory=list)
    documents: dict[tuple[str, str], Document] = field(default_factory=dict)

    def require_run(self, run_id: str) -> Run:
        """Return a run, or raise StoreUnknownError."""
        if run_id not in self.runs:
            raise StoreUnknownError(what="run", id=run_id)
        return self.runs[run_id]

    def require_blob(self, sha256: str) -> None:
        """Raise StoreUnknownError unless a blob is kept."""
        if sha256 not in self.blobs:
            raise StoreUnknownError(what="blob", id=sha256)

    def run_holder(self, run_id: str) -> str | None:
        """Return a session whose history names a run."""
        for session_id, steps in self.steps.items():
            if any(step.run_id == run_id for step in steps.values()):
                return session_id
        return None

    def drop_run(self, run_id: str) -> None:
        """Remove a run with all that hangs on it."""
        del self.runs[run_id], self.journals[run_id]
        hanging: tuple[dict[str, Promise] | dict[str, Timer] | dict[str, Approval], ...]
        hanging = (self.promises, self.timers, self.approvals)
        for table in hanging:
            for name in [name for name, row in table.items() if row.run_id == run_id]:
                del table[name]

    def reference_count(self, sha256: str) -> int:
        """Return how many rows name a blob."""
        heads = [session.head for session in self.sessions.values()]
        named = [head.snapshot for head in heads] + [head.files for head in heads]
        named += [step.blob for steps in self.steps.values() for step in steps.values()]
        named += [kept.blob for rows in self.snapshots.values() for kept in rows.values()]
        return named.count(sha256) + sum(sha256 in pinned for pinned in self.pins.values())


class Owner(Protocol):
    """The store, as its parts see it."""

    url: str
    limits: Limits
    lock: threading.RLock
    state: State
    is_closed: bool


class Part:
    """Base of the parts: they share the state and its lock."""

    def __init__(self, store: Owner) -> None:
        self._store = store
        self.limits = store.limits

    @contextmanager
    def _state(self) -> Iterator[State]:
        with self._store.lock:
            if self._store.is_closed:
                raise StoreClosedError(store=self._store.url)
            yield self._store.state


def check_journal(state: State, run_id: str, expected_count: int) -> None:
    """Raise unless the journal of a run has so many entries."""
    state.require_run(run_id)
    found = len(state.journals[run_id].entries)
    if found != expected_count:
        raise StoreChangedError(
            what="journal",
            id=run_id,
            expected=f"{expected_count} entries",
            found=f"{found}",
        )


def append_entries(
    state: State, run_id: str, entries: Sequence[bytes], *, head: bytes = b""
) -> None:
    """Append entries to the journal of a run."""
    journal = state.journals[run_id]
    journal.entries.extend(entries)
    journal.size_bytes += sum(map(len, entries))
    journal.head = head


def check_run_change(state: State, run: Run, expected: RunStatus | None) -> None:
    """Raise unless a run may be replaced."""
    found = state.require_run(run.id).status
    if expected is not None and found != expected:
        raise StoreChangedError(what="run", id=run.id, expected=expected, found=found)
    if not can_follow(found, run.status):
        raise StoreChangedError(
            what="run", id=run.id, expected=f"a status before {run.status}", found=found
        )


def replace_run(state: State, run: Run) -> None:
    """Replace a run, but not where it belongs."""
    old = state.runs[run.id]
    state.runs[run.id] = replace(run, session_id=old.session_id, created_ns=old.created_ns)


def page_of(rows: Iterable[Row], after: str, limit: int) -> list[Row]:
    """Return the rows of one page, in the order of their ids."""
    key: Callable[[Row], bytes] = lambda row: row.id.encode()  # noqa: E731 - of a type variable
    return sorted((row for row in rows if key(row) > after.encode()), key=key)[:limit]
