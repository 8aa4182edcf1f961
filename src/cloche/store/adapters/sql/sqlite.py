"""A SQLite file as a database: how it is made, checked and connected to.

Invariants:
- the file and its folder are readable by their owner only when cloche makes them;
- a file that is not cloche's is not touched: not written, not even set to WAL;
- a write that returned survives the loss of power, with `durability="full"`; with "normal" it
  survives the end of the process, and after the loss of power the newest may be missing.

Source of the pragmas: https://www.sqlite.org/pragma.html and https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import URL, create_engine, event

from cloche.store.adapters.sql.database import Database, set_durability
from cloche.store.adapters.sql.failures import translate
from cloche.store.adapters.sql.schema import VERSION_TABLE
from cloche.store.errors import StoreBusyError, StoreForeignError, StoreReadOnlyError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection, Engine

    from cloche.limits import Limits

Durability = Literal["full", "normal"]

APPLICATION_ID: Final = 0x636C6F63  # "cloc": in the header of every file of ours
# Pages of the log before it is moved into the file: 4 MiB, after which its space is used again.
_CHECKPOINT_PAGE_COUNT: Final = 1000
_LOG_LIMIT_BYTES: Final = 64 << 20
_MAGIC: Final = b"SQLite format 3\0"
_RETRY_S: Final = 0.01


def open_sqlite(path: Path, limits: Limits, durability: Durability = "full") -> Database:
    """Return the database in a file, which is made if there is none.

    Raises:
        StoreForeignError: the file is something else; it is untouched.
        StoreReadOnlyError: the file or its folder cannot be written.
        StoreError: what else the database cannot do.
    """
    _make_file(path)
    engine = _make_engine(path, limits, durability)
    database = Database(engine, str(path), limits)
    try:
        with database.errors():
            _check_file(engine, path)
            _set_wal(engine, path, limits.store.busy_timeout_ms)
    except BaseException:
        database.close()
        raise
    return database


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            start = os.read(descriptor, len(_MAGIC))
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreReadOnlyError(store=str(path), reason=reason) from error
    # SQLite takes a file shorter than its header for an empty one, and would write over it.
    if start and start != _MAGIC:
        raise StoreForeignError(store=str(path), found="the file is no database")


def _make_engine(path: Path, limits: Limits, durability: Durability) -> Engine:
    timeout_s = limits.store.busy_timeout_ms / 1000
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        # Transactions begin where we say so, see `_begin`.
        connect_args={"isolation_level": None, "timeout": timeout_s, "check_same_thread": False},
        pool_size=limits.store.connection_count_max,
        max_overflow=0,
        pool_timeout=timeout_s,
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, record: Any) -> None:
        record.info["durability"] = durability
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {durability}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGE_COUNT}")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT_BYTES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A reader that turns writer can fail at once; who will write says so first.
        options = connection.get_execution_options()
        writes = options.get("cloche_write", False)
        # Past SQLAlchemy, which would take as long for it as for a statement.
        raw = connection.connection
        own: Any = raw.driver_connection
        if writes:
            set_durability(own, raw.info, is_lazy=options.get("cloche_lazy", False))
        own.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _check_file(engine: Engine, path: Path) -> None:
    with engine.connect() as connection:
        application_id = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
    if application_id == 0 and not tables:
        return  # new, or one whose making was interrupted before its first change
    if application_id != APPLICATION_ID or VERSION_TABLE not in tables:
        shown = ", ".join(sorted(tables)[:3]) or "nothing"
        raise StoreForeignError(
            store=str(path), found=f"a database of another program, with {shown}"
        )


def _set_wal(engine: Engine, path: Path, timeout_ms: int) -> None:
    # It needs the file for itself, and SQLite does not wait for that in every case.
    deadline = time.monotonic() + timeout_ms / 1000
    raw = engine.raw_connection()
    try:
        connection: Any = raw.driver_connection
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                failure = translate(error, str(path), timeout_ms)
                if not isinstance(failure, StoreBusyError) or time.monotonic() > deadline:
                    raise failure from error
                time.sleep(_RETRY_S)
            else:
                return
    finally:
        raw.close()
