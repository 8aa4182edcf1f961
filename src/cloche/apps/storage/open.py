"""The storage of apps in a store, whatever kind of store it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.store.adapters.memory import MemoryStore

if TYPE_CHECKING:
    from cloche.apps.storage.ports import AppTables
    from cloche.store.ports import Store


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
