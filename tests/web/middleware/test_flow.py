"""Token buckets and the breaker, in a time that is moved by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.adapters.fixture import FixtureServices
from cloche.web.errors import SettingError
from cloche.web.middleware.flow import Breaker, TokenBuckets, circuit_breaker, rate_limit
from cloche.web.response import empty

from .support import ask, wrapped

MS = 1_000_000


def test_a_bucket():
    """So many at once, then one for each interval; the wait is exact."""
    buckets = TokenBuckets(capacity=3, interval_ms=100)
    assert [buckets.take("a", 0) for _ in range(4)] == [0, 0, 0, 100 * MS]
    assert buckets.take("a", 99 * MS) == 1 * MS
    assert [buckets.take("a", 100 * MS) for _ in range(2)] == [0, 100 * MS]
    assert buckets.take("b", 100 * MS) == 0
    assert [buckets.take("a", 10_000 * MS) for _ in range(4)] == [0, 0, 0, 100 * MS]


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 5), st.integers(1, 100))
def test_no_window_has_more(steps, capacity, interval_ms):
    """In any stretch of time no more passes than the capacity and one for each interval."""
    buckets = TokenBuckets(capacity=capacity, interval_ms=interval_ms)
    now_ms, passed = 0, []
    for step in steps:
        now_ms += step
        if buckets.take("a", now_ms * MS) == 0:
            passed.append(now_ms)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            window_ms = passed[last] - passed[first]
            assert last - first + 1 <= capacity + window_ms // interval_ms


def test_buckets_are_bounded():
    """The bucket that was used longest ago goes when there are too many."""
    buckets = TokenBuckets(capacity=1, interval_ms=1000, key_count_max=2)
    for key in ("a", "b", "c"):
        assert buckets.take(key, 0) == 0
    assert buckets.take("c", 0) > 0
    assert buckets.take("b", 0) > 0
    assert buckets.take("a", 0) == 0
    assert len(buckets._full_ns) == 2


def test_rate_limit():
    """Who asks too often is told when to come back, rounded up to seconds."""
    app = wrapped(lambda: "", rate_limit(capacity=2, interval_ms=1500))
    services = FixtureServices()
    answers = [ask(app, services=services) for _ in range(3)]
    assert [response.status for response in answers] == [200, 200, 429]
    assert answers[2].get(b"retry-after") == b"2"
    services.time_ns += 1500 * MS
    assert ask(app, services=services).status == 200


def test_rate_limit_by_key():
    """A key of the application's own separates who is counted together."""
    app = wrapped(
        lambda: "",
        rate_limit(capacity=1, interval_ms=1000, key=lambda request: request.header("x") or ""),
    )
    assert [ask(app, fields=[(b"x", name)]).status for name in (b"a", b"b", b"a")] == [
        200,
        200,
        429,
    ]


def test_the_breaker():
    """Closed, open after failures in a row, one tries, then closed or open again."""
    breaker = Breaker(failure_count=2, open_ms=10)
    for failed in (True, False, True, True):
        assert breaker.enter(0) == 0
        breaker.leave(0, failed=failed)
    assert breaker.enter(9 * MS) == 1 * MS
    assert breaker.enter(10 * MS) == 0
    assert breaker.enter(10 * MS) == 10 * MS
    breaker.leave(10 * MS, failed=True)
    assert breaker.enter(11 * MS) == 9 * MS
    assert breaker.enter(20 * MS) == 0
    breaker.leave(20 * MS, failed=False)
    assert [breaker.enter(20 * MS), breaker.enter(20 * MS)] == [0, 0]


def test_circuit_breaker():
    """While it is open nothing inside is called; what it raises counts as a failure."""
    calls = []

    def handler(request):
        calls.append(request)
        if request.header("x") == "raise":
            raise ValueError
        return empty(int(request.header("x")))

    app = wrapped(handler, circuit_breaker(failure_count=2, open_ms=3000))
    services = FixtureServices()

    def status(x):
        return ask(app, fields=[(b"x", x)], services=services).status

    found = [status(x) for x in (b"503", b"404", b"raise", b"500", b"204")]
    assert found == [503, 404, 500, 500, 503]
    assert len(calls) == 4
    services.time_ns += 3000 * MS
    assert [status(b"204"), status(b"204")] == [204, 204]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenBuckets(capacity=0, interval_ms=1),
        lambda: TokenBuckets(capacity=1, interval_ms=0),
        lambda: Breaker(failure_count=0, open_ms=1),
    ],
)
def test_settings(make):
    """Numbers below one make no sense."""
    with pytest.raises(SettingError):
        make()


def test_a_breaker_counts_what_is_raised():
    """Middleware inside that raises is a failure; one failure can be enough."""

    async def broken(request, following):
        raise ValueError

    app = wrapped(empty, circuit_breaker(failure_count=1, open_ms=1), broken)
    services = FixtureServices()
    assert [ask(app, services=services).status for _ in range(2)] == [500, 503]
