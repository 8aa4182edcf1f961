"""Journals: the hot path. Two appends for every effect of every run pass here.

On SQLite it speaks to the driver itself, on a connection of its own: SQLAlchemy would cost more
than the database does. On PostgreSQL a group is two statements, whatever its size.
Invariants:
- an append is kept whole or not at all, and is durable when it returns;
- it is kept only when the journal has as many entries as the caller says;
- a group keeps what it can: an append that conflicts fails alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import and_, bindparam, insert, select, text, update

from cloche.store.adapters.grouping import Grouping
from cloche.store.adapters.sql.common import Rows
from cloche.store.adapters.sql.database import set_durability
from cloche.store.adapters.sql.prepared import Prepared
from cloche.store.adapters.sql.schema import journal_entries, journals
from cloche.store.checks import check_entries, check_page
from cloche.store.errors import StoreChangedError, StoreUnknownError
from cloche.store.rows import JournalHead, check_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.pool import PoolProxiedConnection

    from cloche.store.adapters.sql.database import Database
    from cloche.store.rows import JournalAppend

_entries = journal_entries.c
_HEAD: Final = Prepared(
    select(journals.c.count, journals.c.size_bytes, journals.c.head).where(
        journals.c.run_id == bindparam("run_id")
    )
)
_ENTRIES: Final = Prepared(
    select(_entries.data)
    .where(and_(_entries.run_id == bindparam("run_id"), _entries.ordinal >= bindparam("start")))
    .order_by(_entries.ordinal)
    .limit(bindparam("most"))
)
_ADD_JOURNAL: Final = Prepared(insert(journals))
_ADD_ENTRIES: Final = Prepared(insert(journal_entries))
# Of one append within a transaction that does something else, too.
_EXTEND: Final = Prepared(
    update(journals)
    .where(and_(journals.c.run_id == bindparam("id"), journals.c.count == bindparam("expected")))
    .values(
        count=journals.c.count + bindparam("added"),
        size_bytes=journals.c.size_bytes + bindparam("added_bytes"),
        head=b"",
    )
)
_ADVANCE: Final = (
    "UPDATE journals SET count = count + ?, size_bytes = size_bytes + ?, head = ? "
    "WHERE run_id = ? AND count = ?"
)
_ADD: Final = "INSERT INTO journal_entries (run_id, ordinal, data) VALUES (?, ?, ?)"
_COUNT: Final = "SELECT count FROM journals WHERE run_id = ?"
# Ordered, so that two processes whose groups overlap wait for each other instead of blocking.
_ADVANCE_ALL: Final = text(
    "WITH wanted AS (SELECT * FROM unnest(CAST(:runs AS text[]), CAST(:counts AS bigint[]), "
    "CAST(:added AS bigint[]), CAST(:sizes AS bigint[]), CAST(:heads AS bytea[])) "
    "AS t (run_id, count, added, size_bytes, head)), "
    "locked AS (SELECT j.run_id FROM journals j JOIN wanted w ON w.run_id = j.run_id "
    "ORDER BY j.run_id FOR UPDATE OF j) "
    "UPDATE journals j SET count = j.count + w.added, size_bytes = j.size_bytes + w.size_bytes, "
    "head = w.head FROM wanted w, locked l "
    "WHERE l.run_id = w.run_id AND j.run_id = w.run_id AND j.count = w.count RETURNING j.run_id"
)


class _Append:
    """An append on its way: `found` is what the journal has when it conflicts."""

    __slots__ = (
        *("conflicts", "entries", "expected_count", "found", "head"),
        *("is_lazy", "run_id", "size_bytes"),
    )

    def __init__(
        self,
        run_id: str,
        entries: Sequence[bytes],
        expected_count: int,
        head: bytes,
        *,
        is_lazy: bool,
    ) -> None:
        self.run_id = run_id
        self.entries = entries
        self.expected_count = expected_count
        self.head = head
        self.is_lazy = is_lazy
        self.size_bytes = sum(map(len, entries))
        self.conflicts = False
        self.found: int | None = None


class SqlJournals(Rows):
    """The port `JournalTable`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._grouping: Grouping[_Append] = Grouping(
            self._commit_sqlite if database.is_sqlite else self._commit_postgresql,
            count_max=self.limits.store.group_count_max,
            limit_bytes=self.limits.store.group_limit_bytes,
            pending_count_max=self.limits.storage.write_queue,
        )
        self._raw: PoolProxiedConnection | None = None
        self._info: dict[Any, Any] = {}  # of the connection

    def append(
        self,
        run_id: str,
        entries: Sequence[bytes],
        *,
        expected_count: int,
        head: bytes = b"",
        is_lazy: bool = False,
    ) -> int:
        """Append entries; return how many there are now."""
        check_id("run", run_id)
        check_entries(entries, head, self.limits)
        append = _Append(run_id, entries, expected_count, head, is_lazy=is_lazy)
        self._grouping.submit(append, key=run_id, size_bytes=append.size_bytes)
        if append.conflicts:
            raise _conflict(run_id, expected_count, append.found)
        return expected_count + len(entries)

    def head(self, run_id: str) -> JournalHead | None:
        """Return where the journal of a run ends."""
        check_id("run", run_id)
        row = self.database.first(_HEAD, {"run_id": run_id})
        if row is None:
            return None
        count, size_bytes, head = row
        return JournalHead(count=count, size_bytes=size_bytes, hash=head)

    def read(self, run_id: str, *, start: int = 0, limit: int = 1000) -> Sequence[bytes]:
        """Return entries from an index on."""
        check_id("run", run_id)
        check_page(limit, self.limits)
        values = {"run_id": run_id, "start": start, "most": limit}
        return [data for (data,) in self.database.rows(_ENTRIES, values)]

    # --- SQLite ---

    def _commit_sqlite(self, group: Sequence[_Append]) -> None:
        with self.database.errors(), self.database.exclusive():
            connection = self._own_connection()
            is_lazy = all(append.is_lazy for append in group)
            set_durability(connection, self._info, is_lazy=is_lazy)
            cursor = connection.cursor()
            try:
                cursor.execute("BEGIN IMMEDIATE")
                for append in group:
                    _append_sqlite(cursor, append)
                cursor.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, a full disk among them.
                if connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise

    def _own_connection(self) -> sqlite3.Connection:
        if self._raw is None:
            self._raw = self.database.engine.raw_connection()
            self._info = self._raw.info
        return cast("sqlite3.Connection", self._raw.driver_connection)

    def close(self) -> None:
        """Close the connection of its own. The database was closed before: no commit follows."""
        with self.database.exclusive():
            raw, self._raw = self._raw, None
            if raw is not None:
                raw.detach()
                raw.close()

    # --- PostgreSQL ---

    def _commit_postgresql(self, group: Sequence[_Append]) -> None:
        self.database.write(
            lambda connection: _append_postgresql(connection, group),
            is_lazy=all(append.is_lazy for append in group),
        )


