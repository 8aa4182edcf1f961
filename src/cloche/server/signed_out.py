"""Which sign-ins of the console have ended before their time.

A cookie is signed and holds everything, so that ending a sign-in needs something that is kept: its
id, as a document of the store, until the cookie would have ended by itself. Invariant: nothing is
kept longer than that, but for the time until the next `sweep`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from cloche.store.errors import StoreChangedError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.store.ports import Store

_KIND: Final = "server.signed-out"
_PAGE: Final = 1000


class SignedOut:
    """The sign-ins of one store that have ended. All calls block.

    Args:
        store: where they are kept.
        now_ns: the wall clock.
    """

    def __init__(self, store: Store, *, now_ns: Callable[[], int]) -> None:
        self._documents = store.documents
        self._now_ns = now_ns

    def end(self, sign_in: str, *, until_ns: int) -> None:
        """End a sign-in, whose cookie ends by itself at a time. A second time changes nothing."""
        document = Document(kind=_KIND, name=sign_in, data=msgspec.json.encode(until_ns))
        try:
            self._documents.put(document)
        except StoreChangedError:
            return

    def has(self, sign_in: str) -> bool:
        """Whether a sign-in has ended."""
        return self._documents.get(_KIND, sign_in) is not None

    def sweep(self) -> int:
        """Forget those whose cookies have ended; return how many."""
        now_ns, after, count = self._now_ns(), "", 0
        while page := self._documents.list(_KIND, after=after, limit=_PAGE):
            after = page[-1].name
            for one in page:
                if msgspec.json.decode(one.data, type=int) <= now_ns:
                    count += self._documents.remove(_KIND, one.name)
        return count
