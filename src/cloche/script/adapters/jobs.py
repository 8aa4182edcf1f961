"""Detached work in a store: what was started, by whom, and what became of it.

Owns the documents. Invariants:
- a job's document is written before it starts and when it is over;
- a job whose process is gone is "lost": nobody finishes it, and a later question says so.

Whether a process lives is known on its own machine alone; elsewhere a job stays "running".
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.store.errors import StoreChangedError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.store.ports import Store

JobStatus = Literal["running", "completed", "failed", "cancelled", "lost"]

JOB_KIND: Final = "script-job"
_START_FIELD: Final = 22 - 3


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one detached call.

    Args:
        id: of the job.
        tool: that was called.
        run_id: of the script that started it.
        status: as far as it is known.
        value: of the call, plain JSON.
        error: why there is none.
        started_ms: when, of the wall clock.
        ended_ms: when it was over.
        process: that works on it: host, number and start.
    """

    id: str
    tool: str
    run_id: str
    status: JobStatus = "running"
    value: Any = None
    error: str = ""
    started_ms: int = 0
    ended_ms: int | None = None
    process: tuple[str, int, str] = ("", 0, "")

    def to_document(self) -> dict[str, Any]:
        """Return what a script and a person see of it."""
        document: dict[str, Any] = {"id": self.id, "tool": self.tool, "status": self.status}
        if self.status == "completed":
            document["value"] = self.value
        elif self.error:
            document["error"] = self.error
        return document


def own_process() -> tuple[str, int, str]:
    """Return what names this process."""
    return socket.gethostname(), os.getpid(), _start_of(os.getpid())


def save(store: Store, record: JobRecord) -> None:
    """Keep a job as it is now; whoever is faster wins, since only one process works on it."""
    kept = store.documents.get(JOB_KIND, record.id)
    document = Document(
        kind=JOB_KIND,
        name=record.id,
        data=msgspec.json.encode(record),
        revision=1 if kept is None else kept.revision + 1,
    )
    try:
        store.documents.put(document)
    except StoreChangedError:
        save(store, record)


def load(store: Store, job_id: str) -> JobRecord | None:
    """Return a job."""
    kept = store.documents.get(JOB_KIND, job_id)
    return None if kept is None else _seen(kept)


def jobs_in(store: Store, *, page: int = 100) -> tuple[JobRecord, ...]:
    """Return the jobs of a store, the oldest first."""
    found = sorted(_all(store, page), key=lambda one: (one.started_ms, one.id))
    return tuple(found)


def prune_jobs(store: Store, *, ended_before_ms: int) -> int:
    """Remove jobs that were over before; return how many."""
    removed = 0
    for one in jobs_in(store):
        if one.status != "running" and (one.ended_ms or one.started_ms) < ended_before_ms:
            removed += store.documents.remove(JOB_KIND, one.id)
    return removed


def _all(store: Store, page: int) -> Iterator[JobRecord]:
    after = ""
    while found := store.documents.list(JOB_KIND, after=after, limit=page):
        yield from map(_seen, found)
        if len(found) < page:
            return
        after = found[-1].name


def _seen(document: Document) -> JobRecord:
    record = msgspec.json.decode(document.data, type=JobRecord)
    host, number, start = record.process
    if record.status != "running" or host != socket.gethostname() or _start_of(number) == start:
        return record
    return msgspec.structs.replace(record, status="lost", error="its process is gone")


def _start_of(number: int) -> str:
    """Return when a process began, as its system says it; numbers are used again."""
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # Behind the name, which may hold anything, in parentheses, the third field is the first.
    fields = text.rpartition(")")[2].split()
    return fields[_START_FIELD] if len(fields) > _START_FIELD else ""
