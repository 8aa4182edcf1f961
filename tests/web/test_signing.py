"""Signed texts: made, opened, and every way in which they are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.errors import SettingError
from cloche.web.signing import KeyRing

OLD, NEW = b"o" * 32, b"n" * 32
RING = KeyRing((NEW, OLD))


@settings(deadline=None)
@given(st.binary(max_size=50), st.text("ab.", max_size=5), st.integers(0, 2**40))
def test_what_was_signed_opens(payload, purpose, now_s):
    """The payload comes back, for its purpose, as long as it is not too old."""
    signed = RING.sign(purpose, payload, now_s=now_s)
    assert RING.open(purpose, signed, now_s=now_s + 10, max_age_s=10) == payload
    assert RING.open(purpose, signed, now_s=now_s + 11, max_age_s=10) is None
    assert RING.open(purpose, signed, now_s=now_s - 1, max_age_s=10) is None
    assert RING.open(purpose + "x", signed, now_s=now_s, max_age_s=10) is None


def test_keys_can_be_replaced():
    """The old key still opens, the new one signs, and a key that went opens nothing."""
    before = KeyRing((OLD,))
    signed = before.sign("a", b"x", now_s=5)
    assert RING.open("a", signed, now_s=5, max_age_s=0) == b"x"
    assert before.open("a", RING.sign("a", b"x", now_s=5), now_s=5, max_age_s=0) is None


@settings(deadline=None)
@given(st.data())
def test_no_change_survives(data):
    """Any other text than the one that was signed opens nothing."""
    signed = RING.sign("a", b"payload", now_s=1234)
    at = data.draw(st.integers(0, len(signed)))
    changed = (
        signed[:at] + data.draw(st.text(max_size=2)) + signed[at + data.draw(st.integers(0, 2)) :]
    )
    opened = RING.open("a", changed, now_s=1234, max_age_s=9999)
    assert opened == (b"payload" if changed == signed else None)


@pytest.mark.parametrize("text", ["", ".", "..", "a.1.b.c", "a.x.b", "a.².b", "." * 9000, "ö.1.a"])
def test_what_is_no_signed_text(text):
    """Anything else is nothing, and never an error."""
    assert RING.open("a", text, now_s=1, max_age_s=1) is None


@pytest.mark.parametrize("keys", [(), (b"short",), (NEW, b"x" * 31)])
def test_keys_that_are_too_weak(keys):
    """A ring has a key, and each is long enough."""
    with pytest.raises(SettingError):
        KeyRing(keys)


def test_keys_are_not_shown():
    """The ring does not tell its keys."""
    assert "nnn" not in repr(RING)
