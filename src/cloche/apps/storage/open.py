"""The storage of apps in a store, whatever kind of store it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.apps.storage.adapters.sql_files import SqlFiles
from cloche.apps.storage.adapters.streams import ProcessBlobStreams
from cloche.apps.storage.storage import Storage
from cloche.limits import Limits
from cloche.store.adapters.memory import MemoryStore
from cloche.store.open import default_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.apps.storage.ports import AppTables
    from cloche.store.ports import Store

_POSTGRESQL: Final = "postgresql"


def open_storage(
    store: Store,
    *,
    folder: Path | None = None,
    limits: Limits | None = None,
    now_ns: Callable[[], int] = time.time_ns,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
) -> Storage:
    """Return the storage of apps; it lasts as long as the store is open.

    Args:
        store: an open store.
        folder: where the SQL databases of apps are, one file each. Else `apps` beside the file of
            the store, or beside this user's store where the store is no file. Processes that serve
            the same apps need the same folder.
        limits: the groups `apps` and `gate`.
        now_ns: the wall clock.
        monotonic_ns: the clock that runs end by.

    Raises:
        TypeError: it is none of the stores of cloche.
    """
    limits = limits or Limits()
    tables = open_app_tables(store)
    databases = SqlFiles(folder or _folder_beside(store.url), limits)
    streams = ProcessBlobStreams(tables.read_content, limits)
    return Storage(tables, databases, streams, limits, now_ns=now_ns, monotonic_ns=monotonic_ns)


def _folder_beside(url: str) -> Path:
    is_file = url != "memory:" and not url.startswith(_POSTGRESQL)
    return (Path(url) if is_file else default_path()).parent / "apps"


def open_app_tables(store: Store) -> AppTables:
    """Return the tables of apps in a store; they last as long as it is open.

    Raises:
        TypeError: it is none of the stores of cloche.
    """
    if isinstance(store, MemoryStore):
        from cloche.apps.storage.adapters.memory import MemoryAppTables  # noqa: PLC0415

        return MemoryAppTables(store)
    # Imported where it is needed: SQLAlchemy takes a tenth of a second.
    from cloche.apps.storage.adapters.tables import SqlAppTables  # noqa: PLC0415
    from cloche.store.adapters.sql.store import SqlStore  # noqa: PLC0415

    if not isinstance(store, SqlStore):
        raise TypeError(f"apps cannot keep anything in a {type(store).__name__}")
    return SqlAppTables(store)
