"""One database: its connections and its transactions.

Owns the engine, the rule that SQLite has one writer in a process, and the translation of errors.
Invariants:
- every unit of work runs in one transaction: all of it is kept, or nothing;
- a write that ran into a constraint because of another process is run again, so that its own
  checks say what is wrong; work given to `write` may therefore run more than once;
- after an error the connection is back in the pool, or replaced.

It knows no table.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cloche.store.adapters.sql.failures import may_be_repeated, translate
from cloche.store.errors import StoreBusyError, StoreClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, Engine

    from cloche.limits import Limits
    from cloche.store.adapters.sql.prepared import Prepared

T = TypeVar("T")

# Of one unit of work. Each needs another process that interferes; three in a row mean a defect.
_ATTEMPT_COUNT_MAX: Final = 5
_NOT_AT_ONCE: Final = text("SET LOCAL synchronous_commit = off")  # PostgreSQL; see `set_durability`


class Database:
    """Runs units of work. `name` is what messages call it, without a password."""

    def __init__(self, engine: Engine, name: str, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.is_sqlite = engine.dialect.name == "sqlite"
        # Waiting in SQLite's busy handler is polling; within a process a mutex is fair and fast.
        self._writer = threading.Lock()
        self.engine = engine
        self._write_engine = engine.execution_options(cloche_write=True)
        self._lazy_engine = engine.execution_options(cloche_write=True, cloche_lazy=True)
        self._closed = False

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what the work reads, all of it from one moment on SQLite.

        Raises:
            StoreError: closed, or what the database cannot do.
        """
        with self.errors(), self.engine.begin() as connection:
            return work(connection)

    def rows(self, statement: Prepared, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return the rows that one statement finds; see `read`."""
        if not self.is_sqlite:
            return self.read(lambda connection: statement.rows(connection, values))
        with self.errors():
            raw: Any = self.engine.raw_connection()
            try:
                return statement.ask(raw.driver_connection, values).fetchall()
            finally:
                raw.close()

    def first(self, statement: Prepared, values: Mapping[str, Any]) -> Any:
        """Return the first row that one statement finds, or None; see `read`."""
        found = self.rows(statement, values)
        return found[0] if found else None

    def write(self, work: Callable[[Connection], T], *, is_lazy: bool = False) -> T:
        """Return what the work returns, once its changes are durable.

        Args:
            work: changes something; may run more than once.
            is_lazy: the loss of power may undo it while nothing was changed after it: what is
                written next brings it to the disk, too.

        Raises:
            StoreError: closed, or what the database cannot do. Nothing was changed then, except
                after StoreUnavailableError, when it may have been.
        """
        for _ in range(_ATTEMPT_COUNT_MAX - 1):
            try:
                return self._write_once(work, is_lazy=is_lazy)
            except (DBAPIError, sqlite3.Error) as error:
                if not may_be_repeated(error):
                    raise translate(error, self.name, self.busy_timeout_ms) from error
        with self.errors():
            return self._write_once(work, is_lazy=is_lazy)

    def _write_once(self, work: Callable[[Connection], T], *, is_lazy: bool) -> T:
        self._check_open()
        engine = self._lazy_engine if is_lazy else self._write_engine
        try:
            with self.exclusive(), engine.begin() as connection:
                if is_lazy and not self.is_sqlite:
                    connection.execute(_NOT_AT_ONCE)
                return work(connection)
        except PoolTimeoutError as error:
            raise StoreBusyError(store=self.name, waited_ms=self.busy_timeout_ms) from error

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the only writer of this process, where the database has only one."""
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=self.busy_timeout_ms / 1000):
            raise StoreBusyError(store=self.name, waited_ms=self.busy_timeout_ms)
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate what the database raises inside.

        Raises:
            StoreClosedError: on entry, the store is closed.
        """
        self._check_open()
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            raise translate(error, self.name, self.busy_timeout_ms) from error
        except PoolTimeoutError as error:
            raise StoreBusyError(store=self.name, waited_ms=self.busy_timeout_ms) from error

    @property
    def busy_timeout_ms(self) -> int:
        """How long somebody waits for a lock or a connection."""
        return self.limits.store.busy_timeout_ms

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(store=self.name)

    def close(self) -> None:
        """Close all connections; a second call does nothing."""
        self._closed = True
        self.engine.dispose()


def set_durability(connection: sqlite3.Connection, info: dict[Any, Any], *, is_lazy: bool) -> None:
    """Say how the transactions of a connection of SQLite are kept that begin from now on.

    Args:
        connection: between two transactions.
        info: of the connection, as the pool keeps it.
        is_lazy: "normal" durability, else that of the store.
    """
    if info.get("is_lazy", False) != is_lazy:
        connection.execute(f"PRAGMA synchronous = {'normal' if is_lazy else info['durability']}")
        info["is_lazy"] = is_lazy
