"""Attack: the evaluated state of an app is changed where it is kept."""

from __future__ import annotations

import os

import pytest

from abuse.app_support import place
from cloche.apps.bundle import bundle_of
from cloche.apps.open import open_apps
from cloche.apps.routing import AppName
from cloche.store.rows import Document

SHOP = AppName(tenant="default", name="shop")
EVIL = AppName(tenant="acme", name="evil")
CODE = "const made = 'N'; export default () => new Response(made)"


@pytest.fixture
def world():
    """A server of its own, with two apps."""
    with place() as found:
        for name, text in ((SHOP, "good"), (EVIL, "evil")):
            bundle = bundle_of({"main.js": CODE.replace("N", text).encode()}, found.limits)
            found.apps.deploy(name, bundle, who="ann")
        yield found


def image(world, name):
    """Return the document that names the kept state of an app."""
    (kept,) = world.store.documents.list(f"apps.images.{name}")
    return kept


def again(world):
    """Return what the app answers from a process that has nothing in memory."""
    apps = open_apps(world.store, world.limits)
    app = apps.registry.app(SHOP)
    built = apps.versions.get(SHOP, app.live, app.env).built
    apps.host.close()
    return built


def replaced(world, content):
    """Put something else in place of the kept state."""
    kept = image(world, SHOP)
    sha256 = world.store.blobs.put(content, now_ns=0).sha256
    world.store.documents.put(
        Document(kind=kept.kind, name=kept.name, data=sha256.encode(), revision=kept.revision + 1)
    )


@pytest.mark.parametrize("how", ["a bit", "a cut", "noise", "nothing", "another app's", "no blob"])
def test_a_changed_state_is_made_again(world, how):
    """A state that was not signed for this app is not opened: the app is evaluated again."""
    good = world.store.blobs.get(image(world, SHOP).data.decode())
    middle = len(good) // 2
    content = {
        "a bit": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "a cut": good[:-1],
        "noise": os.urandom(4096),
        "nothing": b"",
        "another app's": world.store.blobs.get(image(world, EVIL).data.decode()),
    }
    if how == "no blob":
        kept = image(world, SHOP)
        world.store.documents.put(
            Document(kind=kept.kind, name=kept.name, data=b"0" * 64, revision=kept.revision + 1)
        )
    else:
        replaced(world, content[how])
    assert again(world) is not None
    newest = world.store.blobs.get(image(world, SHOP).data.decode())
    assert newest != content.get(how), "what was changed is not kept"


def test_with_another_key(world, monkeypatch):
    """A state that another machine signed is made again, not believed."""
    kept = image(world, SHOP)
    monkeypatch.setattr("cloche.apps.open.load_key", lambda: bytes(32))
    again(world)
    assert image(world, SHOP).revision == kept.revision + 1
