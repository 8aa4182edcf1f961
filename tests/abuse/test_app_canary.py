"""Attack: a client chooses the version that answers it, or a share is none."""

from __future__ import annotations

import pytest

from abuse.app_support import packed, place

CODE = "export default () => new Response('N')"


@pytest.fixture(scope="module")
def world():
    """A server with an app and its canary."""
    with place() as found:
        found.deploy(code=CODE.replace("N", "one"))
        answer = canary(found, "50")
        assert answer.status == 201, answer.body
        yield found


def canary(world, share):
    """Deploy for a share of the clients."""
    return world.ask(
        "POST",
        f"/v1/apps/shop/versions?canary={share}",
        key=world.key,
        fields=[("content-type", b"application/zip")],
        body=packed(CODE.replace("N", "two"), name="shop"),
    )


@pytest.mark.parametrize(
    "share", ["0", "100", "-1", "0x10", "50%25", "abc", "", "99999999999999999"]
)
def test_no_share(world, share):
    """A share is 1 to 99; what is none changes nothing."""
    assert canary(world, share).status in (400, 422)
    assert world.get("/v1/apps/shop", key=world.key).document["share"] == 50


def test_no_choice(world):
    """Nothing that a client sends says which version answers it: its address alone does."""
    first = world.get("/apps/shop/").body
    for name in (
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "cookie",
        "x-client",
        "cf-connecting-ip",
    ):
        for value in (b"10.0.0.1", b"for=10.0.0.2", b"canary=1", b"version=two"):
            answer = world.get("/apps/shop/", fields=[(name, value)])
            assert answer.body == first
    for target in ("/apps/shop/?canary=1", "/apps/shop/?version=two"):
        assert world.get(target).body == first
