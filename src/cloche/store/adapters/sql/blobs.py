"""Contents by digest, in compressed chunks.

A blob is put under a row without a digest, chunk by chunk in short transactions, and gets its
digest last: until then nobody sees it, and what a crash leaves is garbage by its time. A small one
takes one transaction. Garbage collection and a put at the same time exclude each other through the
row: a put moves its time forward, and what the foreign keys name cannot be deleted.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import zstandard
from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from cloche.store.adapters.sql.common import Rows, by_key, require_blobs
from cloche.store.adapters.sql.schema import blob_chunks, blobs, pins, sessions, snapshots, steps
from cloche.store.checks import check_page, chunks_of
from cloche.store.errors import StoreCorruptError, StoreUnknownError
from cloche.store.rows import BlobInfo, check_id, check_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

RAW: Final = 0  # as it is: snapshots are compressed before they come here
ZSTD: Final = 1
_LEVEL: Final = 3
# Compressed chunks held back to be written in one transaction.
_FLUSH_BYTES: Final = 8 << 20
# Every place that names a blob.
_REFERENCES: Final = (
    sessions.c.snapshot,
    sessions.c.files,
    steps.c.blob,
    snapshots.c.blob,
    pins.c.sha256,
)
_IS_NAMED: Final = blobs.c.sha256 == bindparam("name")
_ID: Final = select(blobs.c.id).where(_IS_NAMED)
_START: Final = (
    select(blobs.c.id, blobs.c.size_bytes.label("blob_bytes"), blob_chunks)
    .outerjoin(blob_chunks, and_(blob_chunks.c.blob_id == blobs.c.id, blob_chunks.c.ordinal == 0))
    .where(_IS_NAMED)
)
_CHUNK: Final = by_key(blob_chunks, "blob_id", "ordinal")
_ADD: Final = insert(blobs)
_ADD_CHUNKS: Final = insert(blob_chunks)
# The row is written even when its time stays: a collection that waits for it looks again.
_TOUCH: Final = (
    update(blobs)
    .where(_IS_NAMED)
    .values(
        put_ns=case(
            (blobs.c.put_ns > bindparam("now_ns"), blobs.c.put_ns), else_=bindparam("now_ns")
        )
    )
)


def _described() -> Select[Any]:
    """Return the query of what is known of a blob, with how often each place names it."""
    counts: list[ColumnElement[int]] = [
        select(func.count()).where(column == bindparam("name")).scalar_subquery()
        for column in _REFERENCES
    ]
    return select(
        blobs.c.sha256, blobs.c.size_bytes, blobs.c.stored_bytes, blobs.c.put_ns, *counts
    ).where(_IS_NAMED)


_DESCRIBED: Final = _described()


class SqlBlobs(Rows):
    """The port `BlobTable`."""

    def put(self, content: bytes | Iterable[bytes], *, now_ns: int) -> BlobInfo:
        """Keep a content, given whole or in chunks."""
        if isinstance(content, bytes):
            kept = self._touch_kept(hashlib.sha256(content).hexdigest(), now_ns)
            if kept is not None:
                return kept
        put = _Put(self, now_ns)
        try:
            for chunk in chunks_of(content, self.limits):
                put.add(chunk)
            return put.finish()
        except BaseException:
            put.abandon()
            raise

    def _touch_kept(self, sha256: str, now_ns: int) -> BlobInfo | None:
        # Read first: most contents are new, and a write costs a sync of the disk.
        values = {"name": sha256}
        found = self.database.read(lambda connection: connection.execute(_ID, values).first())
        if found is None:
            return None
        return self.database.write(lambda connection: _touch(connection, sha256, now_ns))

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield a content in chunks, verified."""
        check_sha256(sha256)
        values = {"name": sha256}
        row: Any = self.database.read(lambda connection: connection.execute(_START, values).first())
        if row is None:
            raise StoreUnknownError(what="blob", id=sha256)
        return self._chunks(sha256, row)

    def _chunks(self, sha256: str, start: Any) -> Iterator[bytes]:
        digest = hashlib.sha256()
        held_back = b""
        missing_bytes = start.blob_bytes
        ordinal = 0
        while missing_bytes > 0:
            row = self._chunk(sha256, start.id, ordinal) if ordinal else start
            chunk = None if row.data is None else _unpack(row.codec, row.data, row.size_bytes)
            if not chunk:
                raise self._damaged(sha256, ordinal)
            if held_back:
                yield held_back
            held_back = chunk
            digest.update(chunk)
            missing_bytes -= len(chunk)
            ordinal += 1
        if missing_bytes or digest.hexdigest() != sha256:
            raise StoreCorruptError(
                store=self.database.name, problem=f"blob {sha256} is not what was put"
            )
        if held_back:
            yield held_back

    def _chunk(self, sha256: str, blob_id: int, ordinal: int) -> Any:
        def work(connection: Connection) -> Any:
            values = {"blob_id": blob_id, "ordinal": ordinal}
            row = connection.execute(_CHUNK, values).first()
            if row is None:
                # Removed since the first chunk was read, or lost.
                require_blobs(connection, {sha256})
                raise self._damaged(sha256, ordinal)
            return row

        return self.database.read(work)

    def _damaged(self, sha256: str, ordinal: int) -> StoreCorruptError:
        return StoreCorruptError(
            store=self.database.name, problem=f"chunk {ordinal} of blob {sha256} is damaged"
        )

    def get(self, sha256: str) -> bytes:
        """Return a content, verified."""
        return b"".join(self.read(sha256))

    def info(self, sha256: str) -> BlobInfo | None:
        """Return what is known of a blob."""
        check_sha256(sha256)
        return self.database.read(lambda connection: _info(connection, sha256))

    def pin(self, holder: str, sha256: str) -> None:
        """Keep a blob for a holder."""
        check_id("holder", holder)
        check_sha256(sha256)

        def work(connection: Connection) -> None:
            require_blobs(connection, {sha256})
            place = and_(pins.c.holder == holder, pins.c.sha256 == sha256)
            if connection.execute(select(pins.c.holder).where(place)).first() is None:
                connection.execute(insert(pins), {"holder": holder, "sha256": sha256})

        self.database.write(work)

    def unpin(self, holder: str) -> int:
        """Drop all pins of a holder."""
        check_id("holder", holder)
        statement = delete(pins).where(pins.c.holder == holder)
        return self.database.write(lambda connection: connection.execute(statement).rowcount)

    def collect(self, *, before_ns: int, limit: int = 1000) -> int:
        """Remove blobs that nothing names and that were last put before."""
        check_page(limit, self.limits)
        unnamed = [~exists().where(column == blobs.c.sha256) for column in _REFERENCES]
        garbage = and_(blobs.c.put_ns < before_ns, *unnamed)
        chosen = select(blobs.c.id).where(garbage).order_by(blobs.c.put_ns).limit(limit)
        # The conditions again: PostgreSQL holds them against rows that changed while it waited.
        statement = delete(blobs).where(and_(blobs.c.id.in_(chosen), garbage))
        return self.database.write(lambda connection: connection.execute(statement).rowcount)


