"""Attack: a path that one reads as an app's and another as the server's."""

from __future__ import annotations

import pytest

from abuse.app_support import ECHO, place


@pytest.fixture(scope="module")
def world():
    """A server with an app."""
    with place() as found:
        found.deploy(code=ECHO)
        yield found


CLIMBING = [
    "/apps/shop/../../v1/keys",
    "/apps/shop/..%2f..%2fv1/keys",
    "/apps/shop/%2e%2e/%2e%2e/v1/keys",
    "/apps/shop/%2E./.%2e/v1/keys",
    "/apps/shop//v1/keys",
    "/apps/shop/%2fv1/keys",
    "/apps/shop/..;/v1/keys",
    "/apps/shop/\\..\\..\\v1\\keys",
    "/apps/shop/%5c..%5cv1/keys",
    "/apps/shop/?/../../v1/keys",
    "/apps/shop/%00/v1/keys",
    "/apps/shop/http://127.0.0.1/v1/keys",
]


@pytest.mark.parametrize("target", CLIMBING)
def test_out_of_an_app(world, target):
    """What begins as an app's path is answered by that app, in its sandbox, key or no key."""
    for key in (None, world.key):
        answer = world.get(target, key=key)
        assert b"clk_" not in answer.body.replace(world.key.encode(), b"")
        assert b'"items"' not in answer.body
        assert "sandbox" in answer.all("content-security-policy")[-1]


INTO = [
    "//apps/shop/",
    "/./apps/shop/",
    "/x/../apps/shop/",
    "/%61pps/shop/",
    "/apps%2fshop/",
    "/apps/%73hop/",
    "/APPS/shop/",
    "/apps/SHOP/",
    "/apps/shopping/",
    "/apps/shop;x/",
    "/apps/~default/shop/",
    "/apps/~/shop/",
    "/apps//shop/",
    "/v1/../apps/shop/",
    "*",
    "shop.localhost:80",
]


@pytest.mark.parametrize("target", INTO)
def test_no_way_in_by_another_spelling(world, target):
    """A path that is not spelled as the app's leads to none, and is not made to fit."""
    answer = world.get(target)
    assert answer.status in (400, 404)
    assert answer.all("content-security-policy") == []


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/apps/shop", "/"),
        ("/apps/shop/", "/"),
        ("/apps/shop?x=/v1", "/?x=/v1"),
        ("/apps/shop/a/b?c", "/a/b?c"),
        ("/apps/shop/apps/shop/x", "/apps/shop/x"),
    ],
)
def test_what_the_app_sees(world, target, seen):
    """An app sees its path without the prefix, and nobody else's word for the prefix."""
    forged = [("x-forwarded-prefix", b"/evil")]
    document = world.get(target, fields=forged).document
    assert document["url"].endswith(f":8787{seen}")
    prefixes = [value for name, value in document["headers"] if name == "x-forwarded-prefix"]
    assert prefixes == ["/apps/shop"]
    direct = world.get("/", host="shop.localhost", fields=forged).document
    assert "evil" not in str(direct)


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2fmain.js", "main.js", "cloche.app.json"])
def test_files_that_are_not_static(world, name):
    """Files beside the static folder are nobody's to read, in whatever way they are asked for."""
    world.deploy(
        "site",
        "export default () => new Response('handler')",
        files={"public/a.txt": "a", "secret.txt": "s"},
        static="public",
    )
    for path in (f"/{name}", f"/public/../{name}", f"/x/../{name}", f"/%2e%2e/{name}"):
        answer = world.get(path, host="site.localhost")
        assert answer.body == b"handler" or answer.status in (400, 404)
    assert world.get("/a.txt", host="site.localhost").body == b"a"
