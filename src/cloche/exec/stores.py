"""Which store a process uses: one for each URL, opened once."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cloche.store.ports import Store

VARIABLE: Final = "CLOCHE_STORE"

_lock = threading.Lock()
_stores: dict[str, Store] = {}


def store_at(url: str | None) -> Store:
    """Return the store at a URL or path, else the one that `CLOCHE_STORE` names, else the user's.

    Raises:
        StoreError: it cannot be opened.
    """
    from cloche.store.open import open_store  # noqa: PLC0415 - slow to import

    wanted = url or os.environ.get(VARIABLE) or ""
    with _lock:
        found = _stores.get(wanted)
        if found is None:
            found = _stores[wanted] = open_store(wanted or None)
        return found


def own_place() -> str:
    """Return where the user's own store is, whether it is there or not."""
    from cloche.store.open import default_path  # noqa: PLC0415 - slow to import

    return str(default_path())
