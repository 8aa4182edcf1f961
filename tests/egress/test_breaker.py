"""The circuit breaker."""

from __future__ import annotations

import pytest

from cloche.egress.breaker import Breakers
from cloche.egress.errors import NetRateError
from cloche.limits import Limits

LIMITS = Limits().replace(
    {"egress": {"breaker_failure_count": 3, "breaker_open_ms": 1000, "bucket_count_max": 2}}
)
MS = 10**6


def opened(at_ns=0, domain="a"):
    """Return breakers with one that is open."""
    breakers = Breakers(LIMITS)
    for _ in range(3):
        breakers.check(domain, at_ns)
        breakers.failed(domain, at_ns)
    return breakers


def refused(breakers, now_ns, domain="a"):
    """Return whether a call is refused."""
    try:
        breakers.check(domain, now_ns)
    except NetRateError:
        return True
    return False


def test_it_opens_after_failures_in_a_row():
    """Two failures are nothing, the third opens, and the refusal says for how long."""
    breakers = Breakers(LIMITS)
    for _ in range(2):
        breakers.failed("a", 0)
    assert not refused(breakers, 0)
    breakers.failed("a", 0)
    with pytest.raises(NetRateError) as caught:
        breakers.check("a", 400 * MS)
    assert caught.value.message == "a failed 3 times in a row and is left alone for now"
    assert caught.value.retry_after_ms == 600
    assert caught.value.retryable
    assert not refused(breakers, 0, "b")


def test_tenants_have_breakers_of_their_own():
    """Who meets failures closes a domain to itself alone, and another's success opens nothing."""
    breakers = Breakers(LIMITS)
    for _ in range(3):
        breakers.failed("a", 0, tenant="one")
    with pytest.raises(NetRateError):
        breakers.check("a", 0, tenant="one")
    breakers.check("a", 0, tenant="two")
    breakers.check("a", 0)
    breakers.succeeded("a", tenant="two")
    with pytest.raises(NetRateError):
        breakers.check("a", 0, tenant="one")


def test_a_success_forgets_failures():
    """Failures count only in a row."""
    breakers = Breakers(LIMITS)
    for _ in range(5):
        breakers.failed("a", 0)
        breakers.failed("a", 0)
        breakers.succeeded("a")
    assert not refused(breakers, 0)
    assert len(breakers) == 0


def test_one_probe_after_the_pause():
    """After the pause one call passes and others are refused until it reports."""
    breakers = opened()
    assert refused(breakers, 999 * MS)
    assert not refused(breakers, 1000 * MS)
    assert refused(breakers, 1000 * MS)
    breakers.succeeded("a")
    assert not refused(breakers, 1001 * MS)


def test_a_failed_probe_opens_again():
    """One failure of the probe is enough for the next pause."""
    breakers = opened()
    breakers.check("a", 1000 * MS)
    breakers.failed("a", 1200 * MS)
    assert refused(breakers, 2199 * MS)
    assert not refused(breakers, 2200 * MS)


def test_a_probe_that_never_reports_is_replaced():
    """A probe that was cancelled does not lock the domain for ever."""
    breakers = opened()
    breakers.check("a", 1000 * MS)
    assert refused(breakers, 1999 * MS)
    assert not refused(breakers, 2000 * MS)


def test_it_can_be_off():
    """A count of 0 never opens and remembers nothing."""
    breakers = Breakers(LIMITS.replace({"egress": {"breaker_failure_count": 0}}))
    for _ in range(100):
        breakers.failed("a", 0)
    assert not refused(breakers, 0)
    assert len(breakers) == 0


def test_memory_is_bounded():
    """However many domains fail, only the latest are remembered."""
    breakers = Breakers(LIMITS)
    for number in range(100):
        breakers.failed(str(number), 0)
    assert len(breakers) == 2
