"""What keeps the storage of apps, as protocols: rows in, rows out, in transactions of one app.

The rules of keys, documents, blobs and jobs stand above this port, once, and are the same on every
store. What an adapter owes them:
- `write` runs its work in one transaction, alone among the writers of this app and section, and
  what it changed is durable when it returns, all of it or nothing; the work may run again;
- `read` sees only what transactions have finished;
- rows of one app are not reached with the name of another, whatever stands in a key;
- lists come in the order of the bytes of their keys in UTF-8, from behind `after`.

It implements nothing. `cloche.testing.app_storage` checks that adapters do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloche.apps.storage.rows import (
        BlobRow,
        DocRow,
        JobRow,
        JobState,
        KvRow,
        ScheduleRow,
        Section,
        Usage,
    )

T = TypeVar("T")


class KvRows(Protocol):
    """Keys of one app."""

    def get_key(self, key: str) -> KvRow | None:
        """Return a row, expired or not."""

    def put_key(self, row: KvRow) -> None:
        """Add or replace a row."""

    def remove_key(self, key: str) -> None:
        """Remove a row if it is there."""

    def keys(self, *, start: str, after: str, now_ns: int, limit: int) -> Sequence[KvRow]:
        """Return rows that have not expired, from `start` on and behind `after`."""

    def expired_keys(self, now_ns: int, limit: int) -> Sequence[KvRow]:
        """Return rows that have expired, in any order."""


class DocRows(Protocol):
    """Documents of one app, and the entries of their indexes."""

    def get_doc(self, collection: str, doc_id: str) -> DocRow | None:
        """Return a document."""

    def get_docs(self, collection: str, doc_ids: Sequence[str]) -> Sequence[DocRow]:
        """Return those documents that are there, in any order."""

    def put_doc(self, row: DocRow) -> None:
        """Add or replace a document; entries of indexes are the caller's."""

    def remove_doc(self, collection: str, doc_id: str) -> None:
        """Remove a document and its entries."""

    def docs(self, collection: str, *, after: str, limit: int) -> Sequence[DocRow]:
        """Return documents in the order of their ids."""

    def count_docs(self, collection: str) -> int:
        """Return how many documents a collection has."""

    def indexes(self, collection: str | None) -> Sequence[str]:
        """Return the indexed fields of a collection, in order, or of all of them."""

    def add_index(self, collection: str, field: str) -> None:
        """Remember that a field is indexed."""

    def put_entry(self, collection: str, field: str, key: bytes, doc_id: str) -> None:
        """Add an entry; of a document and a field there is one."""

    def remove_entries(self, collection: str, doc_id: str) -> None:
        """Remove all entries of a document."""

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
        """Return keys and ids of documents, both ends included, in the order of keys, then ids."""


class BlobRows(Protocol):
    """Paths of one app. What a row names is kept by the store as long as the row."""

    def get_blob(self, path: str) -> BlobRow | None:
        """Return what is at a path."""

    def put_blob(self, row: BlobRow) -> None:
        """Add or replace what is at a path.

        Raises:
            StoreUnknownError: the store does not keep this content.
        """

    def remove_blob(self, path: str) -> None:
        """Remove what is at a path."""

    def blobs(self, *, start: str, after: str, limit: int) -> Sequence[BlobRow]:
        """Return rows from `start` on and behind `after`."""


class JobRows(Protocol):
    """Jobs and schedules of one app."""

    def get_job(self, job_id: str) -> JobRow | None:
        """Return a job."""

    def put_job(self, row: JobRow) -> None:
        """Add or replace a job."""

    def jobs(self, *, state: JobState | None, before: str, limit: int) -> Sequence[JobRow]:
        """Return jobs, newest first: those with an id less than `before`, or all for ""."""

    def count_jobs(self, state: JobState) -> int:
        """Return how many jobs have a state."""

    def open_job(self, unique_key: str) -> JobRow | None:
        """Return the job with this key that has not ended."""

    def due_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        """Return pending jobs that are due: the highest priority first, then by time, then id."""

    def lost_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        """Return running jobs whose lease has ended."""

    def remove_ended_jobs(self, before_ns: int, limit: int) -> int:
        """Remove jobs that ended before, the oldest first; return how many."""

    def schedules(self) -> Sequence[ScheduleRow]:
        """Return all schedules, by name."""

    def put_schedule(self, row: ScheduleRow) -> None:
        """Add or replace a schedule."""

    def remove_schedule(self, name: str) -> None:
        """Remove a schedule."""


class AppRows(KvRows, DocRows, BlobRows, JobRows, Protocol):
    """All that one transaction of one app can reach."""

    usage: Usage
    """Of the section that the transaction is about; a write keeps what it is set to."""

    def recall(self, key: str) -> bytes | None:
        """Return what was remembered of an effect."""

    def remember(self, key: str, value: bytes, now_ns: int) -> None:
        """Remember what an effect did, with what it changed."""


class AppTables(Protocol):
    """The storage of all apps."""

    def read(self, app: str, section: Section, work: Callable[[AppRows], T]) -> T:
        """Return what the work reads of an app."""

    def write(self, app: str, section: Section, work: Callable[[AppRows], T]) -> T:
        """Return what the work returns, once its changes are durable."""

    def put_content(self, content: bytes | Iterator[bytes], now_ns: int) -> tuple[str, int]:
        """Keep a content until some row names it; return its SHA-256 and its size."""

    def read_content(self, sha256: str) -> Iterator[bytes]:
        """Yield a content in chunks, verified."""

    def due_apps(self, now_ns: int, *, after: str, limit: int) -> Sequence[str]:
        """Return apps with a job or schedule that is due, or with a job that was lost, in order."""

    def next_due_ns(self) -> int | None:
        """Return when the next job or schedule is due, or the next lease ends."""

    def prune(self, *, remembered_before_ns: int, limit: int) -> int:
        """Forget effects that were remembered before; return how many."""

    def remove_app(self, app: str, *, limit: int) -> int:
        """Remove rows of an app, up to so many of each table; return how many. 0: none are left."""


class BlobStreams(Protocol):
    """Contents that are written or read in parts, by one process."""

    def begin(self, owner: str, upload: str, now_ns: int) -> None:
        """Take parts of a content from now on, under a name that its owner alone can use.

        Raises:
            QuotaError: the owner has too many that are not finished.
        """

    def write(self, owner: str, upload: str, ordinal: int, part: bytes, now_ns: int) -> int:
        """Add the part of this ordinal, from 0 on, once; return the size so far.

        Raises:
            UploadUnknownError: nothing was begun, or the ordinal is not the next.
            StorageTooLargeError: it is over `apps.blob_limit_bytes`; what was begun is dropped.
        """

    def finish(self, owner: str, upload: str) -> Iterator[bytes]:
        """Yield what was written, and forget it.

        Raises:
            UploadUnknownError: nothing was begun.
        """

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """Return a part of a content; reading on from where a part ended is cheap."""

    def close(self) -> None:
        """Drop everything."""
