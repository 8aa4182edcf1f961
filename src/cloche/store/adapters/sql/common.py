"""What the tables of the SQL store share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from cloche.store.adapters.sql.schema import blobs, runs
from cloche.store.errors import StoreUnknownError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sqlalchemy import Column
    from sqlalchemy.engine import Connection

    from cloche.store.adapters.sql.database import Database

# Values of one IN: SQLite takes 32,766 parameters, PostgreSQL 65,535.
_PARAMETER_COUNT_MAX = 10_000


class Rows:
    """Base of the parts of a store: they share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.limits = database.limits


def require_blobs(connection: Connection, named: AbstractSet[str]) -> None:
    """Raise StoreUnknownError unless all these blobs are kept."""
    _require(connection, "blob", blobs.c.sha256, named)


def require_runs(connection: Connection, named: AbstractSet[str]) -> None:
    """Raise StoreUnknownError unless all these runs are kept."""
    _require(connection, "run", runs.c.id, named)


def _require(
    connection: Connection, what: str, column: Column[str], named: AbstractSet[str]
) -> None:
    wanted = sorted(named)
    for start in range(0, len(wanted), _PARAMETER_COUNT_MAX):
        part = wanted[start : start + _PARAMETER_COUNT_MAX]
        found = set(connection.execute(select(column).where(column.in_(part))).scalars())
        for name in part:
            if name not in found:
                raise StoreUnknownError(what=what, id=name)
