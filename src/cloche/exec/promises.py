"""Promises from outside: what a program waits for gets its value from the host."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from cloche.exec.stores import store_at

if TYPE_CHECKING:
    from cloche.store.ports import Store


def complete_promise(promise_id: str, value: Any, *, store: Store | None = None) -> bool:
    """Give a promise its value, from outside; a run that waits for it can then be resumed.

    Args:
        promise_id: from the guest.
        value: plain JSON.
        store: where the session is kept.

    Returns:
        False if it has a value already, which stays.

    Raises:
        StoreUnknownError: there is no such promise.
    """
    kept = store or store_at(None)
    return kept.promises.complete(promise_id, json.dumps(value).encode(), now_ns=time.time_ns())
