"""Attack: recorded requests fill memory and disk, or tell one tenant of another's."""

from __future__ import annotations

import pytest

from abuse.app_support import place
from cloche.apps.recordings import KeptRecords
from cloche.apps.routing import AppName

SHOP = AppName(tenant="default", name="shop")
FAILS = """
export default async (request, env) => {
  console.log("got " + (await request.text()).length);
  throw new Error(`no ${env.TOKEN}`);
};
"""
LIMITS = {"recorded_request_limit_bytes": 20_000, "recorded_limit_bytes": 50_000}


@pytest.fixture(scope="module")
def world():
    """A server with little room for recordings."""
    with place(apps=LIMITS) as found:
        yield found


def test_the_disk_is_not_filled(world):
    """Journals of an app have so many bytes together; the oldest go."""
    world.deploy(code=FAILS)
    for _ in range(12):
        assert world.ask("POST", "/apps/shop/", body=b"x" * 8000).status == 500
    world.settle()
    kept = world.apps.recordings.page(SHOP)
    assert 0 < len(kept) < 12
    sizes = [len(world.apps.recordings.journal(each.id)) for each in kept]
    assert sum(each.journal_bytes for each in kept) <= 50_000
    assert all(size <= 25_000 for size in sizes)


def test_memory_is_not_filled(world):
    """A request whose journal is too long is not recorded, and not held meanwhile."""
    world.deploy(code=FAILS)
    before = {each.id for each in world.apps.recordings.page(SHOP)}
    assert world.ask("POST", "/apps/shop/", body=b"x" * 60_000).status == 500
    world.settle()
    assert {each.id for each in world.apps.recordings.page(SHOP)} <= before
    records = KeptRecords(10)
    for _ in range(1000):
        records.append([b"x" * 8])
    assert (records.records, records.is_too_large) == ([], True)


def test_another_tenant_s(world):
    """A request of another tenant's app is found under no name, by no key but its own."""
    other = world.new_key("app", "admin", tenant="acme")
    world.deploy(code=FAILS)
    world.deploy(code=FAILS, key=other)
    world.get("/apps/shop/")
    world.settle()
    (newest, *_) = world.get("/v1/apps/shop/requests", key=world.key).document["items"]
    place_of = f"/v1/apps/shop/requests/{newest['id']}"
    assert world.get(f"{place_of}/journal", key=world.key).status == 200
    for method, target in (
        ("GET", f"{place_of}/journal"),
        ("POST", f"{place_of}/replay"),
        ("GET", f"/v1/apps/default%2Fshop/requests/{newest['id']}/journal"),
        ("GET", f"/v1/apps/..%2Fdefault%2Fshop/requests/{newest['id']}/journal"),
        ("GET", f"/v1/runs/{newest['id']}"),
        ("GET", f"/v1/runs/{newest['id']}/journal"),
        ("POST", f"/v1/runs/{newest['id']}/replay"),
    ):
        assert world.ask(method, target, key=other).status == 404
    assert newest["id"] not in str(world.get("/v1/runs", key=other).document)


def test_what_is_set_is_not_told(world):
    """Variables of an app are in no list of its requests, no document of it, and no error."""
    world.deploy(code="export default () => { throw new Error('no') };")
    body = {"set": {"TOKEN": "s3cret-value"}}
    told = [world.ask("POST", "/v1/apps/shop/env", key=world.key, body=body)]
    told += [world.get("/apps/shop/")]
    world.settle()
    for path in ("", "/requests", "/versions", "/actions", "/logs"):
        told.append(world.get(f"/v1/apps/shop{path}", key=world.key))
    told.append(world.get("/v1/apps", key=world.key))
    told.append(world.get("/openapi.json"))
    for answer in told:
        assert answer.status in (200, 500)
        assert b"s3cret-value" not in answer.body
    assert "s3cret-value" not in str(world.records)
