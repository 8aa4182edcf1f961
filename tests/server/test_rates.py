"""How often tenants may begin something: laws of the buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloche.server.rates import NS_PER_MINUTE, Rates

MS = 1_000_000


def test_a_burst_and_then_the_rate():
    """What a bucket holds may be taken at once; then one comes at a time."""
    rates = Rates()
    found = [rates.take("a", 0, per_minute=60, burst=3) for _ in range(5)]
    assert found == [0, 0, 0, 1_000_000_000, 1_000_000_000]
    assert rates.take("a", 999 * MS, per_minute=60, burst=3) == 1 * MS
    assert rates.take("a", 1000 * MS, per_minute=60, burst=3) == 0
    assert rates.take("a", 1000 * MS, per_minute=60, burst=3) == 1000 * MS


def test_tenants_have_their_own():
    """What one takes is none the less there for another."""
    rates = Rates()
    assert rates.take("a", 0, per_minute=1, burst=1) == 0
    assert rates.take("a", 0, per_minute=1, burst=1) > 0
    assert rates.take("b", 0, per_minute=1, burst=1) == 0


def test_no_rate_is_no_limit():
    """With 0 a minute nothing is counted."""
    rates = Rates()
    assert [rates.take("a", 0, per_minute=0, burst=1) for _ in range(1000)] == [0] * 1000
    assert len(rates) == 0


def test_full_buckets_are_forgotten():
    """There are no more buckets than tenants that asked lately."""
    rates = Rates()
    for n in range(5000):
        rates.take(f"t{n}", n * 1000 * MS, per_minute=60, burst=1)
    assert len(rates) < 1100


@given(
    per_minute=st.integers(1, 10_000),
    burst=st.integers(1, 50),
    pauses_ns=st.lists(st.integers(0, NS_PER_MINUTE // 10), min_size=1, max_size=200),
)
def test_never_more_than_the_rate(per_minute, burst, pauses_ns):
    """In any time at most the burst and the rate are taken; who waits as told is let in."""
    rates, now_ns, taken = Rates(), 0, []
    for pause_ns in pauses_ns:
        now_ns += pause_ns
        late_ns = rates.take("a", now_ns, per_minute=per_minute, burst=burst)
        if late_ns:
            now_ns += late_ns
            assert rates.take("a", now_ns, per_minute=per_minute, burst=burst) == 0
        taken.append(now_ns)
    token_ns = NS_PER_MINUTE // per_minute
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            span_ns = taken[last] - taken[first]
            assert last - first + 1 <= burst + span_ns // token_ns