class _Put:
    """One content on its way in."""

    def __init__(self, table: SqlBlobs, now_ns: int) -> None:
        self._database = table.database
        self._now_ns = now_ns
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._stored_bytes = 0
        self._pending: list[dict[str, Any]] = []
        self._pending_bytes = 0
        self._next_ordinal = 0
        self._blob_id: int | None = None

    def add(self, chunk: bytes) -> None:
        """Take the next chunk, and write those held back when they are enough."""
        if self._pending_bytes >= _FLUSH_BYTES:
            self._blob_id = self._database.write(self._flush)
            self._pending, self._pending_bytes = [], 0
        self._digest.update(chunk)
        codec, data = _pack(chunk)
        self._pending.append(
            {
                "ordinal": self._next_ordinal,
                "size_bytes": len(chunk),
                "codec": codec,
                "data": data,
            }
        )
        self._next_ordinal += 1
        self._size_bytes += len(chunk)
        self._stored_bytes += len(data)
        self._pending_bytes += len(data)

    def _flush(self, connection: Connection) -> int:
        if self._blob_id is None:
            values = {"size_bytes": 0, "stored_bytes": 0, "put_ns": self._now_ns}
            return self._insert(connection, values)
        self._insert_chunks(connection, self._blob_id)
        return self._blob_id

    def _insert(self, connection: Connection, values: dict[str, Any]) -> int:
        added = connection.execute(_ADD, values)
        blob_id: int = added.inserted_primary_key[0]  # type: ignore[index]
        self._insert_chunks(connection, blob_id)
        return blob_id

    def _insert_chunks(self, connection: Connection, blob_id: int) -> None:
        if self._pending:
            rows = [{"blob_id": blob_id, **row} for row in self._pending]
            connection.execute(_ADD_CHUNKS, rows)

    def finish(self) -> BlobInfo:
        """Give the content its name, unless it is there already."""
        return self._database.write(self._name)

    def _name(self, connection: Connection) -> BlobInfo:
        sha256 = self._digest.hexdigest()
        kept = _touch(connection, sha256, self._now_ns)
        if kept is not None:
            if self._blob_id is not None:
                connection.execute(delete(blobs).where(blobs.c.id == self._blob_id))
            return kept
        values = {
            "sha256": sha256,
            "size_bytes": self._size_bytes,
            "stored_bytes": self._stored_bytes,
        }
        if self._blob_id is None:
            self._insert(connection, {**values, "put_ns": self._now_ns})
        else:
            where = blobs.c.id == self._flush(connection)
            connection.execute(update(blobs).where(where).values(values))
        return BlobInfo(
            sha256=sha256,
            size_bytes=self._size_bytes,
            stored_bytes=self._stored_bytes,
            put_ns=self._now_ns,
        )

    def abandon(self) -> None:
        """Remove what was written; what cannot be removed now is garbage by its time."""
        if self._blob_id is not None:
            statement = delete(blobs).where(blobs.c.id == self._blob_id)
            self._database.write(lambda connection: connection.execute(statement))


def _touch(connection: Connection, sha256: str, now_ns: int) -> BlobInfo | None:
    if not connection.execute(_TOUCH, {"name": sha256, "now_ns": now_ns}).rowcount:
        return None
    return _info(connection, sha256)


def _info(connection: Connection, sha256: str) -> BlobInfo | None:
    row = connection.execute(_DESCRIBED, {"name": sha256}).first()
    if row is None:
        return None
    name, size_bytes, stored_bytes, put_ns, *references = row
    return BlobInfo(
        sha256=name,
        size_bytes=size_bytes,
        stored_bytes=stored_bytes,
        put_ns=put_ns,
        reference_count=sum(references),
    )


def _pack(chunk: bytes) -> tuple[int, bytes]:
    # Without the size in the frame the bound that `_unpack` gives is the one that holds.
    packed = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=False).compress(chunk)
    return (ZSTD, packed) if len(packed) < len(chunk) else (RAW, chunk)


def _unpack(codec: int, data: bytes, size_bytes: int) -> bytes | None:
    if codec == RAW:
        chunk = data
    elif codec == ZSTD:
        try:
            chunk = zstandard.ZstdDecompressor().decompress(data, max_output_size=size_bytes)
        except zstandard.ZstdError:
            return None
    else:
        return None
    return chunk if len(chunk) == size_bytes else None
