"""Token buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.egress.errors import NetRateError
from cloche.egress.rate import Buckets

S = 10**9


def taken(buckets, now_ns, *, rate=60, burst=1, domain="a", scope=""):
    """Return whether a token could be taken."""
    try:
        buckets.take(scope, domain, now_ns, per_minute=rate, burst=burst)
    except NetRateError:
        return False
    return True


def test_no_rate_is_no_limit():
    """A rate of 0 lets everything pass and remembers nothing."""
    buckets = Buckets(10)
    assert all(taken(buckets, 0, rate=0) for _ in range(1000))
    assert len(buckets) == 0


def test_burst_then_rate():
    """A bucket begins full, then one token comes each second at 60 a minute."""
    buckets = Buckets(10)
    assert [taken(buckets, 0, burst=3) for _ in range(4)] == [True, True, True, False]
    assert [taken(buckets, S, burst=3) for _ in range(2)] == [True, False]
    assert [taken(buckets, 3 * S, burst=3) for _ in range(3)] == [True, True, False]


def test_a_burst_of_0_is_1():
    """One call at a time always passes, or a rate without a burst would forbid everything."""
    assert taken(Buckets(10), 0, burst=0)


def test_when_to_retry():
    """The refusal says when there is a token again, and then there is one."""
    buckets = Buckets(10)
    taken(buckets, 0, rate=7)
    with pytest.raises(NetRateError) as caught:
        buckets.take("", "a", 10, per_minute=7, burst=1)
    after_ms = caught.value.retry_after_ms
    assert after_ms == 8572
    assert caught.value.retryable
    assert not taken(buckets, (after_ms - 2) * 10**6, rate=7)
    assert taken(buckets, 10 + after_ms * 10**6, rate=7)


def test_a_changed_rate_is_seen_at_once():
    """The next call counts with the new rate and burst, not with those of the first."""
    buckets = Buckets(10)
    assert taken(buckets, 0, rate=1)
    assert not taken(buckets, S, rate=1)
    assert taken(buckets, S + S // 5, rate=600, burst=5)
    assert taken(buckets, S + S // 5, rate=600, burst=5)
    assert not taken(buckets, S + S // 5, rate=600, burst=5)
    assert taken(buckets, S + S // 5, rate=0)


def test_domains_and_scopes_are_apart():
    """Each scope and domain has a bucket of its own."""
    buckets = Buckets(10)
    for scope in ("", "app:x"):
        for domain in ("a", "b"):
            assert taken(buckets, 0, domain=domain, scope=scope)
            assert not taken(buckets, 0, domain=domain, scope=scope)


def test_memory_is_bounded():
    """The bucket unused for longest is forgotten."""
    buckets = Buckets(3)
    for number in range(100):
        taken(buckets, 0, domain=str(number))
    assert len(buckets) == 3
    assert not taken(buckets, 0, domain="99")


@given(
    st.lists(st.tuples(st.integers(0, 5 * S), st.booleans()), max_size=60),
    st.integers(1, 1000),
    st.integers(0, 20),
)
def test_never_more_than_burst_and_rate(steps, rate, burst):
    """However calls come, and if the clock jumps back, no more pass than rate and burst allow."""
    buckets = Buckets(10)
    now = latest = passed = 0
    for step, back in steps:
        now = max(0, now - step) if back else now + step
        latest = max(latest, now)
        passed += taken(buckets, now, rate=rate, burst=burst)
    assert passed <= max(burst, 1) + latest * rate / (60 * S) + 1e-6
