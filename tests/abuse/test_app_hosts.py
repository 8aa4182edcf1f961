"""Attack: an app answers for the server, or for another app, by a name that is not its own."""

from __future__ import annotations

import pytest

from abuse.app_support import place
from cloche.apps.bundle import bundle_of
from cloche.apps.hostnames import host_names
from cloche.apps.manifest import Manifest
from cloche.apps.open import RESERVED
from cloche.apps.routing import AppName

SERVER = ["127.0.0.1", "localhost", "*.localhost", "10", "1.2.3.0x7f", "192.168.1.9", "*.0.0.1"]
SERVER += ["cloche.example", "cloche.given.example", "*.given.example", "*.example"]


NAMES = host_names(
    "localhost",
    listed=("*.given.example", "one.example", "acme=shop.acme.example"),
    own=("cloche.example", "cloche.given.example"),
)


@pytest.fixture(scope="module")
def world():
    """A server with one app of its own tenant and one of another."""
    with place(NAMES) as found:
        found.other = found.new_key("app", tenant="acme")
        found.deploy(name="shop", code="export default () => new Response('shop')")
        found.deploy(name="shop", code="export default () => new Response('acme')", key=found.other)
        yield found


@pytest.mark.parametrize("host", SERVER)
def test_names_of_the_server(world, host):
    """No app gets a name by which the server itself is asked, not even by the key of its owner."""
    refused = world.deploy(name="evil", hosts=[host], expected=409)
    assert refused["code"] == "APP_ROUTE"
    assert world.get("/healthz").status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"hosts": ["one.example"]},
        {"hosts": ["a.given.example", "*.b.given.example"]},
        {"paths": ["/login"]},
    ],
)
def test_names_of_nobody_yet(world, claims):
    """A key that may deploy alone does not get what leads to no app yet; an admin key does."""
    key = world.new_key("app")
    assert world.deploy(name="evil", key=key, expected=409, **claims)["code"] == "APP_ROUTE"
    world.deploy(name="claimer", **claims)
    world.deploy(name="claimer", key=key, **claims)  # what it has it keeps
    world.ask("DELETE", "/v1/apps/claimer", key=key)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("console.example.org", "does not list it"),
        ("given.example", "does not list it"),
        ("xgiven.example", "does not list it"),
        ("x.one.example", "does not list it"),
        ("*.one.example", "does not list it"),
        ("shop.acme.example", "does not list it"),
        ("x.acme.localhost", "where the apps of a tenant acme answer"),
        ("*.acme.localhost", "where the apps of a tenant acme answer"),
        ("*.shop.localhost", "an app shop has shop.localhost alone"),
        ("*.nobody.localhost", "where the apps of a tenant nobody answer"),
    ],
)
def test_names_that_nobody_gave(world, host, says):
    """Not even an admin key of the server's own tenant gets a name that is not listed for it."""
    refused = world.deploy(name="evil", hosts=[host], expected=409)
    assert refused["code"] == "APP_ROUTE"
    assert says in refused["message"]


def test_names_of_a_tenant(world):
    """A tenant has what is listed for it, by its admin key, and no other does."""
    claims = {"hosts": ["shop.acme.example", "*.deep.acme.localhost"]}
    assert world.deploy(name="far", key=world.other, expected=409, **claims)["code"] == "APP_ROUTE"
    admin = world.new_key("admin", tenant="acme")
    world.deploy(name="far", key=admin, code="export default () => new Response('far')", **claims)
    for host in ("shop.acme.example", "a.b.deep.acme.localhost"):
        assert world.get("/", host=host).body == b"far"
    third = world.new_key("admin", tenant="third")
    assert world.deploy(key=third, hosts=["shop.acme.example"], expected=409)["code"] == "APP_ROUTE"
    world.ask("DELETE", "/v1/apps/far", key=admin)


def test_what_was_got_before(world):
    """A name that is the server's leads to the server, though an app got it once."""
    name = AppName(tenant="default", name="old")
    bundle = bundle_of({"main.js": b"export default () => new Response('old')"}, world.limits)
    manifest = Manifest(name="old", main="main.js", language="javascript")
    version = world.apps.registry.keep(name, bundle, who="ann")
    world.apps.registry.deploy(
        name,
        version,
        manifest,
        who="ann",
        hosts=("cloche.example", "a.test"),
        prefixes=("/apps/o",),
    )
    world.server.apps.refresh()
    assert world.get("/", host="a.test").body == b"old"
    assert world.get("/healthz", host="cloche.example:8787").document["status"] == "ok"
    assert world.get("/apps/o", host="cloche.example").body == b"old"
    world.ask("DELETE", "/v1/apps/old", key=world.key)


