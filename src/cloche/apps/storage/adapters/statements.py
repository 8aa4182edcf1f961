"""What the rows of one app in a database share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.engine import Connection


class Statements:
    """One transaction of one app. Whatever it asks of a table, it asks of this app's rows."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app
        is_sqlite = connection.dialect.name == "sqlite"
        self._insert: Any = sqlite.insert if is_sqlite else postgresql.insert

    def _of(self, table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return and_(table.c.app == self._app, *conditions)

    def _put(self, table: Table, **values: Any) -> None:
        """Add a row, or replace the one with its primary key."""
        statement = self._insert(table).values(app=self._app, **values)
        keys = [column.name for column in table.primary_key.columns]
        rest = {name: statement.excluded[name] for name in values if name not in keys}
        if rest:
            statement = statement.on_conflict_do_update(index_elements=keys, set_=rest)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=keys)
        self._connection.execute(statement)

    def _rows(
        self,
        table: Table,
        *conditions: ColumnElement[bool],
        order: Sequence[Any] = (),
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return rows without the name of the app."""
        columns = [column for column in table.columns if column.name != "app"]
        query = select(*columns).where(self._of(table, *conditions)).order_by(*order).limit(limit)
        return [dict(row) for row in self._connection.execute(query).mappings()]

    def _row(self, table: Table, *conditions: ColumnElement[bool]) -> dict[str, Any] | None:
        found = self._rows(table, *conditions, limit=1)
        return found[0] if found else None

    def _delete(self, table: Table, *conditions: ColumnElement[bool]) -> int:
        statement = table.delete().where(self._of(table, *conditions))
        return self._connection.execute(statement).rowcount
