"""The keys of a store: made, listed, shown, rotated, revoked.

Owns what of a key is kept, as documents of the store. Invariants:
- the text of a key leaves this module once, from `make` or `rotate`;
- a revoked key is kept, so that its name stays taken and its end can be shown;
- a key that was revoked is refused at once by who revoked it, and `REMEMBERED_NS` later by every
  other process: whoever revokes beside a server waits so long before saying that it is done.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.server.errors import InvalidFieldError, QuotaError, StateError, UnknownObjectError
from cloche.server.keys import EXPIRES_NS_MAX, RANDOM_BYTES, Key, id_in, is_proof, make
from cloche.store.errors import StoreChangedError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.limits import Limits
    from cloche.server.keys import Scope
    from cloche.server.pages import PageRequest
    from cloche.store.ports import Store

KIND: Final = "server.keys"
NS_PER_MS: Final = 1_000_000
_PAGE: Final = 1000
# At a thousand requests a second it saves all but twenty looks at the store.
REMEMBERED_NS: Final = 50_000_000
_REMEMBERED_COUNT: Final = 10_000


class Keyring:
    """All keys of one store.

    Args:
        store: where they are kept.
        limits: group `server`.
        now_ns: the wall clock.
        random_bytes: what nobody can guess.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        now_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._documents = store.documents
        self._limits = limits.server
        self._now_ns = now_ns
        self._random_bytes = random_bytes
        self._remembered: dict[bytes, tuple[Key, int]] = {}
        self._change_count = 0
        self._remembering = threading.Lock()

    def make(
        self,
        *,
        tenant: str,
        scopes: tuple[Scope, ...],
        name: str = "",
        expires_ns: int | None = None,
        apps: tuple[str, ...] = (),
    ) -> tuple[Key, str]:
        """Make a key; return it and its text, which is not kept.

        Raises:
            InvalidFieldError: see `keys.make`.
            QuotaError: the tenant has as many keys as it may.
        """
        now_ns = self._now_ns()
        key, text = make(
            self._random_bytes(RANDOM_BYTES),
            tenant=tenant,
            name=name,
            scopes=scopes,
            now_ns=now_ns,
            expires_ns=expires_ns,
            apps=apps,
        )
        count = sum(1 for found in self._all() if found.tenant == tenant and found.is_good(now_ns))
        if count >= self._limits.key_count_max:
            raise QuotaError(what="keys", limit="server.key_count_max", count=count)
        self._documents.put(Document(kind=KIND, name=key.id, data=_encode(key)))
        return key, text

    def remembered(self, text: str) -> Key | None:
        """Return the key that a text was a moment ago, None when that is to be looked up.

        It reads nothing. A key that another process revokes is taken for `REMEMBERED_NS` more,
        counted from when it was looked up.
        """
        found = self._remembered.get(_digest(text))
        if found is None:
            return None
        key, since_ns = found
        now_ns = self._now_ns()
        is_fresh = 0 <= now_ns - since_ns < REMEMBERED_NS
        return key if is_fresh and key.is_good(now_ns) else None

    def owner_of(self, text: str) -> Key | None:
        """Return the key that a text is, None when it is none that is good now.

        When it was last used is kept, to `server.key_used_interval_ms`.
        """
        since_ns, change_count = self._now_ns(), self._change_count
        key = self._owner_of(text)
        with self._remembering:
            # One that was revoked since it was read is not remembered as it was.
            if key is not None and change_count == self._change_count:
                if len(self._remembered) >= _REMEMBERED_COUNT:
                    self._remembered.clear()
                self._remembered[_digest(text)] = key, since_ns
        return key

    def _owner_of(self, text: str) -> Key | None:
        identity = id_in(text)
        kept = None if identity is None else self._documents.get(KIND, identity)
        key = None if kept is None else _decode(kept)
        now_ns = self._now_ns()
        if not is_proof(key, text, now_ns):
            return None
        assert kept is not None
        assert key is not None
        if now_ns - (key.used_ns or 0) >= self._limits.key_used_interval_ms * NS_PER_MS:
            key = replace(key, used_ns=now_ns)
            self._replace_if_unchanged(kept, key)
        return key

    def get(self, key_id: str) -> Key:
        """Return the key of an id, whose it may be. Raises: UnknownObjectError: there is none."""
        return self._get(None, key_id)[1]

    def good(self, key_id: str) -> Key | None:
        """Return the key of an id, None when there is none that is good now."""
        try:
            key = self._get(None, key_id)[1]
        except UnknownObjectError:
            return None
        return key if key.is_good(self._now_ns()) else None

    def _replace_if_unchanged(self, kept: Document, key: Key) -> bool:
        try:
            self._documents.put(replace(kept, data=_encode(key), revision=kept.revision + 1))
        except StoreChangedError:
            return False
        return True

    def page(self, tenant: str, wanted: PageRequest) -> list[Key]:
        """Return the keys of a tenant by id, one more than wanted where there are more."""
        found: list[Key] = []
        for key in self._all(after=wanted.after):
            if key.tenant == tenant:
                found.append(key)
                if len(found) > wanted.limit:
                    break
        return found

    def of(self, tenant: str) -> list[Key]:
        """Return all keys of a tenant by id."""
        return [key for key in self._all() if key.tenant == tenant]

    def has_any(self) -> bool:
        """Whether there ever was a key."""
        return bool(self._documents.list(KIND, limit=1))

    def tenants(self) -> list[str]:
        """Return who has a key, or had one, sorted."""
        return sorted({key.tenant for key in self._all()})

    def _all(self, *, after: str = "") -> Iterator[Key]:
        while page := self._documents.list(KIND, after=after, limit=_PAGE):
            yield from map(_decode, page)
            after = page[-1].name

    def revoke(self, tenant: str | None, key_id: str) -> Key:
        """End a key now; one that ended stays as it is.

        Args:
            tenant: whose key it must be; None for anybody's.
            key_id: which.

        Raises:
            UnknownObjectError: there is none.
        """
        return self._end(tenant, key_id, self._now_ns())

    def rotate(self, tenant: str, key_id: str, *, overlap_ms: int) -> tuple[Key, str]:
        """Make a key that may do the same; the old one ends after the overlap.

        Raises:
            UnknownObjectError: there is none. StateError: it ended already.
            QuotaError: see `make`. InvalidFieldError: the overlap is negative, or too long.
        """
        _, old = self._get(tenant, key_id)
        now_ns = self._now_ns()
        end_ns = now_ns + overlap_ms * NS_PER_MS
        if not now_ns <= end_ns <= EXPIRES_NS_MAX:
            problem = "it is 0 or more, and ends before the year 10000"
            raise InvalidFieldError(field="overlap_ms", problem=problem)
        if not old.is_good(now_ns):
            raise StateError(
                kind="key", id=key_id, state="revoked or expired", problem="make a new one"
            )
        made = self.make(
            tenant=old.tenant,
            scopes=old.scopes,
            name=old.name,
            expires_ns=old.expires_ns,
            apps=old.apps,
        )
        self._end(tenant, key_id, end_ns)
        return made

    def _end(self, tenant: str | None, key_id: str, end_ns: int) -> Key:
        while True:
            kept, key = self._get(tenant, key_id)
            if key.revoked_ns is not None and key.revoked_ns <= end_ns:
                return key
            key = replace(key, revoked_ns=end_ns)
            if self._replace_if_unchanged(kept, key):
                with self._remembering:
                    self._change_count += 1
                    self._remembered.clear()
                return key

    def _get(self, tenant: str | None, key_id: str) -> tuple[Document, Key]:
        is_possible = key_id.isalnum() and key_id.isascii()
        kept = self._documents.get(KIND, key_id) if is_possible else None
        key = None if kept is None else _decode(kept)
        if kept is None or key is None or tenant not in (None, key.tenant):
            raise UnknownObjectError(kind="key", id=key_id)
        return kept, key


def _digest(text: str) -> bytes:
    """Return what stands for the text of a key, which is not held."""
    return hashlib.sha256(text.encode()).digest()


def _encode(key: Key) -> bytes:
    return msgspec.json.encode(key)


def _decode(document: Document) -> Key:
    return msgspec.json.decode(document.data, type=Key)