@pytest.mark.parametrize(
    "claims",
    [
        {"hosts": ["shop.localhost"]},
        {"hosts": ["x.localhost"]},
        {"hosts": ["*.localhost"]},
        {"hosts": ["xacme.localhost"]},
        {"hosts": ["acme.localhost"]},
        {"hosts": ["example.org"]},
        {"hosts": ["x.acme.localhost."]},
        {"paths": ["/x"]},
        {"paths": ["/apps/shop"]},
        {"paths": ["/apps/~other/x"]},
        {"paths": ["/console"]},
    ],
)
def test_tenants(world, claims):
    """An app of a tenant answers below its tenant's name and nowhere else."""
    answer = world.deploy(name="evil", key=world.other, expected=_status(claims), **claims)
    assert answer["code"] in ("APP_ROUTE", "APP_MANIFEST")
    assert world.get("/", host="shop.localhost").body == b"shop"


def _status(claims):
    return 422 if claims.get("hosts") == ["x.acme.localhost."] else 409


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/x",
        "/console",
        "/mcp",
        "/metrics",
        "/docs/",
        "/apps",
        "/apps/x",
        "/.well-known/a",
    ],
)
def test_paths_of_the_server(world, path):
    """Nor does an app get a path that the server answers."""
    assert world.deploy(name="evil", paths=[path], expected=409)["code"] == "APP_ROUTE"


def test_every_path_of_the_server_is_reserved(world):
    """What the server answers can be no app's, whatever is added to it."""
    firsts = {f"/{each.template.split('/')[1]}" for each in world.server.app.router.routes}
    assert firsts - {"/"} <= set(RESERVED)


@pytest.mark.parametrize(
    "path", ["", "/..", "/../v1", "/a/../../v1", "//v1", "/%76%31", "/v1%2f", "/a?b"]
)
def test_crooked_prefixes(world, path):
    """A prefix that could be read as another one is no prefix."""
    answer = world.deploy(name="evil", paths=[path], expected=422)
    assert answer["code"] == "APP_MANIFEST"


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("shop.localhost", b"shop"),
        ("SHOP.LocalHost:8787", b"shop"),
        ("shop.localhost.", b"shop"),
        ("shop.acme.localhost", b"acme"),
    ],
)
def test_one_name_in_every_spelling(world, host, answer):
    """Case, port and a dot at the end make no other name."""
    assert world.get("/", host=host).body == answer


@pytest.mark.parametrize(
    "host",
    [
        "evil@shop.localhost",
        "shop.localhost@evil",
        "shop.localhost, shop.acme.localhost",
        "shop.localhost/x",
        "[shop.localhost]",
        "[::1]",
        "[::ffff:127.0.0.1]:8787",
        "shop%2elocalhost",
        "shop.localhost\\.acme.localhost",
        "shop.localhost:80:80",
        "shop.localhost:x",
        "",
        "acme.localhost",
        "x.shop.localhost",
        ".localhost",
        "*.localhost",
        "\uff53hop.localhost".encode().decode("latin-1"),
    ],
)
def test_no_name(world, host):
    """What only looks like the name of an app leads to none, or is refused."""
    answer = world.get("/", host=host)
    assert answer.body not in (b"shop", b"acme")
    assert answer.status in (303, 400, 404)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("http://shop.localhost/a?b", "http://shop.localhost/a?b"),
        ("http://user@shop.localhost/a", "http://shop.localhost/a"),
        ("http://shop.localhost", "http://shop.localhost/"),
        ("http://shop.localhost?q", "http://shop.localhost/?q"),
        ("http://127.0.0.1:8787/apps/echo/a?b=/c", "http://127.0.0.1:8787/a?b=/c"),
    ],
)
def test_absolute_targets(world, target, url):
    """The target says whom a request is for, not the field beside it (RFC 9112 section 3.2.2)."""
    world.deploy(name="echo")
    world.deploy(name="shop")
    seen = world.get(target, host="shop.acme.localhost").document
    assert seen["url"] == url
    assert "shop.acme.localhost" not in str(seen["headers"])
    world.deploy(name="shop", code="export default () => new Response('shop')")
