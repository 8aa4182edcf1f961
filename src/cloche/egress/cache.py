"""Keeps responses, as a private cache may.

Owns what is stored, for how long it is fresh, and how a stale one is asked about.
Invariants:
- off unless `net.cache_max_items`, `net.cache_max_bytes` and the entry's `cache_ttl_s` are above 0;
- a response is seen only by the scope that fetched it;
- nothing with a secret, Authorization, Cookie, Set-Cookie or a body of the request is stored;
- items and bytes are bounded; what was not used for longest goes first, and what is larger than
  the whole cache changes nothing;
- time is an argument, milliseconds of one monotonic clock.

One variant of each URL is kept: where Vary names fields, another request's values replace it.

| rule | source (RFC 9111) |
|---|---|
| what may be stored | 3, 3.5 |
| Vary | 4.1 |
| freshness: max-age, then Expires minus Date, then the entry's own | 4.2.1, 5.3 |
| age: Age and the time in here | 4.2.3 |
| validators and 304 | 4.3.1, 4.3.4 |
| an unsafe method invalidates | 4.4 |
| no-store, no-cache, max-age of request and response | 5.2.1, 5.2.2 |
"""

from __future__ import annotations

from collections import OrderedDict
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.egress.headers import Headers, get_header

if TYPE_CHECKING:
    from cloche.limits import Limits

METHODS: Final = frozenset({"GET", "HEAD"})
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
STATUSES: Final = frozenset({200, 203, 204, 404, 410})
NOT_MODIFIED: Final = 304

# What an item costs beside its body and headers.
OVERHEAD_BYTES: Final = 512

# A lifetime above this is this: RFC 9111 1.2.2.
SECONDS_MAX: Final = 1 << 31

# With one of these a request asks for something of its own, and gets it from the server.
_OF_ONE_REQUEST: Final = frozenset(
    "authorization cookie range if-match if-none-match if-modified-since if-unmodified-since "
    "if-range".split()
)

