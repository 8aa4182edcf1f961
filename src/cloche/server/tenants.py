"""What each tenant may have and do: the server's limits, and what one tenant has instead.

Owns the settings of tenants, as documents of the store, and the rate of their runs. Invariants:
- a setting is a limit of the group `server` by its name, within the range of that limit;
- what holds is in memory: `refresh` reads what another process changed, and is called every second
  or so, so that deciding about a run costs no look into the store;
- a tenant without settings has the server's.
"""

from __future__ import annotations

import difflib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.limits import LimitError
from cloche.server.errors import InvalidFieldError, RateLimitedError, seconds
from cloche.server.fairness import TenantBounds
from cloche.server.keys import check_tenant
from cloche.server.rates import Rates
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.limits import Limits
    from cloche.limits.server_groups import ServerLimits
    from cloche.store.ports import Store

KIND: Final = "server.tenants"
_PAGE: Final = 1000
NS_PER_MS: Final = 1_000_000

# Limits that a tenant may have values of its own for.
TENANT_LIMITS: Final = (
    "tenant_run_rate_limit",
    "tenant_run_burst_max",
    "tenant_worker_count_max",
    "tenant_queue_length_max",
    "session_count_max",
    "tenant_stored_limit_bytes",
    "tenant_entry_count_max",
    "tenant_secret_count_max",
    "tenant_mcp_session_count_max",
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a tenant: the limits of its own."""

    limits: dict[str, int] = {}


class Tenants:
    """The settings of all tenants in one store. Usable from any thread.

    Args:
        store: where they are kept.
        limits: of the server, for who has none of its own.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self._documents = store.documents
        self._limits = limits
        self._lock = threading.Lock()
        self._rates = Rates()
        self._own: dict[str, ServerLimits] = {}
        # Asked for several times in each run.
        self._bounds: dict[str, TenantBounds] = {}
        self._common_bounds = _bounds_of(limits.server)
        self.refresh()

    # --- what holds ---

    def limits(self, tenant: str) -> ServerLimits:
        """Return the limits of a tenant."""
        return self._own.get(tenant, self._limits.server)

    def bounds(self, tenant: str) -> TenantBounds:
        """Return how many runs of a tenant may wait, and run."""
        return self._bounds.get(tenant, self._common_bounds)

    def take_run(self, tenant: str, now_ns: int) -> None:
        """Count a run that is about to begin.

        Raises:
            RateLimitedError: the tenant began too many lately; this one was not counted.
        """
        limits = self.limits(tenant)
        with self._lock:
            late_ns = self._rates.take(
                tenant,
                now_ns,
                per_minute=limits.tenant_run_rate_limit,
                burst=limits.tenant_run_burst_max,
            )
        if late_ns:
            raise RateLimitedError(
                per_minute=limits.tenant_run_rate_limit,
                retry_after_s=seconds(-(-late_ns // NS_PER_MS)),
            )

    def refresh(self) -> None:
        """Read the settings of all tenants again."""
        found: dict[str, ServerLimits] = {}
        for tenant, settings in self._all():
            try:
                found[tenant] = self._limits.replace({"server": settings.limits}).server
            except LimitError:
                continue  # of a version whose ranges are others: the server's hold
        self._own = found
        self._bounds = {tenant: _bounds_of(limits) for tenant, limits in found.items()}

    def _all(self) -> list[tuple[str, Settings]]:
        found: list[tuple[str, Settings]] = []
        after = ""
        while page := self._documents.list(KIND, after=after, limit=_PAGE):
            after = page[-1].name
            found += [(one.name, msgspec.json.decode(one.data, type=Settings)) for one in page]
        return found

    # --- settings ---

    def names(self) -> list[str]:
        """Return the tenants that have settings, sorted."""
        return [name for name, _ in self._all()]

    def settings(self, tenant: str) -> Settings | None:
        """Return the settings of a tenant, None where it has none."""
        kept = self._documents.get(KIND, tenant)
        return None if kept is None else msgspec.json.decode(kept.data, type=Settings)

    def put(self, tenant: str, limits: Mapping[str, int]) -> None:
        """Give a tenant settings, instead of those before.

        Raises:
            InvalidFieldError: it is no name, or these are no limits that a tenant has.
            LimitError: a value is outside of its range.
            StoreChangedError: somebody else changed them at the same moment.
        """
        check_tenant(tenant)
        for name in limits:
            check_limit(name)
        self._limits.replace({"server": dict(limits)})
        data = msgspec.json.encode(Settings(limits=dict(sorted(limits.items()))))
        kept = self._documents.get(KIND, tenant)
        document = Document(kind=KIND, name=tenant, data=data)
        if kept is not None:
            document = replace(kept, data=data, revision=kept.revision + 1)
        self._documents.put(document)
        self.refresh()


def check_limit(name: str) -> None:
    """Raise unless a tenant may have a limit of this name. Raises: InvalidFieldError."""
    if name not in TENANT_LIMITS:
        raise InvalidFieldError(field=f"limits.{name}", problem=_unknown(name))


def _bounds_of(limits: ServerLimits) -> TenantBounds:
    return TenantBounds(
        waiting_max=limits.tenant_queue_length_max, running_max=limits.tenant_worker_count_max
    )


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name[:100], TENANT_LIMITS, 1)
    known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(TENANT_LIMITS)}"
    return f"is no limit that a tenant has; {known}"
