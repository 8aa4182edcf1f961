"""How much passes: token buckets against too many requests, a breaker for what is broken.

Invariants: time is an argument, so both are the same in a fixture; the number of buckets is
bounded, and the one that was used longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cloche.web.errors import SettingError, TooManyRequestsError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request
    from cloche.web.response import Response

_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_SERVER_ERROR: Final = 500


class TokenBuckets:
    """A bucket for each key: `capacity` tokens, one more every `interval_ms`, never more.

    Raises:
        SettingError: on construction; a number below 1.
    """

    def __init__(self, *, capacity: int, interval_ms: int, key_count_max: int = 10_000) -> None:
        if min(capacity, interval_ms, key_count_max) < 1:
            raise SettingError(setting="token bucket", problem="a number is below 1")
        self._capacity_ns = capacity * interval_ms * _NS_PER_MS
        self._interval_ns = interval_ms * _NS_PER_MS
        self._key_count_max = key_count_max
        # When each bucket will be full again; a bucket that is not there is full.
        self._full_ns: OrderedDict[str, int] = OrderedDict()

    def take(self, key: str, now_ns: int) -> int:
        """Take a token; return 0, or how many nanoseconds to wait where there is none."""
        full_ns = max(self._full_ns.get(key, now_ns), now_ns) + self._interval_ns
        wait_ns = full_ns - now_ns - self._capacity_ns
        if wait_ns > 0:
            return wait_ns
        self._full_ns[key] = full_ns
        self._full_ns.move_to_end(key)
        if len(self._full_ns) > self._key_count_max:
            self._full_ns.popitem(last=False)
        return 0


def rate_limit(
    *,
    capacity: int,
    interval_ms: int,
    key: Callable[[Request], str] | None = None,
    key_count_max: int = 10_000,
) -> Middleware:
    """Answer 429 to who asks more often: `capacity` at once, then one every `interval_ms`.

    Without `key` each client address has its bucket.
    """
    buckets = TokenBuckets(capacity=capacity, interval_ms=interval_ms, key_count_max=key_count_max)

    async def middleware(request: Request, following: Next) -> Response:
        name = request.client if key is None else key(request)
        wait_ns = buckets.take(name, request.services.monotonic_ns())
        if wait_ns:
            raise TooManyRequestsError(retry_after_s=_seconds(wait_ns))
        return await following(request)

    return middleware


class Breaker:
    """Closed until so many failures in a row, then open for a time, then one request tries.

    Raises:
        SettingError: on construction; a number below 1.
    """

    def __init__(self, *, failure_count: int, open_ms: int) -> None:
        if min(failure_count, open_ms) < 1:
            raise SettingError(setting="breaker", problem="a number is below 1")
        self._failure_count = failure_count
        self._open_ns = open_ms * _NS_PER_MS
        self._failed = 0  # in a row
        self._retry_ns = 0  # when an open breaker lets one try
        self._is_trying = False

    def enter(self, now_ns: int) -> int:
        """Ask to pass; return 0, or how many nanoseconds to wait. Every pass has one `leave`."""
        if self._failed < self._failure_count:
            return 0
        if self._is_trying:
            return self._open_ns
        if now_ns < self._retry_ns:
            return self._retry_ns - now_ns
        self._is_trying = True
        return 0

    def leave(self, now_ns: int, *, failed: bool) -> None:
        """Say how it went."""
        self._is_trying = False
        if not failed:
            self._failed = 0
            return
        self._failed += 1
        if self._failed >= self._failure_count:
            self._retry_ns = now_ns + self._open_ns


def circuit_breaker(*, failure_count: int = 5, open_ms: int = 10_000) -> Middleware:
    """Answer 503 at once while what is inside fails again and again (a status of 500 or more)."""
    breaker = Breaker(failure_count=failure_count, open_ms=open_ms)

    async def middleware(request: Request, following: Next) -> Response:
        wait_ns = breaker.enter(request.services.monotonic_ns())
        if wait_ns:
            problem = "what answers here failed repeatedly"
            raise UnavailableError(problem=problem, retry_after_s=_seconds(wait_ns))
        failed = True
        try:
            response = await following(request)
            failed = response.status >= _SERVER_ERROR
        finally:
            breaker.leave(request.services.monotonic_ns(), failed=failed)
        return response

    return middleware


def _seconds(duration_ns: int) -> int:
    return max(1, -(-duration_ns // _NS_PER_S))
