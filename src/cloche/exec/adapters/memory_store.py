"""A session store in memory: for tests, and for sessions that need not outlive the process."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from cloche.exec.errors import SessionBusyError, SessionExistsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.exec.session_ports import Change, RunRow, SessionRow, SnapshotRow, StepRow


class MemoryStore:
    """See `SessionStore`; durable as long as the object."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sessions: dict[str, SessionRow] = {}
        self._steps: dict[str, dict[int, StepRow]] = defaultdict(dict)
        self._snapshots: dict[str, dict[int, SnapshotRow]] = defaultdict(dict)
        self._leases: dict[str, tuple[str, int]] = {}
        self._runs: dict[str, RunRow] = {}
        self._journals: dict[str, list[bytes]] = defaultdict(list)
        self._blobs: dict[str, bytes] = {}

    def create_session(
        self,
        row: SessionRow,
        steps: Sequence[StepRow] = (),
        snapshots: Sequence[SnapshotRow] = (),
    ) -> None:
        """Add a session."""
        with self._lock:
            if row.name is not None and any(s.name == row.name for s in self._sessions.values()):
                raise SessionExistsError(row.name)
            self._sessions[row.id] = row
            self._steps[row.id] = {step.ordinal: step for step in steps}
            self._snapshots[row.id] = {snapshot.ordinal: snapshot for snapshot in snapshots}

    def get_session(self, id_or_name: str) -> SessionRow | None:
        """Return a session by id, else by name."""
        with self._lock:
            if id_or_name in self._sessions:
                return self._sessions[id_or_name]
            named = (row for row in self._sessions.values() if row.name == id_or_name)
            return next(named, None)

    def list_sessions(self, *, after: str = "", limit: int) -> list[SessionRow]:
        """Return sessions in order of id."""
        with self._lock:
            return [self._sessions[key] for key in sorted(self._sessions) if key > after][:limit]

    def apply(self, change: Change) -> None:
        """Make a change."""
        row = change.session
        with self._lock:
            if self._sessions[row.id].revision != row.revision - 1:
                raise SessionBusyError(row.id, "another process changed it")
            self._sessions[row.id] = row
            self._steps[row.id].update({step.ordinal: step for step in change.steps})
            self._snapshots[row.id].update({s.ordinal: s for s in change.snapshots})
            if change.run is not None:
                self._runs[change.run.id] = change.run

    def rewind(self, session: SessionRow) -> None:
        """Set the head back."""
        ordinal = msgspec.json.decode(session.head)["ordinal"]
        with self._lock:
            self.apply(_change(session))
            for kept in (self._steps[session.id], self._snapshots[session.id]):
                for number in [number for number in kept if number > ordinal]:
                    del kept[number]

    def delete_session(self, session_id: str) -> None:
        """Remove a session."""
        with self._lock:
            for table in (self._sessions, self._steps, self._snapshots, self._leases):
                table.pop(session_id, None)
            for run in [run for run in self._runs.values() if run.session_id == session_id]:
                del self._runs[run.id]
                self._journals.pop(run.id, None)

    def steps(self, session_id: str, *, after: int = 0) -> list[StepRow]:
        """Return the operations with a greater ordinal."""
        with self._lock:
            kept = self._steps[session_id]
            return [kept[ordinal] for ordinal in sorted(kept) if ordinal > after]

    def snapshots(self, session_id: str) -> list[SnapshotRow]:
        """Return the snapshots, oldest first."""
        with self._lock:
            kept = self._snapshots[session_id]
            return [kept[ordinal] for ordinal in sorted(kept)]

    def forget_snapshot(self, session_id: str, ordinal: int) -> None:
        """Remove a snapshot."""
        with self._lock:
            self._snapshots[session_id].pop(ordinal, None)

    def acquire(self, session_id: str, owner: str, now_ns: int, until_ns: int) -> bool:
        """Take or renew the lease."""
        with self._lock:
            holder, ends_ns = self._leases.get(session_id, (owner, 0))
            if holder != owner and ends_ns > now_ns:
                return False
            self._leases[session_id] = (owner, until_ns)
            return True

    def release(self, session_id: str, owner: str) -> None:
        """Give the lease back."""
        with self._lock:
            if self._leases.get(session_id, ("", 0))[0] == owner:
                del self._leases[session_id]

    def put_run(self, row: RunRow) -> None:
        """Add or replace a run."""
        with self._lock:
            self._runs[row.id] = row

    def get_run(self, run_id: str) -> RunRow | None:
        """Return a run."""
        with self._lock:
            return self._runs.get(run_id)

    def list_runs(
        self, *, session_id: str | None = None, after: str = "", limit: int
    ) -> list[RunRow]:
        """Return runs, newest first."""
        with self._lock:
            runs = [
                run
                for run in self._runs.values()
                if session_id is None or run.session_id == session_id
            ]
        runs.sort(key=lambda run: (run.started_ns, run.id), reverse=True)
        ids = [run.id for run in runs]
        first = ids.index(after) + 1 if after in ids else 0
        return runs[first : first + limit]

    def append_journal(self, run_id: str, index: int, records: Sequence[bytes]) -> None:
        """Append encoded records."""
        with self._lock:
            kept = self._journals[run_id]
            if len(kept) != index:
                raise SessionBusyError(run_id, "another process writes its journal")
            kept.extend(records)

    def read_journal(self, run_id: str) -> list[bytes]:
        """Return all records of a run."""
        with self._lock:
            return list(self._journals.get(run_id, ()))

    def put_blob(self, content: bytes) -> str:
        """Keep a content."""
        sha256 = hashlib.sha256(content).hexdigest()
        with self._lock:
            self._blobs[sha256] = content
        return sha256

    def get_blob(self, sha256: str) -> bytes:
        """Return a content."""
        with self._lock:
            return self._blobs[sha256]

    def collect_garbage(self) -> int:
        """Remove blobs that nothing names."""
        with self._lock:
            named = {s.sha256 for kept in self._snapshots.values() for s in kept.values()}
            documents = b"".join(
                step.document for kept in self._steps.values() for step in kept.values()
            )
            unnamed = [
                sha256
                for sha256 in self._blobs
                if sha256 not in named and sha256.encode() not in documents
            ]
            for sha256 in unnamed:
                del self._blobs[sha256]
            return len(unnamed)

    def close(self) -> None:
        """Nothing is held."""


def _change(session: SessionRow) -> Change:
    from cloche.exec.session_ports import Change  # noqa: PLC0415 - a cycle only for readers

    return Change(session=replace(session))