Key = tuple[str, str, str]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A response in the cache. `varied` holds the request's values for the names in Vary."""

    status: int
    headers: Headers
    body: bytes
    varied: Headers
    stored_ms: int
    age_s: int
    lifetime_s: int
    must_revalidate: bool

    @property
    def size_bytes(self) -> int:
        """What it costs."""
        pairs = (*self.headers, *self.varied)
        return OVERHEAD_BYTES + len(self.body) + sum(len(n) + len(v) for n, v in pairs)


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache holds and how often it helped."""

    items: int
    bytes: int
    max_items: int
    max_bytes: int
    hits: int
    misses: int


class Fresh(msgspec.Struct, frozen=True):
    """Use this; ask nobody."""

    stored: Stored


class Stale(msgspec.Struct, frozen=True):
    """Ask with these headers; a 304 makes the stored one fresh again."""

    stored: Stored
    conditions: Headers


class Cache:
    """The cache of a process."""

    __slots__ = ("_bytes", "_hits", "_items", "_limits", "_misses")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits.net
        self._items: OrderedDict[Key, Stored] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    @property
    def enabled(self) -> bool:
        """Whether anything may be stored at all."""
        return self._limits.cache_max_items > 0 and self._limits.cache_max_bytes > 0

    @property
    def stats(self) -> Stats:
        """What is in it."""
        return Stats(
            items=len(self._items),
            bytes=self._bytes,
            max_items=self._limits.cache_max_items,
            max_bytes=self._limits.cache_max_bytes,
            hits=self._hits,
            misses=self._misses,
        )

    def find(self, key: Key, headers: Headers, now_ms: int) -> Fresh | Stale | None:
        """Return what answers a request, None where the server must.

        Args:
            key: scope, method and URL; only for a request that `may_use` allows.
            headers: of the request.
            now_ms: the time.
        """
        stored = self._items.get(key)
        if stored is None or stored.varied != _varied(headers, stored.headers):
            self._misses += 1
            return None
        self._items.move_to_end(key)
        asked = _directives(get_header(headers, "cache-control"))
        if get_header(headers, "pragma") == "no-cache":
            asked.setdefault("no-cache", "")
        lifetime_s = stored.lifetime_s
        if (limit := _seconds(asked.get("max-age"))) is not None:
            lifetime_s = min(lifetime_s, limit)
        age_s = stored.age_s + (now_ms - stored.stored_ms) // 1000
        if not stored.must_revalidate and "no-cache" not in asked and age_s < lifetime_s:
            self._hits += 1
            return Fresh(stored)
        conditions = _conditions(stored.headers)
        self._misses += 1
        return Stale(stored, conditions) if conditions else None

    def store(
        self,
        key: Key,
        *,
        request: Headers,
        status: int,
        headers: Headers,
        body: bytes,
        now_ms: int,
        ttl_s: int,
    ) -> bool:
        """Keep a response if that is allowed; return whether it is kept.

        Args:
            key: as `find`.
            request: headers of the request.
            status: of the response.
            headers: all of the response, with lower-case names, Set-Cookie too.
            body: of the response.
            now_ms: the time.
            ttl_s: lifetime where the response says none.
        """
        said = _directives(get_header(headers, "cache-control"))
        vary = get_header(headers, "vary")
        forbidden = (
            status not in STATUSES
            or "no-store" in said
            or (vary is not None and "*" in vary)
            or get_header(headers, "set-cookie") is not None
        )
        self.forget(key)
        if forbidden or not self.enabled:
            return False
        return self._keep(
            key,
            Stored(
                status=status,
                headers=headers,
                body=body,
                varied=_varied(request, headers),
                stored_ms=now_ms,
                age_s=_seconds(get_header(headers, "age")) or 0,
                lifetime_s=_lifetime_s(said, headers, ttl_s),
                must_revalidate="no-cache" in said,
            ),
        )

    def revalidated(self, key: Key, stored: Stored, headers: Headers, now_ms: int) -> Stored:
        """Return a stored response brought up to date by a 304, and keep it."""
        newer = {name for name, _ in headers} - {"content-length", "content-encoding"}
        merged = tuple(pair for pair in stored.headers if pair[0] not in newer)
        merged += tuple(pair for pair in headers if pair[0] in newer)
        said = _directives(get_header(merged, "cache-control"))
        fresh = msgspec.structs.replace(
            stored,
            headers=merged,
            stored_ms=now_ms,
            age_s=_seconds(get_header(headers, "age")) or 0,
            lifetime_s=_lifetime_s(said, merged, stored.lifetime_s),
            must_revalidate="no-cache" in said,
        )
        self.forget(key)
        if "no-store" not in said:
            self._keep(key, fresh)
        return fresh

    def invalidate(self, scope: str, url: str) -> None:
        """Forget what is stored of a URL: something that changes it was done."""
        for method in METHODS:
            self.forget((scope, method, url))

    def forget(self, key: Key) -> None:
        """Forget one item."""
        stored = self._items.pop(key, None)
        if stored is not None:
            self._bytes -= stored.size_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._bytes = 0

    def _keep(self, key: Key, stored: Stored) -> bool:
        size = stored.size_bytes
        if size > self._limits.cache_max_bytes or not self.enabled:
            return False
        self._items[key] = stored
        self._bytes += size
        while (
            len(self._items) > self._limits.cache_max_items
            or self._bytes > self._limits.cache_max_bytes
        ):
            _, oldest = self._items.popitem(last=False)
            self._bytes -= oldest.size_bytes
        return True


def may_use(method: str, headers: Headers, body: bytes) -> bool:
    """Return whether a request may be answered from a cache, or its response be stored."""
    if method not in METHODS or body:
        return False
    if any(name.lower() in _OF_ONE_REQUEST for name, _ in headers):
        return False
    return "no-store" not in _directives(get_header(headers, "cache-control"))


def _lifetime_s(said: dict[str, str], headers: Headers, ttl_s: int) -> int:
    if "max-age" in said:
        return _seconds(said["max-age"]) or 0  # what cannot be read is stale: RFC 9111 4.2.1
    expires = get_header(headers, "expires")
    if expires is None:
        return ttl_s
    end, start = _time_s(expires), _time_s(get_header(headers, "date"))
    return 0 if end is None or start is None else max(0, min(end - start, SECONDS_MAX))


def _time_s(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip().strip('"')
    if not digits.isascii() or not digits.isdigit():
        return None
    return SECONDS_MAX if len(digits) > 10 else min(int(digits), SECONDS_MAX)  # noqa: PLR2004 - 2^31 has 10


def _directives(text: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        name, _, value = part.partition("=")
        # The first of two wins, and the stricter reading of a doubtful one: RFC 9111 4.2.1.
        found.setdefault(name.strip().lower(), value.strip())
    return found


def _varied(request: Headers, response: Headers) -> Headers:
    vary = get_header(response, "vary")
    if vary is None:
        return ()
    names = sorted({name.strip().lower() for name in vary.split(",")} - {""})
    return tuple((name, get_header(request, name) or "") for name in names)


def _conditions(headers: Headers) -> Headers:
    etag, modified = get_header(headers, "etag"), get_header(headers, "last-modified")
    conditions: Headers = ()
    if etag is not None:
        conditions += (("If-None-Match", etag),)
    if modified is not None:
        conditions += (("If-Modified-Since", modified),)
    return conditions
