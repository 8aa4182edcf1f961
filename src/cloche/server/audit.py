"""Who changed what: one record for each change that an admin key, or an operator, makes.

Owns the records, as documents of the store. Invariants:
- a record is kept before its change is made, and taken back when the change is refused: a server
  that dies in between leaves a record too many, never one too few;
- a record holds no secret;
- of each tenant the newest `server.audit_count_max` are kept, never more than
  `storage.max_log_rows`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.server.documents_admin import AuditDocument
from cloche.server.errors import UnknownObjectError
from cloche.store.rows import TIME_NS_MAX, Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloche.limits import Limits
    from cloche.server.keys import Key
    from cloche.server.pages import PageRequest
    from cloche.store.ports import Store

_KIND: Final = "server.audit."
_TIME_DIGITS: Final = 19
_ID_BYTES: Final = 4
_PAGE: Final = 1000
NS_PER_MS: Final = 1_000_000


class Audit:
    """The records of all tenants in one store.

    Args:
        store: where they are kept.
        limits: groups `server` and `storage`.
        now_ns: the wall clock.
        random_bytes: tells two records of one moment apart.
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
        self._count_max = min(limits.server.audit_count_max, limits.storage.max_log_rows)
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    @contextmanager
    def noted(
        self,
        tenant: str,
        key: Key | None,
        action: str,
        target: str,
        details: Mapping[str, object] | None = None,
    ) -> Iterator[None]:
        """Keep a record of the change that is made inside, unless that raises.

        Args:
            tenant: whose things are changed.
            key: who changes them; None for whoever has the store itself.
            action: such as `secret.put`.
            target: what is changed.
            details: more about it, without secrets.
        """
        now_ns = self._now_ns()
        # The newest sorts first.
        name = f"{TIME_NS_MAX - now_ns:0{_TIME_DIGITS}d}.{self._random_bytes(_ID_BYTES).hex()}"
        record = AuditDocument(
            id=name,
            at_ms=now_ns // NS_PER_MS,
            key_id="" if key is None else key.id,
            key_name="" if key is None else key.name,
            action=action,
            target=target,
            details=dict(details or {}),
        )
        data = msgspec.json.encode(record)
        self._documents.put(Document(kind=_KIND + tenant, name=name, data=data))
        try:
            yield
        except BaseException:
            self._documents.remove(_KIND + tenant, name)
            raise

    def page(self, tenant: str, wanted: PageRequest) -> list[AuditDocument]:
        """Return records, newest first, one more than wanted where there are more.

        Raises:
            UnknownObjectError: the page begins behind a record that is not there.
        """
        kind = _KIND + tenant
        if wanted.after and not (
            wanted.after.isascii()
            and wanted.after.isprintable()
            and self._documents.get(kind, wanted.after)
        ):
            raise UnknownObjectError(kind="record", id=wanted.after)
        found = self._documents.list(kind, after=wanted.after, limit=wanted.limit + 1)
        return [msgspec.json.decode(one.data, type=AuditDocument) for one in found]

    def sweep(self, tenant: str) -> int:
        """Remove what is older than the newest that are kept; return how many."""
        kind, after, seen, count = _KIND + tenant, "", 0, 0
        while page := self._documents.list(kind, after=after, limit=_PAGE):
            after = page[-1].name
            for one in page[max(0, self._count_max - seen) :]:
                count += self._documents.remove(kind, one.name)
            seen += len(page)
        return count
