"""Tenants: the lists and secrets that a policy names are those of its tenant."""

from __future__ import annotations

import pytest

from cloche.egress.adapters.database import NetDatabase
from cloche.egress.adapters.egress import Egress, NetRun
from cloche.egress.adapters.explain import explain
from cloche.egress.allowlist import Entry, NetPolicy, scope_in, scope_of_tenant
from cloche.egress.budget import RunBudget
from cloche.egress.errors import NetPolicyError
from cloche.egress.message import request_of
from cloche.egress.secrets import Secret
from cloche.limits import Limits

LIMITS = Limits()
TENANTS = ("", "one", "two")


@pytest.fixture
def database(tmp_path):
    """Each tenant has a host and a secret of its own in its global list."""
    found = NetDatabase(tmp_path / "net.db", LIMITS, key=b"k" * 32)
    for tenant in TENANTS:
        scope = scope_in(tenant, "global")
        found.put_entry(scope, Entry(host=f"of-{tenant or 'default'}.example"))
        found.put_secret(
            Secret(name="KEY", value=f"value-of-{tenant}", domains=("a.example",), scope=scope)
        )
    yield found
    found.close()


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_policy_means_its_tenant(database, tenant):
    """`global` is the tenant's own list, and a name leads to the tenant's own secret."""
    egress = Egress(LIMITS, entries=database, secrets=database)
    policy = NetPolicy(scopes=("global",), secrets=("KEY",), tenant=tenant)
    run = NetRun(run_id="r", policy=policy, budget=RunBudget(LIMITS))
    allowed = [
        other
        for other in TENANTS
        if egress.decide(
            request_of({"url": f"https://of-{other or 'default'}.example/"}, LIMITS), run
        ).allowed
    ]
    assert allowed == [tenant]
    assert [found.value for found in egress.known_secrets(policy)] == [f"value-of-{tenant}"]


def test_nothing_of_the_store_is_a_tenants(database):
    """A tenant without lists and secrets has none: it does not fall back on those of others."""
    egress = Egress(LIMITS, entries=database, secrets=database)
    policy = NetPolicy(scopes=("global", "tenant:one/global"), secrets=("KEY",), tenant="three")
    run = NetRun(run_id="r", policy=policy, budget=RunBudget(LIMITS))
    for other in TENANTS:
        asked = request_of({"url": f"https://of-{other or 'default'}.example/"}, LIMITS)
        assert not egress.decide(asked, run).allowed
    assert egress.known_secrets(policy) == []


def test_explanations_mean_a_tenant(database):
    """What is explained is what would happen to a run of the tenant, its secrets too."""
    options = {"method": "GET", "scopes": ["global"], "tenant": "one"}
    assert explain(database, LIMITS, url="https://of-one.example/", **options)["allowed"]
    assert not explain(database, LIMITS, url="https://of-two.example/", **options)["allowed"]
    asked = explain(
        database, LIMITS, url="https://of-one.example/", secret="KEY", **{**options, "tenant": "x"}
    )
    assert not asked["allowed"]


def test_names_of_lists():
    """What a tenant calls a list and its name in the store lead to each other, and nowhere else."""
    assert scope_in("", "app:a") == "app:a"
    assert scope_in("one", "app:a") == "tenant:one/app:a"
    assert scope_of_tenant("one", "tenant:one/app:a") == "app:a"
    assert scope_of_tenant("one", "app:a") is None
    assert scope_of_tenant("one", "tenant:one-more/app:a") is None
    assert scope_of_tenant("", "app:a") == "app:a"
    assert scope_of_tenant("", "tenant:one/app:a") is None


@pytest.mark.parametrize("tenant", ["One", "a/b", "-a", "a" * 64, "one/global"])
def test_what_is_no_tenant(tenant):
    """A tenant has a name without what separates it from its lists."""
    with pytest.raises(NetPolicyError, match=r"^tenant "):
        NetPolicy(tenant=tenant)


def test_the_document_says_whose_it_is():
    """A policy comes back from its document with its tenant."""
    policy = NetPolicy(scopes=("global",), tenant="one")
    assert NetPolicy.from_document(policy.to_document()) == policy
