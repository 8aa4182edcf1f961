"""Attack: two change the same app at the same time."""

from __future__ import annotations

import contextlib
import threading

import pytest

from abuse.app_support import place
from cloche.apps.bundle import bundle_of
from cloche.apps.errors import AppError, AppVersionError
from cloche.apps.routing import AppName

SHOP = AppName(tenant="default", name="shop")
CODE = "export default () => new Response('N')"


@pytest.fixture
def world():
    """A server of its own."""
    with place() as found:
        yield found


def files(world, text):
    """Return a version that answers with a text."""
    return bundle_of({"main.js": CODE.replace("N", text).encode()}, world.limits)


@pytest.mark.parametrize("step", ["deploy", "has_version", "keep"])
def test_removed_while_it_is_deployed(world, step, monkeypatch):
    """An app that is removed while it is deployed is there afterwards, whole, or is gone."""
    registry = world.apps.registry
    world.apps.deploy(SHOP, files(world, "one"), who="ann")
    real, is_first = getattr(registry, step), []

    def meanwhile(*args, **options):
        found = real(*args, **options)
        if not is_first:
            is_first.append(step)
            world.apps.remove(SHOP)
        return found

    monkeypatch.setattr(registry, step, meanwhile)
    with contextlib.suppress(AppVersionError):
        world.apps.deploy(SHOP, files(world, "two"), who="bob")
    monkeypatch.undo()
    world.server.apps.refresh()
    answer = world.get("/", host="shop.localhost")
    known = "shop" in registry.apps("default")
    assert (answer.status, answer.body) == (200, b"two") if known else answer.status == 404


def test_deployed_while_it_is_removed(world, monkeypatch):
    """Nor does a removal take away the files of what was deployed behind it."""
    registry = world.apps.registry
    world.apps.deploy(SHOP, files(world, "one"), who="ann")
    real, done = registry._drop, []

    def meanwhile(name, version_id):
        if not done:
            done.append(1)
            monkeypatch.setattr(registry, "_drop", real)
            kept = registry.keep(SHOP, files(world, "one"), who="bob")
            manifest = world.apps.versions.get(SHOP, kept.id, {}).manifest
            hosts, prefixes = ("shop.localhost",), ("/apps/shop",)
            registry.deploy(SHOP, kept, manifest, who="bob", hosts=hosts, prefixes=prefixes)
            assert registry.has_version(SHOP, kept.id)
        real(name, version_id)

    monkeypatch.setattr(registry, "_drop", meanwhile)
    registry.remove(SHOP)
    assert registry.bundle(SHOP, registry.app(SHOP).live) == files(world, "one")


def test_two_deployments(world):
    """Of deployments at the same time one answers, all of its files and none of another's."""
    problems = []

    def deploy(number):
        try:
            for turn in range(3):
                world.apps.deploy(SHOP, files(world, f"{number}-{turn}"), who="ann")
        except AppError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=deploy, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert problems == []
    world.server.apps.refresh()
    app = world.apps.registry.app(SHOP)
    body = world.get("/", host="shop.localhost").body
    assert world.apps.registry.bundle(SHOP, app.live) == files(world, body.decode())
    assert app.action_count == 9


def test_no_such_version(world):
    """What names no version leads back to none."""
    for text in ("one", "two"):
        world.apps.deploy(SHOP, files(world, text), who="ann")
    for wrong in ("v", "0", "-1", "v99", "../x", "' OR 1=1", "\u0661", "%"):
        with pytest.raises(AppVersionError):
            world.apps.rollback(SHOP, who="ann", to=wrong)


def test_the_same_files_with_another_environment(world):
    """Versions that differ by their environment alone share no state that was evaluated."""
    code = b"const color = process.env.COLOR; export default () => new Response(color ?? 'none')"
    bundle = bundle_of({"main.js": code}, world.limits)
    world.apps.deploy(SHOP, bundle, who="ann", env={"COLOR": "red"})
    world.server.apps.refresh()
    first = world.get("/", host="shop.localhost").body
    world.apps.set_env(SHOP, {"COLOR": "blue"}, who="ann")
    world.server.apps.refresh()
    second = world.get("/", host="shop.localhost").body
    assert first in (b"red", b"none")
    assert second in (b"blue", b"none")
    other = AppName(tenant="acme", name="shop")
    world.apps.deploy(other, bundle, who="eve")
    world.server.apps.refresh()
    assert b"red" not in world.get("/", host="shop.acme.localhost").body
    assert b"blue" not in world.get("/", host="shop.acme.localhost").body
