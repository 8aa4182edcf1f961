"""What the rows of one app in a database share.

Statements are made once, with parameters for all values: SQLAlchemy takes longer to build one than
SQLite to execute it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Delete, Select
    from sqlalchemy.engine import Connection, RowMapping

# The names of parameters: `app` and `limit` are there where a statement has them.
APP: Any = bindparam("app")
LIMIT: Any = bindparam("limit")


def rows_of(
    table: Table, *conditions: ColumnElement[bool], order: Iterable[Any] = (), limited: bool = False
) -> Select[Any]:
    """Return a query for rows of one app, without its name."""
    columns = [column for column in table.columns if column.name != "app"]
    query = select(*columns).where(table.c.app == APP, *conditions).order_by(*order)
    return query.limit(LIMIT) if limited else query


def removal_of(table: Table, *conditions: ColumnElement[bool]) -> Delete:
    """Return the removal of rows of one app."""
    return table.delete().where(table.c.app == APP, *conditions)


@cache
def _upsert(table: Table, *, is_sqlite: bool) -> Any:
    statement: Any = (sqlite if is_sqlite else postgresql).insert(table)
    keys = [column.name for column in table.primary_key.columns]
    rest = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if column.name not in keys
    }
    if rest:
        return statement.on_conflict_do_update(index_elements=keys, set_=rest)
    return statement.on_conflict_do_nothing(index_elements=keys)


class Statements:
    """One transaction of one app. Whatever it asks of a table, it asks of this app's rows."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app
        self._is_sqlite = connection.dialect.name == "sqlite"

    def _put(self, table: Table, values: dict[str, Any]) -> None:
        """Add a row, or replace the one with its primary key."""
        statement = _upsert(table, is_sqlite=self._is_sqlite)
        self._connection.execute(statement, {"app": self._app, **values})

    def _put_row(self, table: Table, row: Any) -> None:
        """Add or replace a row whose fields are the columns of the table."""
        # Not `asdict`, which copies deeply.
        self._put(table, {name: getattr(row, name) for name in row.__slots__})

    def _rows(self, query: Select[Any], **values: Any) -> list[RowMapping]:
        found = self._connection.execute(query, {"app": self._app, **values})
        return list(found.mappings())

    def _row(self, query: Select[Any], **values: Any) -> RowMapping | None:
        return self._connection.execute(query, {"app": self._app, **values}).mappings().first()

    def _value(self, query: Select[Any], **values: Any) -> Any:
        return self._connection.execute(query, {"app": self._app, **values}).scalar()

    def _remove(self, statement: Delete, **values: Any) -> int:
        return self._connection.execute(statement, {"app": self._app, **values}).rowcount
