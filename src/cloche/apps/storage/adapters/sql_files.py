"""The SQL of apps: one SQLite file each, in a folder beside the store.

A trust boundary: the text of every statement is the app's. Held by:
- an authorizer that lets through what is listed, so no ATTACH, PRAGMA, VACUUM, BEGIN, virtual or
  temporary tables, no extensions, and nothing of our own table;
- `max_page_count` for the size, a progress handler for the time, SQLite's limits for values, depth
  and parameters, our own count for rows and their bytes;
- statements are prepared anew each time: a cached one was authorized for whoever prepared it.

The name of a file is a digest of the app's: no path comes from outside.
Sources: https://www.sqlite.org/c3ref/set_authorizer.html, https://www.sqlite.org/security.html.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cloche.apps.storage.calls import Budget
from cloche.apps.storage.errors import (
    AppStorageError,
    QuotaError,
    SqlBusyError,
    SqlDeniedError,
    SqlError,
    SqlFileError,
    SqlTimeoutError,
    StorageTooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cloche.apps.storage.sql import Statement
    from cloche.limits import Limits

PAGE_BYTES: Final = 4096
OWN_TABLE: Final = "_cloche_effects"
_OWN_PREFIX: Final = "_cloche"
_OWN_NAME: Final = f"a name that begins with {_OWN_PREFIX}"
_MAKE_OWN_TABLE: Final = (
    f"CREATE TABLE IF NOT EXISTS {OWN_TABLE} "
    "(key TEXT PRIMARY KEY, value TEXT NOT NULL, remembered_ns INTEGER NOT NULL)"
)
_STEP_COUNT: Final = 1000  # instructions between two looks at the clock: some 20 us
_DISK_RESERVE_BYTES: Final = 1 << 20
_PRUNE_COUNT: Final = 100
_PRIMARY_CODE: Final = 0xFF
_NUMBER_BYTES: Final = 8

_READS: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
_WRITES: Final = frozenset(
    {
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_VIEW,
        sqlite3.SQLITE_DROP_TRIGGER,
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_REINDEX,
        sqlite3.SQLITE_ANALYZE,
    }
)
_DENIED_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer"})
_ACTION_NAMES: Final = {
    sqlite3.SQLITE_ATTACH: "ATTACH or VACUUM",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_TRANSACTION: "BEGIN, COMMIT or ROLLBACK (use batch)",
    sqlite3.SQLITE_SAVEPOINT: "SAVEPOINT (use batch)",
    sqlite3.SQLITE_CREATE_VTABLE: "a virtual table",
    sqlite3.SQLITE_DROP_VTABLE: "a virtual table",
    sqlite3.SQLITE_CREATE_TEMP_TABLE: "a temporary table",
    sqlite3.SQLITE_CREATE_TEMP_INDEX: "a temporary index",
    sqlite3.SQLITE_CREATE_TEMP_VIEW: "a temporary view",
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: "a temporary trigger",
}
_FILE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)


class SqlFiles:
    """The port `SqlDatabases`.

    Args:
        folder: where the files are; made when the first app needs it.
        limits: the group `apps`.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._lock = threading.Lock()
        self._open: dict[str, _File] = {}  # the one used last is the last

    def query(self, app: str, statement: Statement, time_ms: int | None = None) -> dict[str, Any]:
        """Return what a statement reads."""
        with self._file(app) as file:
            return file.query(statement, self._timeout_ms(time_ms))

    def execute(
        self,
        app: str,
        key: str,
        statements: Sequence[Statement],
        now_ns: int,
        time_ms: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return what statements did."""
        with self._file(app) as file:
            return file.execute(key, statements, now_ns, self._timeout_ms(time_ms))

    def _timeout_ms(self, time_ms: int | None) -> int:
        most = self._limits.apps.sql_timeout_ms
        return most if time_ms is None else min(time_ms, most)

    @property
    def open_apps(self) -> list[str]:
        """Apps whose databases are open, the one used last at the end."""
        with self._lock:
            return list(self._open)

    def path(self, app: str) -> Path:
        """Return where the database of an app is, or would be."""
        return self._folder / f"{hashlib.sha256(app.encode()).hexdigest()[:40]}.sqlite"

    def remove(self, app: str) -> bool:
        """Remove the database of an app; return whether there was one."""
        with self._lock:
            file = self._open.pop(app, None)
        if file is not None:
            file.close()
        path = self.path(app)
        found = path.exists()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return found

    def close(self) -> None:
        """Close all files; they are opened again when they are needed."""
        with self._lock:
            files, self._open = list(self._open.values()), {}
        for file in files:
            file.close()

    @contextlib.contextmanager
    def _file(self, app: str) -> Iterator[_File]:
        with self._lock:
            file = self._open.pop(app, None) or _File(self.path(app), self._limits)
            self._open[app] = file
            file.user_count += 1
            idle = [name for name, found in self._open.items() if not found.user_count]
            excess = len(self._open) - self._limits.apps.sql_open_count_max
            dropped = [self._open.pop(name) for name in idle[: max(excess, 0)]]
        for old in dropped:
            old.close()
        try:
            yield file
        finally:
            with self._lock:
                file.user_count -= 1


class _File:
    """One database: a connection that writes and one that reads."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self.user_count = 0
        self._writer = _Connection(path, limits, writes=True)
        self._reader = _Connection(path, limits, writes=False)

    def query(self, statement: Statement, timeout_ms: int) -> dict[str, Any]:
        if not self._path.exists():
            with self._writer.used(timeout_ms):
                pass  # an empty one
        with self._reader.used(timeout_ms) as connection:
            budget = self._budget()
            return connection.run(statement, budget)

    def execute(
        self, key: str, statements: Sequence[Statement], now_ns: int, timeout_ms: int
    ) -> list[dict[str, Any]]:
        with self._writer.used(timeout_ms) as connection:
            connection.own("BEGIN IMMEDIATE")
            known = connection.own(f"SELECT value FROM {OWN_TABLE} WHERE key = ?", key)  # noqa: S608
            if known:
                connection.own("ROLLBACK")
                found: list[dict[str, Any]] = json.loads(known[0][0])
                return found
            budget = self._budget()
            values = [connection.run(statement, budget) for statement in statements]
            before_ns = now_ns - self._limits.apps.effect_memory_ms * 1_000_000
            connection.own(
                f"DELETE FROM {OWN_TABLE} WHERE key IN (SELECT key FROM {OWN_TABLE} "  # noqa: S608
                f"WHERE remembered_ns < ? LIMIT {_PRUNE_COUNT})",
                before_ns,
            )
            connection.own(
                f"INSERT INTO {OWN_TABLE} VALUES (?, ?, ?)",  # noqa: S608
                key,
                json.dumps(values, ensure_ascii=False),
                now_ns,
            )
            connection.own("COMMIT")
            return values

    def _budget(self) -> Budget:
        most = self._limits.apps.sql_result_limit_bytes
        return Budget("the result", "apps.sql_result_limit_bytes", most)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


class _Connection:
    """A connection that the app's statements run on, made when it is first used."""

    def __init__(self, path: Path, limits: Limits, *, writes: bool) -> None:
        self._path = path
        self._limits = limits.apps
        self._writes = writes
        self._lock = threading.Lock()
        self._raw: sqlite3.Connection | None = None
        self._is_own = False  # whether what is prepared now is ours
        self._denied = ""
        self._is_altered = False  # whether something may have got another name
        self._deadline_s = math.inf
        self._timeout_ms = limits.apps.sql_timeout_ms

    @contextlib.contextmanager
    def used(self, timeout_ms: int) -> Iterator[_Connection]:
        """Be the only one on it, until the deadline; what was begun and not ended is rolled back.

        Raises:
            AppStorageError: for everything that SQLite raises.
        """
        deadline_s = time.monotonic() + timeout_ms / 1000
        if not self._lock.acquire(timeout=timeout_ms / 1000):
            raise SqlBusyError(timeout_ms=timeout_ms)
        try:
            self._denied, self._timeout_ms = "", timeout_ms
            try:
                if self._raw is None:
                    self._raw = self._connect()
                self._deadline_s = deadline_s
                yield self
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise self._translate(error) from error
            except (UnicodeError, ValueError, OverflowError, MemoryError) as error:
                raise SqlError(reason=str(error) or type(error).__name__) from error
            finally:
                self._roll_back()
        finally:
            self._lock.release()

    def _roll_back(self) -> None:
        self._deadline_s = math.inf
        if self._raw is None or not self._raw.in_transaction:
            return
        try:
            self.own("ROLLBACK")
        except sqlite3.Error:
            # A connection in a state that nobody knows is not used again.
            raw, self._raw = self._raw, None
            raw.close()

    def _connect(self) -> sqlite3.Connection:
        if self._writes:
            self._make_file()
        mode = "rw" if self._writes else "ro"
        raw = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode={mode}",
            uri=True,
            timeout=self._limits.sql_timeout_ms / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=0,
        )
        try:
            self._set_up(raw)
        except BaseException:
            raw.close()
            raise
        return raw

    def _make_file(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise SqlFileError(reason=error.strerror or type(error).__name__) from error

    def _set_up(self, raw: sqlite3.Connection) -> None:
        raw.text_factory = lambda data: data.decode("utf-8", "replace")
        if self._writes:
            raw.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            raw.execute("PRAGMA journal_mode = WAL")
            raw.execute("PRAGMA synchronous = FULL")
            raw.execute(f"PRAGMA max_page_count = {self._limits.sql_limit_bytes // PAGE_BYTES}")
            raw.execute(f"PRAGMA journal_size_limit = {self._limits.sql_limit_bytes}")
            raw.execute(_MAKE_OWN_TABLE)
        else:
            raw.execute("PRAGMA query_only = ON")
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute("PRAGMA trusted_schema = OFF")
        raw.execute("PRAGMA cell_size_check = ON")
        raw.execute("PRAGMA temp_store = FILE")  # what is sorted does not fill the memory
        for limit, value in self._sqlite_limits().items():
            raw.setlimit(limit, value)
        _set_defensive(raw)
        raw.set_authorizer(self._authorize)
        raw.set_progress_handler(self._is_late, _STEP_COUNT)

    def _sqlite_limits(self) -> dict[int, int]:
        size = self._limits.sql_value_limit_bytes
        return {
            sqlite3.SQLITE_LIMIT_LENGTH: size,
            sqlite3.SQLITE_LIMIT_SQL_LENGTH: size,
            sqlite3.SQLITE_LIMIT_COLUMN: 500,
            sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
            sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
            sqlite3.SQLITE_LIMIT_VDBE_OP: 250_000,
            sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 50,
            sqlite3.SQLITE_LIMIT_ATTACHED: 0,
            sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
            sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 5000,
            sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
            sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
        }

    def _authorize(
        self, action: int, one: str | None, two: str | None, _database: str | None, _by: str | None
    ) -> int:
        # ANALYZE looks at all tables; it counts rows and tells nothing of what is in them.
        if self._is_own or (self._writes and action == sqlite3.SQLITE_ANALYZE):
            return sqlite3.SQLITE_OK
        if any(name is not None and name.lower().startswith(_OWN_PREFIX) for name in (one, two)):
            self._denied = _OWN_NAME
        elif action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in _DENIED_FUNCTIONS:
            self._denied = f"the function {two}"
        elif action in _READS or (self._writes and action in _WRITES):
            self._is_altered = self._is_altered or action == sqlite3.SQLITE_ALTER_TABLE
            return sqlite3.SQLITE_OK
        elif action in _WRITES:
            self._denied = "writing in query (use execute)"
        else:
            self._denied = _ACTION_NAMES.get(action, f"action {action}")
        return sqlite3.SQLITE_DENY

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline_s

    def own(self, text: str, *parameters: Any) -> list[Any]:
        """Return the rows of a statement of ours."""
        raw = self._raw
        if raw is None:
            return []
        self._is_own = True
        try:
            return raw.execute(text, parameters).fetchall()
        finally:
            self._is_own = False

    def run(self, statement: Statement, budget: Budget) -> dict[str, Any]:
        """Return what a statement of the app did."""
        raw = self._raw
        if raw is None:
            raise SqlFileError(reason="it was closed")
        before = raw.total_changes
        cursor = raw.execute(statement.text, statement.parameters)
        columns = [column[0] for column in cursor.description or ()]
        rows: list[list[Any]] = []
        most = self._limits.sql_row_count_max
        for row in cursor:
            if len(rows) == most:
                raise StorageTooLargeError(
                    what="the result",
                    size=most + 1,
                    limit="apps.sql_row_count_max",
                    maximum=most,
                )
            rows.append([_value(value, budget) for value in row])
        if not self._writes:
            return {"columns": columns, "rows": rows}
        self._check_names()
        return {
            "changes": raw.total_changes - before,
            "last_id": cursor.lastrowid,
            "columns": columns,
            "rows": rows,
        }

    def _check_names(self) -> None:
        """Refuse a new name that is ours: SQLite does not tell the authorizer what it is."""
        if not self._is_altered:
            return
        self._is_altered = False
        names = self.own("SELECT lower(name) FROM sqlite_master WHERE name != ?", OWN_TABLE)
        if any(name.startswith(_OWN_PREFIX) for (name,) in names):
            raise SqlDeniedError(action=_OWN_NAME)

    def _translate(self, error: sqlite3.Error | sqlite3.Warning) -> AppStorageError:
        if self._denied:
            return SqlDeniedError(action=self._denied)
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
        timeout_ms, most = self._timeout_ms, self._limits.sql_value_limit_bytes
        found: AppStorageError
        match code:
            case sqlite3.SQLITE_INTERRUPT:
                found = SqlTimeoutError(timeout_ms=timeout_ms)
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                found = SqlBusyError(timeout_ms=timeout_ms)
            case sqlite3.SQLITE_FULL:
                found = self._full()
            case sqlite3.SQLITE_TOOBIG:
                found = StorageTooLargeError(
                    what="a value or statement",
                    size=most + 1,
                    limit="apps.sql_value_limit_bytes",
                    maximum=most,
                )
            case _ if code in _FILE_CODES:
                found = SqlFileError(reason=str(error))
            case _:
                found = SqlError(reason=str(error))
        return found

    def _full(self) -> AppStorageError:
        # SQLite has one code for its own limit and for a disk without space.
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < _DISK_RESERVE_BYTES:
            return SqlFileError(reason="no space is left on the disk")
        most = self._limits.sql_limit_bytes
        return QuotaError(
            what="bytes of the database",
            used=most,
            asked=1,
            limit="apps.sql_limit_bytes",
            maximum=most,
        )

    def close(self) -> None:
        """Close the connection; it is made again when it is used."""
        with self._lock:
            if self._raw is not None:
                self._raw.close()
                self._raw = None


def _set_defensive(raw: sqlite3.Connection) -> None:
    # From Python 3.12 on; before it, the authorizer and SQLite's own rules hold the same.
    set_config = getattr(raw, "setconfig", None)
    if set_config is not None:
        set_config(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # type: ignore[attr-defined,unused-ignore]


def _value(value: Any, budget: Budget) -> Any:
    """Return a value as JSON. Infinity has no text there: it is null, as NaN is in SQLite."""
    if isinstance(value, bytes):
        text = base64.b64encode(value).decode()
        budget.add(len(text))
        return {"b64": text}
    if isinstance(value, str):
        budget.add(len(value.encode()))
        return value
    budget.add(_NUMBER_BYTES)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
