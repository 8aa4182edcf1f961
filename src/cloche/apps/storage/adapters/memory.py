"""The storage of apps in memory: for tests, and for stores that keep nothing.

One lock makes every transaction alone; one that fails is undone change by change.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from cloche.apps.storage.rows import (
    JOB_ENDED,
    BlobRow,
    DocRow,
    JobRow,
    JobState,
    KvRow,
    ScheduleRow,
    Section,
    Usage,
    pin_holder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from cloche.apps.storage.ports import AppRows
    from cloche.store.ports import Store

T = TypeVar("T")


@dataclass(slots=True)
class _App:
    """All rows of one app."""

    usage: dict[str, Usage] = field(default_factory=dict)
    effects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    kv: dict[str, KvRow] = field(default_factory=dict)
    docs: dict[tuple[str, str], DocRow] = field(default_factory=dict)
    indexes: dict[tuple[str, str], None] = field(default_factory=dict)
    entries: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    blobs: dict[str, BlobRow] = field(default_factory=dict)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    schedules: dict[str, ScheduleRow] = field(default_factory=dict)

    def tables(self) -> tuple[dict[Any, Any], ...]:
        """Return all of them."""
        return (
            self.usage,
            self.effects,
            self.kv,
            self.docs,
            self.indexes,
            self.entries,
            self.blobs,
            self.jobs,
            self.schedules,
        )


class MemoryAppTables:
    """The port `AppTables`; contents are those of a store in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._apps: dict[str, _App] = {}

    def read(self, app: str, section: Section, work: Callable[[AppRows], T]) -> T:
        """Return what the work reads of an app."""
        with self._lock:
            return work(_Rows(self, app, self._apps.get(app, _App()), section))

    def write(self, app: str, section: Section, work: Callable[[AppRows], T]) -> T:
        """Return what the work returns; what it changed is undone when it raises."""
        with self._lock:
            rows = _Rows(self, app, self._apps.setdefault(app, _App()), section)
            try:
                value = work(rows)
                rows.finish()
            except BaseException:
                rows.undo()
                raise
            return value

    def put_content(self, content: bytes | Iterator[bytes], now_ns: int) -> tuple[str, int]:
        """Keep a content."""
        info = self._store.blobs.put(content, now_ns=now_ns)
        return info.sha256, info.size_bytes

    def read_content(self, sha256: str) -> Iterator[bytes]:
        """Yield a content."""
        return self._store.blobs.read(sha256)

    def due_apps(self, now_ns: int, *, after: str, limit: int) -> Sequence[str]:
        """Return apps with something to do."""
        with self._lock:
            due = [name for name, app in self._apps.items() if _is_due(app, now_ns)]
        return _page(due, after, limit)

    def next_due_ns(self) -> int | None:
        """Return when something is to do."""
        with self._lock:
            times = [
                time
                for app in self._apps.values()
                for time in (
                    *(row.next_ns for row in app.schedules.values()),
                    *(row.due_ns for row in app.jobs.values() if row.state == "pending"),
                    *(row.lease_until_ns or 0 for row in app.jobs.values() if _is_running(row)),
                )
            ]
        return min(times, default=None)

    def prune(self, *, remembered_before_ns: int, limit: int) -> int:
        """Forget effects."""
        with self._lock:
            found = [
                (app, key)
                for app in self._apps.values()
                for key, (_, when_ns) in app.effects.items()
                if when_ns < remembered_before_ns
            ][:limit]
            for app, key in found:
                del app.effects[key]
        return len(found)

    def remove_app(self, app: str, *, limit: int) -> int:
        """Remove rows of an app."""
        count = 0
        with self._lock:
            state = self._apps.get(app, _App())
            for path in list(state.blobs)[:limit]:
                self._store.blobs.unpin(pin_holder(app, path))
            for table in state.tables():
                for key in list(table)[:limit]:
                    del table[key]
                    count += 1
        return count

    def pin(self, app: str, row: BlobRow | None, path: str) -> None:
        """Hold the content of a path, or of none."""
        holder = pin_holder(app, path)
        if row is not None:
            # The new one first: a content that is not kept leaves the old one where it was.
            self._store.blobs.pin(f"{holder}-", row.sha256)
            self._store.blobs.unpin(f"{holder}-")
        self._store.blobs.unpin(holder)
        if row is not None:
            self._store.blobs.pin(holder, row.sha256)


