"""How fast calls to one domain may come: token buckets.

Invariants:
- time is an argument and never runs backwards for a bucket;
- rate and burst are asked for with each call, so a change is seen at once;
- memory is bounded: the bucket that was not used for longest is forgotten, and a forgotten bucket
  is a full one only when it would be full again by then or when the bound forces it.

Source: the token bucket of RFC 2697 section 3, one bucket, one token a call. A bucket holds
`max(burst, 1)` tokens and gains `per_minute / 60` a second.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from cloche.egress.errors import NetRateError

NS_PER_MINUTE: Final = 60 * 10**9
_NS_PER_MS: Final = 10**6


class _Bucket:
    __slots__ = ("at_ns", "tokens")

    def __init__(self, tokens: float, at_ns: int) -> None:
        self.tokens = tokens
        self.at_ns = at_ns


class Buckets:
    """The buckets of a process, by scope and domain."""

    __slots__ = ("_buckets", "_count_max")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, scope: str, domain: str, now_ns: int, *, per_minute: int, burst: int) -> None:
        """Take a token, or refuse. `per_minute` of 0 is no limit at all.

        Raises:
            NetRateError: there is none; `retry_after_ms` says when there is one again.
        """
        if per_minute <= 0:
            return
        capacity = max(burst, 1)
        key = (scope, domain)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(capacity, now_ns)
            if len(self._buckets) > self._count_max:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            gained = max(0, now_ns - bucket.at_ns) * per_minute / NS_PER_MINUTE
            bucket.tokens = min(capacity, bucket.tokens + gained)
            bucket.at_ns = max(bucket.at_ns, now_ns)
        if bucket.tokens < 1:
            missing_ns = (1 - bucket.tokens) * NS_PER_MINUTE / per_minute
            raise NetRateError(
                f"rate limit exceeded for {domain}: {per_minute} calls a minute, {capacity} at "
                "once",
                reason="rate",
                retryable=True,
                retry_after_ms=int(-(-missing_ns // _NS_PER_MS)),
                host=domain,
            )
        bucket.tokens -= 1
