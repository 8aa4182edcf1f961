"""How much a tenant has stored: the contents of its sessions, as they are kept.

Counted is each content that a session of the tenant names, by its compressed size: states,
snapshots, uploads. What two sessions share counts for both. Invariants:
- a session that has not changed since is not counted again;
- a tenant is counted at most once in `INTERVAL_NS`, unless it seems to have too much, and not at
  all where nothing limits it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cloche.server.errors import QuotaError
from cloche.server.pages import PageRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.server.owners import Owners
    from cloche.server.tenants import Tenants
    from cloche.store.ports import Store
    from cloche.store.rows import Session

INTERVAL_NS: Final = 60_000_000_000
_PAGE: Final = 1000


class Stored:
    """Counts what tenants have stored. Usable from any thread."""

    def __init__(
        self, store: Store, owners: Owners, tenants: Tenants, *, now_ns: Callable[[], int]
    ) -> None:
        self._store = store
        self._owners = owners
        self._tenants = tenants
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._sizes: dict[str, dict[str, tuple[int, int]]] = {}  # revision and size by session
        self._sums: dict[str, tuple[int, int]] = {}  # when and how much, by tenant

    def check_room(self, tenant: str) -> None:
        """Raise when a tenant may store no more.

        Raises:
            QuotaError: it has as much as it may.
        """
        most = self._tenants.limits(tenant).tenant_stored_limit_bytes
        if not most:
            return
        counted_ns, size = self._sums.get(tenant, (None, 0))
        now_ns = self._now_ns()
        if counted_ns is None or now_ns - counted_ns >= INTERVAL_NS or size >= most:
            size = self.count(tenant)
        if size >= most:
            limit = "server.tenant_stored_limit_bytes"
            raise QuotaError(what="bytes stored", limit=limit, count=size)

    def count(self, tenant: str) -> int:
        """Return how many bytes a tenant has stored."""
        now_ns = self._now_ns()
        with self._lock:
            before = self._sizes.get(tenant, {})
        found: dict[str, tuple[int, int]] = {}
        wanted = PageRequest(limit=_PAGE)
        while True:
            page = self._owners.sessions(tenant, wanted)
            for row, _ in page[:_PAGE]:
                known = before.get(row.id)
                is_known = known is not None and known[0] == row.revision
                found[row.id] = known if is_known and known else (row.revision, self._size(row))
            if len(page) <= _PAGE:
                break
            wanted = PageRequest(limit=_PAGE, after=page[_PAGE - 1][0].id)
        size = sum(size for _, size in found.values())
        with self._lock:
            self._sizes[tenant] = found
            self._sums[tenant] = (now_ns, size)
        return size

    def _size(self, row: Session) -> int:
        blobs = {snapshot.blob for snapshot in self._store.sessions.snapshots(row.id)}
        after = 0
        while steps := self._store.sessions.steps(row.id, after=after, limit=_PAGE):
            blobs |= {step.blob for step in steps if step.blob is not None}
            after = steps[-1].ordinal
        blobs |= {blob for blob in (row.head.snapshot, row.head.files) if blob is not None}
        infos = (self._store.blobs.info(blob) for blob in sorted(blobs))
        return sum(info.stored_bytes for info in infos if info is not None)
