"""What the tables of the SQL store share.

Statements that are asked often stand in the modules, made once, with parameters: making one takes
longer than the database takes for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from cloche.store.adapters.sql.prepared import Prepared
from cloche.store.adapters.sql.schema import blobs, runs
from cloche.store.errors import StoreUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from sqlalchemy import Column, Select, Table
    from sqlalchemy.engine import Connection

    from cloche.store.adapters.sql.database import Database

# Values of one IN: SQLite takes 32,766 parameters, PostgreSQL 65,535.
_PARAMETER_COUNT_MAX = 10_000


class Rows:
    """Base of the parts of a store: they share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.limits = database.limits


def by_key(table: Table, *names: str) -> Select[Any]:
    """Return the query of the row whose columns of these names have the values given for them."""
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


def named(fields: Iterable[str], row: Iterable[Any]) -> dict[str, Any]:
    """Return the values of a row by their names."""
    return dict(zip(fields, row, strict=True))


def values_of(row: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return fields of a row that is to be written. Faster than `asdict`, which copies deeply."""
    return {name: getattr(row, name) for name in names}


def _named(column: Column[str]) -> Select[Any]:
    return select(column).where(column.in_(bindparam("names", expanding=True)))


_NAMED_BLOBS: Final = _named(blobs.c.sha256)
_NAMED_RUNS: Final = _named(runs.c.id)
_RUN: Final = Prepared(select(runs.c.id).where(runs.c.id == bindparam("id")))


def require_blobs(connection: Connection, named: AbstractSet[str]) -> None:
    """Raise StoreUnknownError unless all these blobs are kept."""
    _require(connection, "blob", _NAMED_BLOBS, named)


def require_runs(connection: Connection, named: AbstractSet[str]) -> None:
    """Raise StoreUnknownError unless all these runs are kept."""
    if len(named) == 1:
        (run_id,) = named
        if _RUN.first(connection, {"id": run_id}) is None:
            raise StoreUnknownError(what="run", id=run_id)
        return
    _require(connection, "run", _NAMED_RUNS, named)


def _require(
    connection: Connection, what: str, query: Select[Any], named: AbstractSet[str]
) -> None:
    wanted = sorted(named)
    for start in range(0, len(wanted), _PARAMETER_COUNT_MAX):
        part = wanted[start : start + _PARAMETER_COUNT_MAX]
        found = set(connection.execute(query, {"names": part}).scalars())
        for name in part:
            if name not in found:
                raise StoreUnknownError(what=what, id=name)
