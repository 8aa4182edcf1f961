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

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what the work returns, once its changes are durable.

        Raises:
            StoreError: closed, or what the database cannot do. Nothing was changed then, except
                after StoreUnavailableError, when it may have been.
        """
        for _ in range(_ATTEMPT_COUNT_MAX - 1):
            try:
                return self._write_once(work)
            except (DBAPIError, sqlite3.Error) as error:
                if not may_be_repeated(error):
                    raise translate(error, self.name, self.busy_timeout_ms) from error
        with self.errors():
            return self._write_once(work)

    def _write_once(self, work: Callable[[Connection], T]) -> T:
        self._check_open()
        try:
            with self.exclusive(), self._write_engine.begin() as connection:
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
