"""`cloche tenants`: limits of tenants, on the store of a server."""

from __future__ import annotations

import pytest

from .support import cloche


@pytest.fixture
def store(tmp_path):
    """Options that name an empty store."""
    return ("--store", str(tmp_path / "s.db"))


def test_limits_of_a_tenant(store):
    """They are set with units, added to, taken back, and shown with whose they are."""
    asked = ("session_count_max=5", "tenant_stored_limit_bytes=2MiB")
    done = cloche("tenants", "set", "acme", *asked, *store)
    assert (done.exit_code, done.stdout) == (
        0,
        "acme: session_count_max=5, tenant_stored_limit_bytes=2 MiB\n",
    )
    more = ("tenants", "set", "acme", "tenant_run_rate_limit=60", "--unset", "session_count_max")
    document = cloche(*more, *store, "--json").document
    own = {"tenant_run_rate_limit": 60, "tenant_stored_limit_bytes": 2 << 20}
    assert document["own"] == own
    assert document["limits"]["session_count_max"] == 10_000
    assert cloche("tenants", "show", "acme", *store, "--json").document == document
    assert cloche("tenants", "list", *store, "--json").document == {"tenants": [document]}
    shown = cloche("tenants", "show", "acme", *store).stdout
    assert "its own" in shown
    assert "2 MiB" in shown
    assert "tenant_run_rate_limit=60" in cloche("tenants", "list", *store).stdout


def test_tenants_with_keys_are_listed(store):
    """A tenant is who has a key, too."""
    cloche("keys", "new", "--tenant", "acme", *store)
    found = cloche("tenants", "list", *store, "--json").document["tenants"]
    assert [(each["id"], each["own"]) for each in found] == [("acme", {})]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("acme", "session_count=5"), "did you mean session_count_max?"),
        (("acme", "--unset", "session_count"), "did you mean session_count_max?"),
        (("acme", "drain_ms=5"), "is no limit that a tenant has"),
        (("acme", "session_count_max"), "give LIMIT=VALUE"),
        (("acme", "session_count_max=0"), "session_count_max"),
        (("Acme", "session_count_max=5"), "it has 1 to 63 of a-z"),
    ],
)
def test_what_is_wrong(store, arguments, says):
    """It is said, with exit code 2, and nothing is kept."""
    done = cloche("tenants", "set", *arguments, *store)
    assert done.exit_code == 2, done.stdout
    assert says in done.stderr
    assert cloche("tenants", "list", *store, "--json").document == {"tenants": []}
