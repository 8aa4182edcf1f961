"""How often tenants may begin something: one bucket of tokens for each. Pure: time is an argument.

A bucket is full at first and holds as many tokens as may be taken at once; `per_minute` more come
in a minute. Invariants:
- in any time t at most `burst + per_minute * t` are taken;
- what was refused takes nothing;
- a bucket that is full again is forgotten, so there are no more than tenants that ask.
"""

from __future__ import annotations

from typing import Final

NS_PER_MINUTE: Final = 60_000_000_000
_SWEEP_EVERY: Final = 1024


class Rates:
    """The buckets of all tenants. For one thread at a time."""

    def __init__(self) -> None:
        # When each bucket is full again: all that has to be known of it.
        self._full_ns: dict[str, int] = {}
        self._count = 0

    def take(self, tenant: str, now_ns: int, *, per_minute: int, burst: int) -> int:
        """Take a token; return 0, or after how many nanoseconds there is one.

        Args:
            tenant: whose bucket.
            now_ns: now.
            per_minute: how many come in a minute; 0 for as many as are asked for.
            burst: how many it holds, 1 or more.
        """
        if not per_minute:
            self._full_ns.pop(tenant, None)
            return 0
        self._sweep(now_ns)
        token_ns = NS_PER_MINUTE // per_minute
        full_ns = max(self._full_ns.get(tenant, now_ns), now_ns) + token_ns
        late_ns = full_ns - now_ns - max(1, burst) * token_ns
        if late_ns > 0:
            return late_ns
        self._full_ns[tenant] = full_ns
        return 0

    def _sweep(self, now_ns: int) -> None:
        self._count += 1
        if self._count % _SWEEP_EVERY == 0:
            self._full_ns = {name: at for name, at in self._full_ns.items() if at > now_ns}

    def __len__(self) -> int:
        return len(self._full_ns)
