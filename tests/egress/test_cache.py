"""The cache."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloche.egress.cache import OVERHEAD_BYTES, Cache, Fresh, Stale, may_use
from cloche.limits import Limits

ON = Limits().replace({"net": {"cache_max_items": 3, "cache_max_bytes": 5000}})
KEY = ("app:a", "GET", "https://a.example.com/")


def cache_with(*headers, request=(), status=200, body=b"x", ttl_s=60, now_ms=0):
    """Return a cache and whether it kept this response."""
    cache = Cache(ON)
    kept = cache.store(
        KEY, request=request, status=status, headers=headers, body=body, now_ms=now_ms, ttl_s=ttl_s
    )
    return cache, kept


def found(cache, *, at_s=0, request=(), key=KEY):
    """Return the class of what is found."""
    return type(cache.find(key, request, at_s * 1000))


def test_off_by_default():
    """Without its two limits nothing is kept."""
    for net in ({}, {"cache_max_items": 3}, {"cache_max_bytes": 5000}):
        cache = Cache(Limits().replace({"net": net}))
        assert not cache.enabled
        assert not cache.store(
            KEY, request=(), status=200, headers=(), body=b"", now_ms=0, ttl_s=60
        )
        assert found(cache) is type(None)


@pytest.mark.parametrize(
    ("method", "headers", "body", "may"),
    [
        ("GET", (), b"", True),
        ("HEAD", (), b"", True),
        ("GET", (("Accept", "x"),), b"", True),
        ("POST", (), b"", False),
        ("DELETE", (), b"", False),
        ("GET", (), b"x", False),
        ("GET", (("Authorization", "x"),), b"", False),
        ("GET", (("cookie", "x"),), b"", False),
        ("GET", (("Range", "bytes=0-1"),), b"", False),
        ("GET", (("If-None-Match", "x"),), b"", False),
        ("GET", (("Cache-Control", "no-store"),), b"", False),
        ("GET", (("Cache-Control", "No-Cache, NO-STORE"),), b"", False),
        ("GET", (("Cache-Control", "no-cache"),), b"", True),
    ],
)
def test_requests_that_may_use_a_cache(method, headers, body, may):
    """Safe reads without credentials, body and conditions of their own."""
    assert may_use(method, headers, body) is may


@pytest.mark.parametrize(
    ("headers", "status", "kept"),
    [
        ((), 200, True),
        ((), 404, True),
        ((), 203, True),
        ((), 500, False),
        ((), 302, False),
        ((), 206, False),
        ((("cache-control", "no-store"),), 200, False),
        ((("cache-control", "max-age=60, no-store"),), 200, False),
        ((("cache-control", "private, max-age=60"),), 200, True),
        ((("vary", "*"),), 200, False),
        ((("vary", "accept, *"),), 200, False),
        ((("vary", "accept"),), 200, True),
        ((("set-cookie", "a=1"),), 200, False),
    ],
)
def test_what_is_stored(headers, status, kept):
    """What the server forbids, and what belongs to one user's cookies, is not kept."""
    assert cache_with(*headers, status=status)[1] is kept


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ((), 60),
        ((("cache-control", "max-age=100"),), 100),
        ((("cache-control", 'max-age="100"'),), 100),
        ((("cache-control", "max-age=0"),), 0),
        ((("cache-control", "max-age=x"),), 0),
        ((("cache-control", "max-age=-5"),), 0),
        ((("cache-control", "max-age=5, max-age=100"),), 5),
        ((("cache-control", "max-age=5"), ("cache-control", "max-age=100")), 5),
        ((("cache-control", "s-maxage=9, max-age=100"),), 100),
        ((("cache-control", "max-age=100"), ("age", "30")), 70),
        ((("expires", "0"),), 0),
        ((("expires", "Thu, 01 Jan 1970 00:10:00 GMT"),), 0),
        (
            (
                ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
                ("expires", "Thu, 01 Jan 1970 00:10:00 GMT"),
            ),
            600,
        ),
        (
            (
                ("date", "Thu, 01 Jan 1970 00:10:00 GMT"),
                ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ),
            0,
        ),
        ((("cache-control", "no-cache, max-age=100"),), 0),
    ],
)
def test_freshness(headers, fresh_s):
    """A response is fresh for its lifetime and not a second longer."""
    cache, _ = cache_with(*headers, ("etag", "x"))
    if fresh_s:
        assert found(cache, at_s=fresh_s - 1) is Fresh
    assert found(cache, at_s=fresh_s) is Stale


def test_a_stale_response_is_asked_about():
    """Validators become conditions; without one the server is asked from the start."""
    cache, _ = cache_with(("etag", 'W/"1"'), ("last-modified", "then"))
    stale = cache.find(KEY, (), 60_000)
    assert stale.conditions == (("If-None-Match", 'W/"1"'), ("If-Modified-Since", "then"))
    assert found(cache_with()[0], at_s=60) is type(None)


