"""What the databases raise, as errors of the store: the one place where the two meet.

Owns the tables from SQLite result codes and SQLSTATE codes to error classes.
Sources: https://www.sqlite.org/rescode.html and PostgreSQL's appendix "PostgreSQL Error Codes".
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError

from cloche.errors import ClocheError, InternalError
from cloche.store.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreForeignError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

_PRIMARY_CODE: Final = 0xFF  # the rest of a SQLite code says more, but not otherwise
_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_READ_ONLY: Final = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CANTOPEN,
}
# The server broke one of two transactions off, so that the other goes on: another try may succeed.
_CONTENDED_STATES: Final = {"40001", "40P01"}
_LOCK_TIMEOUT_STATE: Final = "55P03"
_STATE_CLASS_LENGTH: Final = 2


def translate(error: DBAPIError | sqlite3.Error, store: str, waited_ms: int) -> ClocheError:
    """Return the error of the store for one of the database. Messages hold no values of rows."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, IntegrityError | sqlite3.IntegrityError):
        return InternalError(f"a change of the store {store} breaks a constraint: {original}")
    if isinstance(original, sqlite3.Error):
        return _translate_sqlite(original, store, waited_ms)
    return _translate_postgresql(original, store, waited_ms)


def may_be_repeated(error: DBAPIError | sqlite3.Error) -> bool:
    """Return whether a unit of work failed only because of another one at the same time.

    Work checks what it needs before it writes: a constraint that breaks all the same was met by
    somebody else's change in between.
    """
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.IntegrityError)
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(error, IntegrityError) or state in _CONTENDED_STATES


def _translate_sqlite(error: sqlite3.Error, store: str, waited_ms: int) -> StoreError:
    reason = str(error)
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code in _LOCKED:
        return StoreBusyError(store=store, waited_ms=waited_ms)
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(store=store, reason=reason)
    if code in _READ_ONLY:
        return StoreReadOnlyError(store=store, reason=reason)
    if code == sqlite3.SQLITE_NOTADB:
        return StoreForeignError(store=store, found="the file is no database")
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreCorruptError(store=store, problem=reason)
    return StoreUnavailableError(store=store, reason=reason)


def _translate_postgresql(error: BaseException | None, store: str, waited_ms: int) -> StoreError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    state = getattr(error, "sqlstate", None) or ""
    if state in _CONTENDED_STATES or state == _LOCK_TIMEOUT_STATE:
        return StoreBusyError(store=store, waited_ms=waited_ms)
    if state in {"53100", "54000"}:  # disk full, over a limit of the program
        return StoreFullError(store=store, reason=reason)
    if state in {"25006", "42501"}:  # read-only transaction, no privilege
        return StoreReadOnlyError(store=store, reason=reason)
    if state[:_STATE_CLASS_LENGTH] == "XX":  # damaged data or index
        return StoreCorruptError(store=store, problem=reason)
    return StoreUnavailableError(store=store, reason=reason)
