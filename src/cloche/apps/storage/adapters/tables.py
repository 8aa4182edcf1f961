"""The storage of apps in the database of a store: SQLite or PostgreSQL.

Writers of one section of an app take turns at its row of `app_usage`; on SQLite there is one writer
of all. Every statement has its values as parameters, and names the app.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import and_, delete, func, or_, select, tuple_, union

from cloche.apps.storage.adapters.job_rows import JobStatements
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

    from sqlalchemy.engine import Connection

    from cloche.apps.storage.ports import AppRows
    from cloche.store.adapters.sql.store import SqlStore

T = TypeVar("T")

_kv, _docs, _entries, _blobs = app_kv.c, app_docs.c, app_doc_entries.c, app_blobs.c
_indexes, _jobs = app_doc_indexes.c, app_jobs.c


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
            self._usage = self._read_usage(lock=False) or Usage()
        return self._usage

    @usage.setter
    def usage(self, usage: Usage) -> None:
        self._usage = usage

    def _locked_usage(self) -> Usage:
        found = self._read_usage(lock=True)
        if found is None:
            statement = self._insert(app_usage).values(
                app=self._app, section=self._section, **asdict(Usage())
            )
            self._connection.execute(statement.on_conflict_do_nothing())
            found = self._read_usage(lock=True)
        return found or Usage()

    def _read_usage(self, *, lock: bool) -> Usage | None:
        columns = app_usage.c
        query = select(columns.count, columns.size_bytes, columns.sequence)
        query = query.where(columns.app == self._app, columns.section == self._section)
        found: Any = self._connection.execute(query.with_for_update() if lock else query).first()
        return None if found is None else Usage(**found._mapping)

    def finish(self) -> None:
        """Keep what is used now."""
        if self._usage is not None and self._usage != self._before:
            self._put(app_usage, section=self._section, **asdict(self._usage))

    def recall(self, key: str) -> bytes | None:
        """Return what was remembered of an effect."""
        row = self._row(app_effects, app_effects.c.key == key)
        return None if row is None else row["value"]

    def remember(self, key: str, value: bytes, now_ns: int) -> None:
        """Remember what an effect did."""
        self._put(app_effects, key=key, value=value, remembered_ns=now_ns)

    # --- keys ---

    def get_key(self, key: str) -> KvRow | None:
        """Return a row."""
        row = self._row(app_kv, _kv.key == key)
        return None if row is None else KvRow(**row)

    def put_key(self, row: KvRow) -> None:
        """Add or replace a row."""
        self._put(app_kv, **asdict(row))

    def remove_key(self, key: str) -> None:
        """Remove a row."""
        self._delete(app_kv, _kv.key == key)

    def keys(self, *, start: str, after: str, now_ns: int, limit: int) -> Sequence[KvRow]:
        """Return rows that have not expired."""
        live = or_(_kv.expires_ns.is_(None), _kv.expires_ns > now_ns)
        place = (_kv.key >= start, _kv.key > after, live)
        return [KvRow(**row) for row in self._rows(app_kv, *place, order=[_kv.key], limit=limit)]

    def expired_keys(self, now_ns: int, limit: int) -> Sequence[KvRow]:
        """Return rows that have expired."""
        return [KvRow(**row) for row in self._rows(app_kv, _kv.expires_ns <= now_ns, limit=limit)]

    # --- documents ---

    def get_doc(self, collection: str, doc_id: str) -> DocRow | None:
        """Return a document."""
        row = self._row(app_docs, _docs.collection == collection, _docs.id == doc_id)
        return None if row is None else DocRow(**row)

    def get_docs(self, collection: str, doc_ids: Sequence[str]) -> Sequence[DocRow]:
        """Return those documents that are there."""
        place = (_docs.collection == collection, _docs.id.in_(doc_ids))
        return [DocRow(**row) for row in self._rows(app_docs, *place)]

    def put_doc(self, row: DocRow) -> None:
        """Add or replace a document."""
        self._put(app_docs, **asdict(row))

    def remove_doc(self, collection: str, doc_id: str) -> None:
        """Remove a document; its entries go with it, by their foreign key."""
        self._delete(app_docs, _docs.collection == collection, _docs.id == doc_id)

    def docs(self, collection: str, *, after: str, limit: int) -> Sequence[DocRow]:
        """Return documents in the order of their ids."""
        place = (_docs.collection == collection, _docs.id > after)
        rows = self._rows(app_docs, *place, order=[_docs.id], limit=limit)
        return [DocRow(**row) for row in rows]

    def count_docs(self, collection: str) -> int:
        """Return how many documents a collection has."""
        query = select(func.count()).where(self._of(app_docs, _docs.collection == collection))
        return self._connection.execute(query).scalar_one()

    def indexes(self, collection: str | None) -> Sequence[str]:
        """Return the indexed fields."""
        of = () if collection is None else (_indexes.collection == collection,)
        rows = self._rows(app_doc_indexes, *of, order=[_indexes.field])
        return [row["field"] for row in rows]

    def add_index(self, collection: str, field: str) -> None:
        """Remember that a field is indexed."""
        self._put(app_doc_indexes, collection=collection, field=field)

    def put_entry(self, collection: str, field: str, key: bytes, doc_id: str) -> None:
        """Add an entry."""
        self._put(app_doc_entries, collection=collection, id=doc_id, field=field, key=key)

    def remove_entries(self, collection: str, doc_id: str) -> None:
        """Remove all entries of a document."""
        place = (_entries.collection == collection, _entries.id == doc_id)
        self._delete(app_doc_entries, *place)

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
        place = [_entries.collection == collection, _entries.field == field, _entries.key >= low]
        if high is not None:
            place.append(_entries.key <= high)
        if after is not None:
            key, doc_id = after
            place.append(or_(_entries.key > key, and_(_entries.key == key, _entries.id > doc_id)))
        query = select(_entries.key, _entries.id).where(self._of(app_doc_entries, *place))
        query = query.order_by(_entries.key, _entries.id).limit(limit)
        return [(bytes(key), doc_id) for key, doc_id in self._connection.execute(query).all()]

    # --- blobs ---

    def get_blob(self, path: str) -> BlobRow | None:
        """Return what is at a path."""
        row = self._row(app_blobs, _blobs.path == path)
        return None if row is None else BlobRow(**row)

    def put_blob(self, row: BlobRow) -> None:
        """Add or replace what is at a path, and hold its content."""
        require_blobs(self._connection, {row.sha256})
        holder = pin_holder(self._app, row.path)
        self._connection.execute(delete(pins).where(pins.c.holder == holder))
        pin = self._insert(pins).values(holder=holder, sha256=row.sha256)
        self._connection.execute(pin)
        self._put(app_blobs, **asdict(row))

    def remove_blob(self, path: str) -> None:
        """Remove what is at a path."""
        holder = pin_holder(self._app, path)
        self._connection.execute(delete(pins).where(pins.c.holder == holder))
        self._delete(app_blobs, _blobs.path == path)

    def blobs(self, *, start: str, after: str, limit: int) -> Sequence[BlobRow]:
        """Return rows in the order of their paths."""
        place = (_blobs.path >= start, _blobs.path > after)
        rows = self._rows(app_blobs, *place, order=[_blobs.path], limit=limit)
        return [BlobRow(**row) for row in rows]
