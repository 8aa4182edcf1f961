"""A key that was good a moment ago is not looked up again, and never outlives its end here."""

from __future__ import annotations

import pytest

from cloche.server.errors import InvalidFieldError, QuotaError, StateError
from cloche.server.pages import PageRequest

from .support import Asker

MOMENT_NS = 50_000_000


def test_remembered():
    """It is remembered for a moment, until it is revoked here, and not past its own end."""
    asker = Asker()
    ring, host = asker.server.keyring, asker.host
    key, text = ring.make(
        tenant="acme", scopes=("run",), expires_ns=host.now_ns() + 100 * MOMENT_NS
    )
    assert ring.remembered(text) is None
    assert ring.owner_of(text).id == key.id
    assert ring.remembered(text).id == key.id
    assert ring.remembered(text + "x") is None
    host.time_ns += MOMENT_NS
    assert ring.remembered(text) is None
    ring.owner_of(text)
    ring.revoke("acme", key.id)
    assert ring.remembered(text) is None
    assert ring.owner_of(text) is None
    end_ns = host.now_ns() + MOMENT_NS // 2
    short, text = ring.make(tenant="acme", scopes=("run",), expires_ns=end_ns)
    assert ring.owner_of(text).id == short.id
    host.time_ns += MOMENT_NS // 2
    assert ring.remembered(text) is None


def test_a_key_that_is_revoked_while_it_is_looked_up():
    """Whoever asked before the end gets through, and nobody behind them."""
    asker = Asker()
    ring = asker.server.keyring
    key, text = ring.make(tenant="acme", scopes=("run",))
    get = ring._documents.get

    def get_and_revoke(kind, name):
        kept = get(kind, name)
        ring._documents.get = get
        ring.revoke("acme", key.id)
        return kept

    ring._documents.get = get_and_revoke
    assert ring.owner_of(text).id == key.id
    assert ring.remembered(text) is None
    assert ring.owner_of(text) is None


def test_how_many_keys_a_tenant_has():
    """As many good ones as the limit says; what has ended makes room, and others have their own."""
    ring = Asker(key_count_max=2).server.keyring
    first, _ = ring.make(tenant="acme", scopes=("run",))
    ring.make(tenant="acme", scopes=("run",))
    with pytest.raises(QuotaError) as refused:
        ring.make(tenant="acme", scopes=("run",))
    assert refused.value.fields["limit"] == "server.key_count_max"
    ring.make(tenant="other", scopes=("run",))
    ring.revoke("acme", first.id)
    ring.make(tenant="acme", scopes=("run",))


def test_a_key_instead_of_another():
    """It may do the same as long as the other could have; the other ends when its overlap does."""
    asker = Asker()
    ring, host = asker.server.keyring, asker.host
    end_ns = host.now_ns() + 100 * MOMENT_NS
    old, old_text = ring.make(tenant="acme", scopes=("run",), name="ci", expires_ns=end_ns)
    new, new_text = ring.rotate("acme", old.id, overlap_ms=50)
    assert (new.tenant, new.scopes, new.name) == ("acme", ("run",), "ci")
    assert new.expires_ns == end_ns
    assert ring.owner_of(old_text) is not None
    host.time_ns += MOMENT_NS
    assert ring.owner_of(old_text) is None
    assert ring.owner_of(new_text).id == new.id


@pytest.mark.parametrize("overlap_ms", [-1, 10**20])
def test_an_overlap_that_cannot_be(overlap_ms):
    """It is refused before another key is made, and the old one stays as it is."""
    asker = Asker()
    ring = asker.server.keyring
    key, text = ring.make(tenant="acme", scopes=("run",))
    with pytest.raises(InvalidFieldError, match="overlap_ms: it is 0 or more"):
        ring.rotate("acme", key.id, overlap_ms=overlap_ms)
    assert [one.id for one in ring.of("acme")] == [key.id]
    assert ring.owner_of(text).id == key.id


def test_what_has_ended_is_not_rotated():
    """A key that was revoked does not come to life again as another one."""
    ring = Asker().server.keyring
    key, _ = ring.make(tenant="acme", scopes=("run",))
    ring.revoke("acme", key.id)
    with pytest.raises(StateError):
        ring.rotate("acme", key.id, overlap_ms=0)
    assert len(ring.page("acme", PageRequest(limit=10))) == 1
