"""Attack: the name of an app that is a path, another tenant's, or nothing that a name can be."""

from __future__ import annotations

import pytest

from abuse.app_support import packed, place

NAMES = [
    "a%2F..%2Fb",
    "..%2Fdefault%2Fshop",
    "..",
    "%2e%2e",
    "~acme",
    "~acme%2Fshop",
    "acme.shop",
    "shop.acme",
    "*",
    "*.acme",
    "SHOP",
    "sh%C3%B6p",
    "%E2%80%AEpohs",
    "shop%00",
    "shop%0A",
    "shop%20",
    "-shop",
    "shop-",
    "x" * 64,
    "%F0%9F%9A%80",
    "state",
    "default%2Fshop",
]
ROUTES = [
    ("GET", ""),
    ("GET", "/versions"),
    ("GET", "/actions"),
    ("GET", "/logs"),
    ("GET", "/requests"),
    ("GET", "/requests/x/journal"),
    ("POST", "/requests/x/replay"),
    ("POST", "/rollback"),
    ("POST", "/promote"),
    ("POST", "/stop"),
    ("POST", "/start"),
    ("POST", "/env"),
    ("DELETE", ""),
]


@pytest.fixture(scope="module")
def world():
    """A server with an app of two tenants."""
    with place() as found:
        found.other = found.new_key("admin", tenant="acme")
        found.deploy(code="export default () => new Response('default')")
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_no_such_app(world, name):
    """No route finds, makes or changes an app by a crooked name."""
    body = {"set": {"A": "1"}}
    for method, path in ROUTES:
        answer = world.ask(
            method, f"/v1/apps/{name}{path}", key=world.other, body=body if path == "/env" else b""
        )
        assert answer.status in (400, 404), (method, path, answer.body)
    before = set(world.apps.registry.state()[1].apps)
    answer = world.ask(
        "POST",
        f"/v1/apps/{name}/versions",
        key=world.other,
        fields=[("content-type", b"application/zip")],
        body=packed(),
    )
    made = set(world.apps.registry.state()[1].apps) - before
    assert made <= {f"acme/{name}"}, "none but one of its own tenant, under a plain name"
    assert answer.status in (201, 400, 404, 422)
    assert world.get("/apps/shop/").body == b"default"


def test_a_manifest_of_another_name(world):
    """The name in a manifest is that of the route, or the archive is refused."""
    answer = world.ask(
        "POST",
        "/v1/apps/mine/versions",
        key=world.other,
        fields=[("content-type", b"application/zip")],
        body=packed(name="shop"),
    )
    names = set(world.apps.registry.state()[1].apps)
    assert answer.status in (201, 422)
    assert "acme/shop" not in names or answer.status == 422


def test_one_tenant_s_app_is_no_other_s(world):
    """With the key of another tenant nothing of an app is seen or changed."""
    for method, path in ROUTES:
        body = {"set": {"A": "1"}} if path == "/env" else b""
        answer = world.ask(method, f"/v1/apps/shop{path}", key=world.other, body=body)
        assert answer.status == 404, (method, path, answer.body)
    assert world.get("/v1/apps", key=world.other).document["items"] == [] or all(
        each["name"] != "shop" for each in world.get("/v1/apps", key=world.other).document["items"]
    )
    assert world.get("/apps/shop/").body == b"default"
    assert world.apps.registry.app.__self__.state()[1].apps["default/shop"].env == {}


@pytest.mark.parametrize("scopes", [("run",), ("session",), ("approve",)])
def test_keys_without_the_scope(world, scopes):
    """A key without the scope does nothing with apps, not even learn which there are."""
    key = world.new_key(*scopes)
    for method, path in (*ROUTES, ("POST", "/versions")):
        for name in ("shop", "none"):
            assert world.ask(method, f"/v1/apps/{name}{path}", key=key).status == 403
    assert world.get("/v1/apps", key=key).status == 403
    assert world.get("/v1/apps").status == 401