# --- together with something else ---


def begin_journal(connection: Connection, run_id: str, entries: Sequence[bytes]) -> None:
    """Add the journal of a new run."""
    size_bytes = sum(map(len, entries))
    values = {"run_id": run_id, "count": len(entries), "size_bytes": size_bytes, "head": b""}
    _ADD_JOURNAL.change(connection, values)
    _add_entries(connection, run_id, entries, 0)


def extend_journal(connection: Connection, append: JournalAppend) -> None:
    """Append entries in a transaction of the caller.

    Raises:
        StoreUnknownError: there is no such run.
        StoreChangedError: there are more or fewer entries.
    """
    values = {
        "id": append.run_id,
        "expected": append.expected_count,
        "added": len(append.entries),
        "added_bytes": sum(map(len, append.entries)),
    }
    if _EXTEND.change(connection, values) != 1:
        found = _HEAD.value(connection, {"run_id": append.run_id})
        raise _conflict(append.run_id, append.expected_count, found)
    _add_entries(connection, append.run_id, append.entries, append.expected_count)


def _add_entries(connection: Connection, run_id: str, entries: Sequence[bytes], first: int) -> None:
    rows = [
        {"run_id": run_id, "ordinal": index, "data": entry}
        for index, entry in enumerate(entries, first)
    ]
    _ADD_ENTRIES.change_all(connection, rows)


def _conflict(
    run_id: str, expected_count: int, found: int | None
) -> StoreUnknownError | StoreChangedError:
    """Return why entries were not appended; `found` is how many there are."""
    if found is None:
        return StoreUnknownError(what="run", id=run_id)
    return StoreChangedError(
        what="journal", id=run_id, expected=f"{expected_count} entries", found=f"{found}"
    )


# --- for many runs at once ---


def _append_sqlite(cursor: sqlite3.Cursor, append: _Append) -> None:
    run_id, entries, first = append.run_id, append.entries, append.expected_count
    cursor.execute(_ADVANCE, (len(entries), append.size_bytes, append.head, run_id, first))
    append.conflicts = cursor.rowcount != 1
    if append.conflicts:
        row = cursor.execute(_COUNT, (run_id,)).fetchone()
        append.found = None if row is None else row[0]
        return
    for index, entry in enumerate(entries, first):
        cursor.execute(_ADD, (run_id, index, entry))


def _append_postgresql(connection: Connection, group: Sequence[_Append]) -> None:
    parameters = {
        "runs": [append.run_id for append in group],
        "counts": [append.expected_count for append in group],
        "added": [len(append.entries) for append in group],
        "sizes": [append.size_bytes for append in group],
        "heads": [append.head for append in group],
    }
    advanced = set(connection.execute(_ADVANCE_ALL, parameters).scalars())
    rows = []
    for append in group:
        append.conflicts = append.run_id not in advanced
        if append.conflicts:
            query = select(journals.c.count).where(journals.c.run_id == append.run_id)
            append.found = connection.execute(query).scalar()
            continue
        for index, entry in enumerate(append.entries, append.expected_count):
            rows.append({"run_id": append.run_id, "ordinal": index, "data": entry})
    _ADD_ENTRIES.change_all(connection, rows)