def _is_running(row: JobRow) -> bool:
    return row.state == "running"


def _is_due(app: _App, now_ns: int) -> bool:
    if any(row.next_ns <= now_ns for row in app.schedules.values()):
        return True
    return any(
        row.due_ns <= now_ns if row.state == "pending" else (row.lease_until_ns or 0) <= now_ns
        for row in app.jobs.values()
        if row.state not in JOB_ENDED
    )


def _page(names: Iterable[str], after: str, limit: int) -> list[str]:
    return sorted((name for name in names if name.encode() > after.encode()), key=str.encode)[
        :limit
    ]


class _Rows:
    """The port `AppRows`: one transaction."""

    def __init__(self, tables: MemoryAppTables, app: str, state: _App, section: Section) -> None:
        self._tables = tables
        self._app = app
        self._state = state
        self._section = section
        self._undo: list[Callable[[], object]] = []
        self.usage = state.usage.get(section, Usage())

    def finish(self) -> None:
        self._put(self._state.usage, self._section, self.usage)

    def undo(self) -> None:
        for step in reversed(self._undo):
            step()

    def _put(self, table: dict[Any, Any], key: Hashable, row: Any) -> None:
        if key in table:
            before = table[key]
            self._undo.append(lambda: table.__setitem__(key, before))
        else:
            self._undo.append(lambda: table.pop(key))
        table[key] = row

    def _remove(self, table: dict[Any, Any], key: Hashable) -> None:
        if key in table:
            row = table.pop(key)
            self._undo.append(lambda: table.__setitem__(key, row))

    def recall(self, key: str) -> bytes | None:
        return self._state.effects.get(key, (None, 0))[0]

    def remember(self, key: str, value: bytes, now_ns: int) -> None:
        self._put(self._state.effects, key, (value, now_ns))

    # --- keys ---

    def get_key(self, key: str) -> KvRow | None:
        return self._state.kv.get(key)

    def put_key(self, row: KvRow) -> None:
        self._put(self._state.kv, row.key, row)

    def remove_key(self, key: str) -> None:
        self._remove(self._state.kv, key)

    def keys(self, *, start: str, after: str, now_ns: int, limit: int) -> Sequence[KvRow]:
        live = (
            row.key
            for row in self._state.kv.values()
            if row.key.encode() >= start.encode()
            and (row.expires_ns is None or row.expires_ns > now_ns)
        )
        return [self._state.kv[key] for key in _page(live, after, limit)]

    def expired_keys(self, now_ns: int, limit: int) -> Sequence[KvRow]:
        rows = self._state.kv.values()
        return [row for row in rows if row.expires_ns is not None and row.expires_ns <= now_ns][
            :limit
        ]

    # --- documents ---

    def get_doc(self, collection: str, doc_id: str) -> DocRow | None:
        return self._state.docs.get((collection, doc_id))

    def get_docs(self, collection: str, doc_ids: Sequence[str]) -> Sequence[DocRow]:
        found = (self._state.docs.get((collection, doc_id)) for doc_id in doc_ids)
        return [row for row in found if row is not None]

    def put_doc(self, row: DocRow) -> None:
        self._put(self._state.docs, (row.collection, row.id), row)

    def remove_doc(self, collection: str, doc_id: str) -> None:
        self.remove_entries(collection, doc_id)
        self._remove(self._state.docs, (collection, doc_id))

    def docs(self, collection: str, *, after: str, limit: int) -> Sequence[DocRow]:
        ids = (doc_id for found, doc_id in self._state.docs if found == collection)
        return [self._state.docs[collection, doc_id] for doc_id in _page(ids, after, limit)]

    def count_docs(self, collection: str) -> int:
        return sum(found == collection for found, _ in self._state.docs)

    def indexes(self, collection: str | None) -> Sequence[str]:
        fields = [name for found, name in self._state.indexes if collection in (None, found)]
        return sorted(fields, key=str.encode)

    def add_index(self, collection: str, field: str) -> None:
        self._put(self._state.indexes, (collection, field), None)

    def put_entry(self, collection: str, field: str, key: bytes, doc_id: str) -> None:
        self._put(self._state.entries, (collection, field, doc_id), key)

    def remove_entries(self, collection: str, doc_id: str) -> None:
        for name in self.indexes(collection):
            self._remove(self._state.entries, (collection, name, doc_id))

    def entries(
        self,
        collection: str,
        field: str,
        *,
        low: bytes,
        high: bytes | None,
        after: tuple[bytes, str] | None,
        limit: int,
    ) -> Sequence[tuple[bytes, str]]:
        found = [
            (key, doc_id)
            for (of, name, doc_id), key in self._state.entries.items()
            if (of, name) == (collection, field)
            and key >= low
            and (high is None or key <= high)
            and (after is None or (key, doc_id.encode()) > (after[0], after[1].encode()))
        ]
        return sorted(found, key=lambda entry: (entry[0], entry[1].encode()))[:limit]

    # --- blobs ---

    def get_blob(self, path: str) -> BlobRow | None:
        return self._state.blobs.get(path)

    def put_blob(self, row: BlobRow) -> None:
        before = self._state.blobs.get(row.path)
        self._tables.pin(self._app, row, row.path)
        self._undo.append(lambda: self._tables.pin(self._app, before, row.path))
        self._put(self._state.blobs, row.path, row)

    def remove_blob(self, path: str) -> None:
        before = self._state.blobs.get(path)
        self._tables.pin(self._app, None, path)
        self._undo.append(lambda: self._tables.pin(self._app, before, path))
        self._remove(self._state.blobs, path)

    def blobs(self, *, start: str, after: str, limit: int) -> Sequence[BlobRow]:
        paths = (path for path in self._state.blobs if path.encode() >= start.encode())
        return [self._state.blobs[path] for path in _page(paths, after, limit)]

    # --- jobs and schedules ---

    def get_job(self, job_id: str) -> JobRow | None:
        return self._state.jobs.get(job_id)

    def put_job(self, row: JobRow) -> None:
        self._put(self._state.jobs, row.id, replace(row))

    def jobs(self, *, state: JobState | None, before: str, limit: int) -> Sequence[JobRow]:
        rows = [
            row
            for row in self._state.jobs.values()
            if state in (None, row.state) and (not before or row.id.encode() < before.encode())
        ]
        return sorted(rows, key=lambda row: row.id.encode(), reverse=True)[:limit]

    def count_jobs(self, state: JobState) -> int:
        return sum(row.state == state for row in self._state.jobs.values())

    def open_job(self, unique_key: str) -> JobRow | None:
        rows = self._state.jobs.values()
        found = (row for row in rows if row.unique_key == unique_key and row.state not in JOB_ENDED)
        return next(found, None)

    def due_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        due = [
            row
            for row in self._state.jobs.values()
            if row.state == "pending" and row.due_ns <= now_ns
        ]
        return sorted(due, key=lambda row: (-row.priority, row.due_ns, row.id.encode()))[:limit]

    def lost_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        lost = [
            row
            for row in self._state.jobs.values()
            if _is_running(row) and (row.lease_until_ns or 0) <= now_ns
        ]
        return sorted(lost, key=lambda row: row.id.encode())[:limit]

    def remove_ended_jobs(self, before_ns: int, limit: int) -> int:
        ended = sorted(
            (row.ended_ns, row.id.encode(), row.id)
            for row in self._state.jobs.values()
            if row.ended_ns is not None and row.ended_ns < before_ns
        )[:limit]
        for _, _, job_id in ended:
            self._remove(self._state.jobs, job_id)
        return len(ended)

    def schedules(self) -> Sequence[ScheduleRow]:
        rows = self._state.schedules.values()
        return sorted(rows, key=lambda row: row.name.encode())

    def put_schedule(self, row: ScheduleRow) -> None:
        self._put(self._state.schedules, row.name, row)

    def remove_schedule(self, name: str) -> None:
        self._remove(self._state.schedules, name)
