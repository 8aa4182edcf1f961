"""The storage of apps in the database of a store: SQLite or PostgreSQL.

Writers of one section of an app take turns at its row of `app_usage`; on SQLite there is one writer
of all. Every statement has its values as parameters, and names the app.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, tuple_, union
from sqlalchemy.dialects import postgresql

from cloche.apps.storage.adapters.job_rows import JobStatements
from cloche.apps.storage.adapters.statements import APP, LIMIT, removal_of, rows_of
from cloche.apps.storage.rows import BlobRow, DocRow, KvRow, Section, Usage, pin_holder
from cloche.store.adapters.sql.app_schema import (
    APP_TABLES,
    app_blobs,
    app_doc_entries,
    app_doc_indexes,
    app_docs,
    app_effects,
    app_jobs,
    app_kv,
    app_schedules,
    app_usage,
)
from cloche.store.adapters.sql.common import require_blobs
from cloche.store.adapters.sql.schema import pins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from cloche.apps.storage.ports import AppRows
    from cloche.store.adapters.sql.store import SqlStore

T = TypeVar("T")

_kv, _docs, _entries, _blobs = app_kv.c, app_docs.c, app_doc_entries.c, app_blobs.c
_indexes, _jobs = app_doc_indexes.c, app_jobs.c

_COUNTS: Final = (app_usage.c.count, app_usage.c.size_bytes, app_usage.c.sequence)
_USAGE: Final = select(*_COUNTS).where(
    app_usage.c.app == APP, app_usage.c.section == bindparam("section")
)
_LOCK_USAGE: Final = _USAGE.with_for_update()
_EFFECT: Final = select(app_effects.c.value).where(
    app_effects.c.app == APP, app_effects.c.key == bindparam("key")
)

_OF_KEY: Final = _kv.key == bindparam("key")
_KEY: Final = rows_of(app_kv, _OF_KEY)
_REMOVE_KEY: Final = removal_of(app_kv, _OF_KEY)
_KEYS: Final = rows_of(
    app_kv,
    _kv.key >= bindparam("start"),
    _kv.key > bindparam("after"),
    or_(_kv.expires_ns.is_(None), _kv.expires_ns > bindparam("now_ns")),
    order=[_kv.key],
    limited=True,
)
_EXPIRED: Final = rows_of(app_kv, _kv.expires_ns <= bindparam("now_ns"), limited=True)

_IN_DOCS: Final = _docs.collection == bindparam("collection")
_OF_DOC: Final = and_(_IN_DOCS, _docs.id == bindparam("id"))
_DOC: Final = rows_of(app_docs, _OF_DOC)
_REMOVE_DOC: Final = removal_of(app_docs, _OF_DOC)
_DOCS_OF: Final = rows_of(app_docs, _IN_DOCS, _docs.id.in_(bindparam("ids", expanding=True)))
_DOCS: Final = rows_of(
    app_docs, _IN_DOCS, _docs.id > bindparam("after"), order=[_docs.id], limited=True
)
_COUNT_DOCS: Final = select(func.count()).where(_docs.app == APP, _IN_DOCS)
_ALL_INDEXES: Final = rows_of(app_doc_indexes, order=[_indexes.field])
_INDEXES: Final = rows_of(
    app_doc_indexes, _indexes.collection == bindparam("collection"), order=[_indexes.field]
)
_IN_ENTRIES: Final = _entries.collection == bindparam("collection")
_REMOVE_ENTRIES: Final = removal_of(app_doc_entries, _IN_ENTRIES, _entries.id == bindparam("id"))
_ENTRIES: Final = (
    select(_entries.key, _entries.id)
    .where(
        _entries.app == APP,
        _IN_ENTRIES,
        _entries.field == bindparam("field"),
        _entries.key <= bindparam("high"),
        _entries.key >= bindparam("after_key"),
        or_(_entries.key > bindparam("after_key"), _entries.id > bindparam("after_id")),
    )
    .order_by(_entries.key, _entries.id)
    .limit(LIMIT)
)
# Every key begins with the rank of its type, a small number.
_ABOVE_ALL_KEYS: Final = b"\xff"

_OF_PATH: Final = _blobs.path == bindparam("path")
_BLOB: Final = rows_of(app_blobs, _OF_PATH)
_REMOVE_BLOB: Final = removal_of(app_blobs, _OF_PATH)
_BLOBS: Final = rows_of(
    app_blobs,
    _blobs.path >= bindparam("start"),
    _blobs.path > bindparam("after"),
    order=[_blobs.path],
    limited=True,
)
_PIN: Final = insert(pins)
_UNPIN: Final = delete(pins).where(pins.c.holder == bindparam("holder"))


class SqlAppTables:
    """The port `AppTables`."""

    def __init__(self, store: SqlStore) -> None:
        self._database = store.database
        self._contents = store.blobs

    def read(self, app: str, section: Section, work: Callable[[AppRows], T]) -> T:
        """Return what the work reads of an app."""
        return self._database.read(lambda connection: work(_Rows(connection, app, section)))

    def write(self, app: str, section: Section, work: Callable[[AppRows], T]) -> T:
        """Return what the work returns, once its changes are durable."""

        def whole(connection: Connection) -> T:
            rows = _Rows(connection, app, section, writes=True)
            value = work(rows)
            rows.finish()
            return value

        return self._database.write(whole)

    def put_content(self, content: bytes | Iterator[bytes], now_ns: int) -> tuple[str, int]:
        """Keep a content."""
        info = self._contents.put(content, now_ns=now_ns)
        return info.sha256, info.size_bytes

    def read_content(self, sha256: str) -> Iterator[bytes]:
        """Yield a content."""
        return self._contents.read(sha256)

    def due_apps(self, now_ns: int, *, after: str, limit: int) -> Sequence[str]:
        """Return apps with something to do."""
        query = union(
            select(_jobs.app).where(_jobs.state == "pending", _jobs.due_ns <= now_ns),
            select(_jobs.app).where(_jobs.state == "running", _jobs.lease_until_ns <= now_ns),
            select(app_schedules.c.app).where(app_schedules.c.next_ns <= now_ns),
        ).subquery()
        found = select(query.c.app).where(query.c.app > after).order_by(query.c.app).limit(limit)
        return self._database.read(lambda connection: connection.execute(found).scalars().all())

    def next_due_ns(self) -> int | None:
        """Return when something is to do."""
        queries = (
            select(func.min(_jobs.due_ns)).where(_jobs.state == "pending"),
            select(func.min(_jobs.lease_until_ns)).where(_jobs.state == "running"),
            select(func.min(app_schedules.c.next_ns)),
        )

        def work(connection: Connection) -> int | None:
            found = [connection.execute(query).scalar() for query in queries]
            return min((time for time in found if time is not None), default=None)

        return self._database.read(work)

    def prune(self, *, remembered_before_ns: int, limit: int) -> int:
        """Forget effects."""
        keys = (app_effects.c.app, app_effects.c.key)
        old = select(*keys).where(app_effects.c.remembered_ns < remembered_before_ns).limit(limit)
        statement = delete(app_effects).where(tuple_(*keys).in_(old))
        return self._database.write(lambda connection: connection.execute(statement).rowcount)

    def remove_app(self, app: str, *, limit: int) -> int:
        """Remove rows of an app."""
        return self._database.write(lambda connection: _remove_app(connection, app, limit))


def _remove_app(connection: Connection, app: str, limit: int) -> int:
    paths = select(_blobs.path).where(_blobs.app == app).order_by(_blobs.path).limit(limit)
    for path in connection.execute(paths).scalars().all():
        connection.execute(delete(pins).where(pins.c.holder == pin_holder(app, path)))
    count = 0
    for table in APP_TABLES:
        keys = [column for column in table.primary_key.columns if column.name != "app"]
        chosen = select(*keys).where(table.c.app == app).order_by(*keys).limit(limit)
        statement = delete(table).where(and_(table.c.app == app, tuple_(*keys).in_(chosen)))
        count += connection.execute(statement).rowcount
    return count


class _Rows(JobStatements):
    """The port `AppRows`: one transaction."""

    def __init__(
        self, connection: Connection, app: str, section: Section, *, writes: bool = False
    ) -> None:
        super().__init__(connection, app)
        self._section = section
        self._before = self._locked_usage() if writes else None
        self._usage = self._before

    @property
    def usage(self) -> Usage:
        """What the section holds."""
        if self._usage is None:
            self._usage = self._read_usage(_USAGE) or Usage()
        return self._usage

    @usage.setter
    def usage(self, usage: Usage) -> None:
        self._usage = usage

    def _locked_usage(self) -> Usage:
        found = self._read_usage(_LOCK_USAGE)
        if found is None and not self._is_sqlite:
            # Whoever comes at the same time waits here for the row, then finds it.
            row = {"app": self._app, "section": self._section, **asdict(Usage())}
            statement = postgresql.insert(app_usage).on_conflict_do_nothing()
            self._connection.execute(statement, row)
            found = self._read_usage(_LOCK_USAGE)
        return found or Usage()

    def _read_usage(self, query: Select[Any]) -> Usage | None:
        found = self._row(query, section=self._section)
        return None if found is None else Usage(**found)

    def finish(self) -> None:
        """Keep what is used now."""
        if self._usage is not None and self._usage != self._before:
            self._put(app_usage, {"section": self._section, **asdict(self._usage)})

    def recall(self, key: str) -> bytes | None:
        """Return what was remembered of an effect."""
        found: bytes | None = self._value(_EFFECT, key=key)
        return found

    def remember(self, key: str, value: bytes, now_ns: int) -> None:
        """Remember what an effect did."""
        self._put(app_effects, {"key": key, "value": value, "remembered_ns": now_ns})

    # --- keys ---

    def get_key(self, key: str) -> KvRow | None:
        """Return a row."""
        row = self._row(_KEY, key=key)
        return None if row is None else KvRow(**row)

    def put_key(self, row: KvRow) -> None:
        """Add or replace a row."""
        self._put_row(app_kv, row)

    def remove_key(self, key: str) -> None:
        """Remove a row."""
        self._remove(_REMOVE_KEY, key=key)

    def keys(self, *, start: str, after: str, now_ns: int, limit: int) -> Sequence[KvRow]:
        """Return rows that have not expired."""
        rows = self._rows(_KEYS, start=start, after=after, now_ns=now_ns, limit=limit)
        return [KvRow(**row) for row in rows]

    def expired_keys(self, now_ns: int, limit: int) -> Sequence[KvRow]:
        """Return rows that have expired."""
        return [KvRow(**row) for row in self._rows(_EXPIRED, now_ns=now_ns, limit=limit)]

    # --- documents ---

    def get_doc(self, collection: str, doc_id: str) -> DocRow | None:
        """Return a document."""
        row = self._row(_DOC, collection=collection, id=doc_id)
        return None if row is None else DocRow(**row)

    def get_docs(self, collection: str, doc_ids: Sequence[str]) -> Sequence[DocRow]:
        """Return those documents that are there."""
        if not doc_ids:
            return []
        rows = self._rows(_DOCS_OF, collection=collection, ids=list(doc_ids))
        return [DocRow(**row) for row in rows]

    def put_doc(self, row: DocRow) -> None:
        """Add or replace a document."""
        self._put_row(app_docs, row)

    def remove_doc(self, collection: str, doc_id: str) -> None:
        """Remove a document; its entries go with it, by their foreign key."""
        self._remove(_REMOVE_DOC, collection=collection, id=doc_id)

    def docs(self, collection: str, *, after: str, limit: int) -> Sequence[DocRow]:
        """Return documents in the order of their ids."""
        rows = self._rows(_DOCS, collection=collection, after=after, limit=limit)
        return [DocRow(**row) for row in rows]

    def count_docs(self, collection: str) -> int:
        """Return how many documents a collection has."""
        return int(self._value(_COUNT_DOCS, collection=collection))

    def indexes(self, collection: str | None) -> Sequence[str]:
        """Return the indexed fields."""
        if collection is None:
            return [row["field"] for row in self._rows(_ALL_INDEXES)]
        return [row["field"] for row in self._rows(_INDEXES, collection=collection)]

    def add_index(self, collection: str, field: str) -> None:
        """Remember that a field is indexed."""
        self._put(app_doc_indexes, {"collection": collection, "field": field})

    def put_entry(self, collection: str, field: str, key: bytes, doc_id: str) -> None:
        """Add an entry."""
        row = {"collection": collection, "id": doc_id, "field": field, "key": key}
        self._put(app_doc_entries, row)

    def remove_entries(self, collection: str, doc_id: str) -> None:
        """Remove all entries of a document."""
        self._remove(_REMOVE_ENTRIES, collection=collection, id=doc_id)

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
        """Return keys and ids of documents."""
        # Behind the place of the last page, or behind all that could be before the range.
        key, doc_id = after or (low, "")
        rows = self._rows(
            _ENTRIES,
            collection=collection,
            field=field,
            high=_ABOVE_ALL_KEYS if high is None else high,
            after_key=key,
            after_id=doc_id,
            limit=limit,
        )
        return [(bytes(row["key"]), row["id"]) for row in rows]

    # --- blobs ---

    def get_blob(self, path: str) -> BlobRow | None:
        """Return what is at a path."""
        row = self._row(_BLOB, path=path)
        return None if row is None else BlobRow(**row)

    def put_blob(self, row: BlobRow) -> None:
        """Add or replace what is at a path, and hold its content."""
        require_blobs(self._connection, {row.sha256})
        holder = pin_holder(self._app, row.path)
        self._connection.execute(_UNPIN, {"holder": holder})
        self._connection.execute(_PIN, {"holder": holder, "sha256": row.sha256})
        self._put_row(app_blobs, row)

    def remove_blob(self, path: str) -> None:
        """Remove what is at a path."""
        self._connection.execute(_UNPIN, {"holder": pin_holder(self._app, path)})
        self._remove(_REMOVE_BLOB, path=path)

    def blobs(self, *, start: str, after: str, limit: int) -> Sequence[BlobRow]:
        """Return rows in the order of their paths."""
        rows = self._rows(_BLOBS, start=start, after=after, limit=limit)
        return [BlobRow(**row) for row in rows]
