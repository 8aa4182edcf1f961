"""Attack: an app reads or sets the cookies of the server, or of another app."""

from __future__ import annotations

import pytest

from abuse.app_support import ECHO, place
from cloche.apps.hostnames import HostNames

SETS = "export default () => new Response('x', { headers: { 'set-cookie': `COOKIE` } });"


@pytest.fixture(scope="module")
def world():
    """A server that the tests of this module share."""
    with place() as found:
        yield found


@pytest.mark.parametrize(
    "cookie",
    [
        b"__Host-cloche=token",
        b"a=1; __Host-cloche=token; b=2",
        b"a=1;__Host-cloche=token",
        b"a=1;\t__HOST-CLOCHE=token",
        b"__host-cloche-csrf=token",
        b'a="; __Host-cloche=token; "',
        b"; ;__Host-cloche=token",
        b"  __Host-cloche = token",
    ],
)
@pytest.mark.parametrize("where", [("127.0.0.1", "/apps/shop/"), ("shop.localhost", "/")])
def test_none_is_heard(world, cookie, where):
    """In whatever way the server's cookies come, an app does not see them, and sees its own."""
    world.deploy(code=ECHO)
    host, path = where
    twice = [("cookie", cookie), ("cookie", b"own=1")]
    heard = world.get(path, host=host, fields=twice).document["headers"]
    assert "token" not in str(heard)
    assert "own=1" in str(heard)


@pytest.mark.parametrize(
    "cookie",
    [
        "__Host-cloche=x; Path=/; Secure",
        "\t__Host-cloche=x; Path=/; Secure",
        "__HOST-CLOCHE=x; Path=/; Secure",
        " __host-cloche-csrf = x; Path=/; Secure",
        "=__Host-cloche=x; Path=/",
        "__Host-cloche",
        "; Path=/",
        "",
    ],
)
def test_none_is_set(world, cookie):
    """A cookie with the server's name, or with none, is not set on the server's host."""
    world.deploy(code=SETS.replace("COOKIE", cookie))
    assert world.get("/apps/shop/").all("set-cookie") == []


@pytest.mark.parametrize(
    ("cookie", "path"),
    [
        ("a=1", "/apps/shop"),
        ("a=1; Path=/", "/apps/shop"),
        ("a=1; path = /console ", "/apps/shop/console"),
        ("a=1; Path=/apps/shop/x", "/apps/shop/x"),
        ("a=1; Path=/apps/shopping", "/apps/shop/apps/shopping"),
        ("a=1; Path=/x; PATH=/; Path=", "/apps/shop"),
        ("a=1; Path=console", "/apps/shop"),
        ("a=1; Path=/apps/shop/../../console", "/apps/shop/../../console"),
        ("a=1; Domain=localhost; HttpOnly", "/apps/shop"),
        ("a=1; domain=.0.0.1; Domain=", "/apps/shop"),
    ],
)
def test_below_its_prefix(world, cookie, path):
    """On the server's host a cookie goes to the app's own paths alone, never to the console's."""
    world.deploy(code=SETS.replace("COOKIE", cookie))
    (value,) = world.get("/apps/shop/").all("set-cookie")
    attributes = [part.strip().lower() for part in value.split(";")[1:]]
    assert [each for each in attributes if each.startswith("path")] == [f"path={path}"]
    assert [each for each in attributes if each.startswith("domain")] == []


@pytest.mark.parametrize(
    ("domain", "is_kept"),
    [
        ("localhost", False),
        (".localhost", False),
        ("LOCALHOST.", False),
        ("other.localhost", False),
        ("shop.localhost", True),
        ("example.org", False),
        ("shop.example.org", True),
        ("x.shop.example.org", False),
    ],
)
def test_domains(domain, is_kept):
    """On its own host name a cookie goes to the app's own hosts, not to those of others."""
    main = SETS.replace("COOKIE", f"a=1; Domain={domain}; Secure")
    with place(HostNames(listed={"default": ("*.shop.example.org",)})) as world:
        world.deploy(code=main, hosts=["*.shop.example.org"])
        (value,) = world.get("/", host="shop.localhost").all("set-cookie")
    assert ("domain=" in value.lower()) is is_kept
    assert value.endswith("Secure")