def test_a_304_makes_it_fresh_again():
    """New fields replace old ones, the body stays, and the lifetime begins again."""
    cache, _ = cache_with(("etag", "1"), ("x", "old"), ("cache-control", "max-age=10"), body=b"b")
    stale = cache.find(KEY, (), 10_000)
    fresh = cache.revalidated(
        KEY, stale.stored, (("x", "new"), ("cache-control", "max-age=20")), 10_000
    )
    assert fresh.body == b"b"
    assert dict(fresh.headers) == {"etag": "1", "x": "new", "cache-control": "max-age=20"}
    assert found(cache, at_s=29) is Fresh
    assert found(cache, at_s=30) is Stale


def test_a_304_may_forbid_keeping_it():
    """no-store in a 304 removes what was stored."""
    cache, _ = cache_with(("etag", "1"))
    stale = cache.find(KEY, (), 60_000)
    cache.revalidated(KEY, stale.stored, (("cache-control", "no-store"),), 60_000)
    assert cache.stats.items == 0
    assert cache.stats.bytes == 0


@pytest.mark.parametrize(
    ("request_headers", "hit"),
    [
        ((("Cache-Control", "no-cache"),), False),
        ((("Pragma", "no-cache"),), False),
        ((("Cache-Control", "max-age=10"),), False),
        ((("Cache-Control", "max-age=40"),), True),
        ((("Cache-Control", "max-age=1000"),), True),
    ],
)
def test_what_a_request_asks_of_the_cache(request_headers, hit):
    """A request may ask for something fresher than the server does."""
    cache, _ = cache_with(("etag", "1"))
    assert (found(cache, at_s=30, request=request_headers) is Fresh) is hit


def test_vary():
    """Another value of a field that Vary names is another response."""
    cache, _ = cache_with(("vary", "Accept, X"), request=(("ACCEPT", "a"),))
    assert found(cache, request=(("accept", "a"),)) is Fresh
    assert found(cache, request=(("accept", "b"),)) is type(None)
    assert found(cache, request=()) is type(None)
    assert found(cache, request=(("accept", "a"), ("x", "1"))) is type(None)


def test_scopes_methods_and_queries_are_apart():
    """What one app fetched, another does not see."""
    cache, _ = cache_with()
    for key in (
        ("app:b", "GET", KEY[2]),
        ("app:a", "HEAD", KEY[2]),
        ("app:a", "GET", KEY[2] + "?q"),
    ):
        assert found(cache, key=key) is type(None)


def test_a_change_invalidates():
    """After an unsafe method nothing stored of the URL is used."""
    cache, _ = cache_with()
    cache.invalidate("app:b", KEY[2])
    assert found(cache) is Fresh
    cache.invalidate("app:a", KEY[2])
    assert found(cache) is type(None)


def test_a_response_that_may_not_be_kept_removes_the_old_one():
    """A newer answer that is not stored does not leave the older one behind."""
    cache, _ = cache_with()
    cache.store(KEY, request=(), status=500, headers=(), body=b"", now_ms=0, ttl_s=60)
    assert found(cache) is type(None)


def test_too_large_for_the_cache():
    """An item larger than the whole cache changes nothing else in it."""
    cache, _ = cache_with()
    big = (KEY[0], "GET", KEY[2] + "big")
    assert not cache.store(
        big, request=(), status=200, headers=(), body=b"x" * 5000, now_ms=0, ttl_s=60
    )
    assert found(cache) is Fresh
    assert cache.stats.items == 1


class CacheMachine(RuleBasedStateMachine):
    """The bounds hold, sizes are exact, and the least recently used goes first."""

    def __init__(self):
        super().__init__()
        self.cache = Cache(ON)
        self.order = []
        self.sizes = {}

    @rule(name=st.sampled_from("abcdef"), size=st.integers(0, 5200))
    def store(self, name, size):
        kept = self.cache.store(
            ("", "GET", name),
            request=(),
            status=200,
            headers=(),
            body=b"x" * size,
            now_ms=0,
            ttl_s=60,
        )
        if name in self.order:
            self.order.remove(name)
        assert kept is (size + OVERHEAD_BYTES <= 5000)
        if kept:
            self.order.append(name)
            self.sizes[name] = size + OVERHEAD_BYTES
            while len(self.order) > 3 or sum(self.sizes[n] for n in self.order) > 5000:
                self.order.pop(0)

    @rule(name=st.sampled_from("abcdef"))
    def find(self, name):
        hit = found(self.cache, key=("", "GET", name)) is Fresh
        assert hit is (name in self.order)
        if hit:
            self.order.remove(name)
            self.order.append(name)

    @rule()
    def clear(self):
        self.cache.clear()
        self.order.clear()

    @invariant()
    def bounds(self):
        stats = self.cache.stats
        assert stats.items == len(self.order)
        assert stats.bytes == sum(self.sizes[name] for name in self.order)


TestCacheMachine = CacheMachine.TestCase
