"""A key that was good a moment ago is not looked up again, and never outlives its end here."""

from __future__ import annotations

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
