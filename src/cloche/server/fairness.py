"""Whose run is next: a queue that is fair between tenants.

Pure: no lock, no clock; whoever shares one between threads locks it. Invariants:
- tenants take turns: between two runs of one tenant every other tenant that has a run which can
  start gets one;
- runs of one tenant start in the order of their coming, but for those whose session is busy;
- of one session at most one run is started at a time;
- nothing here grows without a bound: `push` says no, but to what was accepted before a restart.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")
Refusal = Literal["tenant", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Generic[Item]):
    """Something that waits. `session` is None for a run of its own."""

    tenant: str
    session: str | None
    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may wait, and run: of all tenants, and of one."""

    waiting_max: int
    tenant_waiting_max: int
    tenant_running_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantBounds:
    """How much of one tenant may wait, and run."""

    waiting_max: int
    running_max: int


class FairQueue(Generic[Item]):
    """Waiting entries by tenant, and how many of each are running.

    `bounds_of` returns the bounds of a tenant; until it is set, all have the same.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds: Final = bounds
        own = TenantBounds(
            waiting_max=bounds.tenant_waiting_max, running_max=bounds.tenant_running_max
        )
        self.bounds_of: Callable[[str], TenantBounds] = lambda _: own
        # In the order of turns: the tenant in front has waited longest for its turn.
        self._waiting: OrderedDict[str, deque[Entry[Item]]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._busy: set[str] = set()
        self.waiting_count = 0
        self.running_count = 0  # entries that were given out and are not finished

    def room_for(self, tenant: str) -> Refusal | None:
        """Return which bound one more entry would pass, None when it may wait."""
        if self.waiting_count >= self._bounds.waiting_max:
            return "all"
        if len(self._waiting.get(tenant, ())) >= self.bounds_of(tenant).waiting_max:
            return "tenant"
        return None

    def push(self, entry: Entry[Item], *, forced: bool = False) -> Refusal | None:
        """Let an entry wait; return which bound is reached when it may not. `forced` may."""
        refusal = None if forced else self.room_for(entry.tenant)
        if refusal is None:
            self._waiting.setdefault(entry.tenant, deque()).append(entry)
            self.waiting_count += 1
        return refusal

    def pop(self) -> Entry[Item] | None:
        """Give out the entry whose turn it is; None when none can start. Ends with `finish`."""
        for tenant, entries in self._waiting.items():
            if self._running[tenant] >= self.bounds_of(tenant).running_max:
                continue
            entry = next((found for found in entries if found.session not in self._busy), None)
            if entry is not None:
                self._take(entry)
                self._running[tenant] += 1
                self.running_count += 1
                if entry.session is not None:
                    self._busy.add(entry.session)
                return entry
        return None

    def _take(self, entry: Entry[Item]) -> None:
        entries = self._waiting.pop(entry.tenant)
        entries.remove(entry)
        if entries:
            self._waiting[entry.tenant] = entries  # at the end: the others come first
        self.waiting_count -= 1

    def finish(self, entry: Entry[Item]) -> None:
        """Say that an entry that was given out is over."""
        self.running_count -= 1
        self._running[entry.tenant] -= 1
        if not self._running[entry.tenant]:
            del self._running[entry.tenant]
        self._busy.discard(entry.session or "")

    def remove(self, item: Item) -> bool:
        """Take a waiting item out; False when it does not wait any more."""
        for entries in self._waiting.values():
            for entry in entries:
                if entry.item is item:
                    entries.remove(entry)
                    self.waiting_count -= 1
                    if not entries:
                        del self._waiting[entry.tenant]
                    return True
        return False
