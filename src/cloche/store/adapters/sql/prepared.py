"""Statements that are made once and asked often.

SQLAlchemy takes several times as long for a statement as SQLite does: it looks for the text, makes
a context, a result and rows that are asked for by name. So on SQLite such a statement is compiled
once and given to the driver of the connection; elsewhere SQLAlchemy has it, as everything else.
Values are those of columns as they are: text, integers, bytes and None, which the driver takes and
gives itself. Rows are tuples, in the order of the columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Executable
    from sqlalchemy.engine import Connection

_SQLITE: Final = SQLiteDialect_pysqlite()


class Prepared:
    """A statement with parameters; of an INSERT or UPDATE the names of values say the columns.

    Args:
        statement: made once; nothing in it changes any more.
    """

    __slots__ = ("_known", "statement")

    def __init__(self, statement: Executable) -> None:
        self.statement = statement
        self._known: dict[tuple[str, ...], _Compiled] = {}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return all that is found."""
        if connection.dialect.name == "sqlite":
            return self.ask(_driver(connection), values).fetchall()
        return connection.execute(self.statement, values).fetchall()

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Return the first row that is found, or None."""
        # All are fetched, since a statement that is not at its end keeps what it reads.
        found = self.rows(connection, values)
        return found[0] if found else None

    def value(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Return the first value of the first row that is found, or None."""
        found = self.rows(connection, values)
        return found[0][0] if found else None

    def change(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Return how many rows were changed."""
        if connection.dialect.name == "sqlite":
            return self.ask(_driver(connection), values).rowcount
        return connection.execute(self.statement, values).rowcount

    def change_all(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Do it for each of some values, which have the same names."""
        if not rows:
            return
        if connection.dialect.name == "sqlite":
            compiled = self._compiled(rows[0])
            _driver(connection).executemany(compiled.text, list(map(compiled.ordered, rows)))
        else:
            connection.execute(self.statement, list(rows))

    def ask(self, driver: sqlite3.Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        """Ask the driver of SQLite itself."""
        compiled = self._compiled(values)
        return driver.execute(compiled.text, compiled.ordered(values))

    def _compiled(self, values: Mapping[str, Any]) -> _Compiled:
        """Return the text for values of these names."""
        names = tuple(values)
        known = self._known.get(names)
        if known is None:
            known = self._known[names] = _Compiled(self.statement, names)
        return known


class _Compiled:
    """The text of a statement, and the order in which it wants its values.

    Raises:
        KeyError: on construction, a value is missing.
    """

    __slots__ = ("_fixed", "_order", "text")

    def __init__(self, statement: Any, names: tuple[str, ...]) -> None:
        compiled = statement.compile(dialect=_SQLITE, column_keys=list(names))
        self.text: str = compiled.string
        self._order: tuple[str, ...] = tuple(compiled.positiontup)
        self._fixed = {}  # values that stand in the statement itself
        for name in set(self._order) - set(names):
            if compiled.binds[name].required:
                raise KeyError(name)
            self._fixed[name] = compiled.params[name]

    def ordered(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        given = {**self._fixed, **values} if self._fixed else values
        return tuple([given[name] for name in self._order])


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)
