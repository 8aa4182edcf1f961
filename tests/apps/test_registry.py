"""What is deployed, which version answers, and what was before: in memory and in SQLite."""

from __future__ import annotations

import threading

import pytest

from cloche.apps.bundle import bundle_of
from cloche.apps.errors import (
    AppEnvironmentError,
    AppRouteError,
    AppUnknownError,
    AppVersionError,
    NoCanaryError,
    TooManyAppsError,
)
from cloche.apps.manifest import Manifest
from cloche.apps.registry import Registry
from cloche.apps.routing import AppName, Found
from cloche.limits import Limits
from cloche.store.open import open_store

SHOP, BLOG = AppName(tenant="default", name="shop"), AppName(tenant="default", name="blog")
OTHER = AppName(tenant="other", name="shop")
DAY_NS = 86_400 * 10**9


class Clock:
    """Moves by a millisecond each time it is asked."""

    def __init__(self):
        self.now_ns = 10**18

    def __call__(self):
        """Return the time."""
        self.now_ns += 10**6
        return self.now_ns


@pytest.fixture(params=["memory:", "sqlite"])
def store(request, tmp_path):
    """An empty store."""
    url = request.param if request.param == "memory:" else str(tmp_path / "s.db")
    found = open_store(url)
    yield found
    found.close()


@pytest.fixture
def registry(store):
    """A registry with small bounds."""
    limits = Limits().replace({"apps": {"version_count_max": 3, "action_count_max": 10}})
    return Registry(store, limits, now_ns=Clock())


def deployed(registry, text, name=SHOP, *, manifest=None, hosts=None, prefixes=(), **options):
    """Deploy a version that differs by its text; return its id."""
    bundle = bundle_of({"main.js": text.encode(), "a/b.txt": b"same"}, Limits())
    version = registry.keep(name, bundle, who="ann")
    registry.deploy(
        name,
        version,
        manifest or Manifest(name=name.name, main="main.js"),
        who="ann",
        hosts=(f"{name.name}.{name.tenant}.test",) if hosts is None else hosts,
        prefixes=prefixes,
        **options,
    )
    return version.id


def test_deploying(registry):
    """The newest version answers, and its files are what was deployed."""
    one = deployed(registry, "1")
    two = deployed(registry, "2")
    app = registry.app(SHOP)
    assert (app.live, app.canary) == (two, "")
    assert [version.number for version in registry.versions(SHOP)] == [2, 1]
    assert registry.bundle(SHOP, one).by_path == {"main.js": b"1", "a/b.txt": b"same"}
    _, state = registry.state()
    assert state.routes().find("shop.default.test", "/") == Found(app=SHOP)


def test_the_same_files(registry):
    """Are one version, however often they are deployed."""
    assert deployed(registry, "1") == deployed(registry, "1")
    assert len(registry.versions(SHOP)) == 1


def test_rolling_back(registry):
    """Goes to what answered before, then before that, and to any version that is named."""
    one, two, three = (deployed(registry, text) for text in "123")
    assert registry.rollback(SHOP, who="bob").live == two
    assert registry.rollback(SHOP, who="bob").live == one
    with pytest.raises(AppVersionError, match="has none before it that could answer again"):
        registry.rollback(SHOP, who="bob")
    assert registry.rollback(SHOP, who="bob", to="v3").live == three
    assert registry.rollback(SHOP, who="bob", to=one[:12]).live == one
    done = registry.actions(SHOP)
    assert [each.action for each in done[:2]] == ["rollback", "rollback"]
    assert {each.who for each in done} == {"ann", "bob"}


def test_wrong_versions(registry):
    """What names no version, or several, changes nothing."""
    deployed(registry, "1")
    for wanted in ("v9", "nothing", "-1"):
        with pytest.raises(AppVersionError):
            registry.rollback(SHOP, who="bob", to=wanted)
    assert [each.action for each in registry.actions(SHOP)] == ["deploy"]


def test_a_canary(registry):
    """Answers a share, is promoted or taken back, and a plain deployment ends it."""
    one = deployed(registry, "1")
    two = deployed(registry, "2", canary_share=10)
    app = registry.app(SHOP)
    assert (app.live, app.canary, app.share) == (one, two, 10)
    assert registry.rollback(SHOP, who="bob").canary == ""
    assert registry.app(SHOP).live == one
    deployed(registry, "2", canary_share=50)
    promoted = registry.promote(SHOP, who="bob")
    assert (promoted.live, promoted.canary, promoted.share) == (two, "", 0)
    expected = (
        "the app 'shop' has no canary; deploy one with `cloche app deploy FOLDER --canary SHARE`, "
        "or let a version that is kept answer with `cloche app rollback NAME --to VERSION`"
    )
    with pytest.raises(NoCanaryError) as caught:
        registry.promote(SHOP, who="bob")
    assert caught.value.message == expected
    assert registry.app(SHOP) == promoted
    deployed(registry, "1", canary_share=5)
    three = deployed(registry, "3")
    assert (registry.app(SHOP).live, registry.app(SHOP).canary) == (three, "")


def test_routes_lead_to_one_app(registry):
    """A name that another app has is refused, and nothing of the deployment is there."""
    deployed(registry, "1", hosts=("a.test",), prefixes=("/a",))
    for options in ({"hosts": ("b.test", "a.test")}, {"hosts": (), "prefixes": ("/a",)}):
        with pytest.raises(AppRouteError) as caught:
            deployed(registry, "1", BLOG, **options)
        assert caught.value.fields["route"] in ("a.test", "/a")
    assert list(registry.apps("default")) == ["shop"]
    deployed(registry, "2", hosts=("c.test",))
    deployed(registry, "1", BLOG, hosts=("a.test",), prefixes=("/a",))
    assert list(registry.apps("default")) == ["blog", "shop"]


def test_tenants(registry):
    """Two tenants have an app of one name each, and see their own alone."""
    deployed(registry, "1")
    deployed(registry, "2", OTHER)
    assert registry.app(SHOP).live != registry.app(OTHER).live
    assert list(registry.apps("other")) == ["shop"]
    assert registry.apps("oth") == {}
    registry.remove(OTHER)
    with pytest.raises(AppUnknownError):
        registry.app(OTHER)
    assert registry.bundle(SHOP, registry.app(SHOP).live)


def test_the_environment(registry):
    """What has no default must be given once; it stays, changes and goes, and no log has values."""
    manifest = Manifest(name="shop", main="main.js", env=(("KEY", None), ("COLOR", "red")))
    with pytest.raises(AppEnvironmentError, match="KEY"):
        deployed(registry, "1", manifest=manifest)
    with pytest.raises(AppUnknownError):
        registry.app(SHOP)
    deployed(registry, "1", manifest=manifest, env={"KEY": "hush"})
    deployed(registry, "2", manifest=manifest)
    assert registry.app(SHOP).env == {"KEY": "hush"}
    registry.set_env(SHOP, {"COLOR": "blue", "KEY": None}, who="bob")
    assert registry.app(SHOP).env == {"COLOR": "blue"}
    assert "hush" not in repr(registry.actions(SHOP))
    assert registry.actions(SHOP)[0].detail == "COLOR, KEY"


def test_stopping(registry):
    """A stopped app stays what it is, and answers again when it is told to."""
    deployed(registry, "1")
    assert registry.stop(SHOP, who="bob").stopped
    assert not registry.stop(SHOP, who="bob", stopped=False).stopped
    registry.stop(SHOP, who="bob")
    deployed(registry, "2")
    assert not registry.app(SHOP).stopped


def test_old_versions_go(registry, store):
    """Beyond the bound the oldest go with their files, but never one that answers."""
    first = deployed(registry, "0")
    for number in range(1, 4):
        deployed(registry, str(number))
    registry.rollback(SHOP, who="bob", to="v2")
    two = registry.app(SHOP).live
    for number in range(4, 9):
        deployed(registry, str(number), canary_share=1)
    kept = registry.versions(SHOP)
    assert [version.number for version in kept] == [9, 8, 7, 2]
    assert registry.bundle(SHOP, two).by_path["main.js"] == b"1"
    with pytest.raises(AppVersionError, match="not kept"):
        registry.bundle(SHOP, first)
    store.blobs.collect(before_ns=10**18 + DAY_NS)
    assert registry.bundle(SHOP, two).by_path == {"main.js": b"1", "a/b.txt": b"same"}
    registry.remove(SHOP)
    assert store.blobs.collect(before_ns=10**18 + DAY_NS) > 0


def test_the_log_of_actions_is_bounded(registry):
    """The oldest actions go."""
    deployed(registry, "1")
    for number in range(30):
        registry.set_env(SHOP, {"N": str(number)}, who="bob")
    ordinals = [each.ordinal for each in registry.actions(SHOP)]
    assert ordinals == sorted(ordinals, reverse=True)
    assert len(ordinals) == 10


def test_too_many_apps(store):
    """A server has so many and no more."""
    limits = Limits().replace({"apps": {"app_count_max": 1}})
    registry = Registry(store, limits, now_ns=Clock())
    deployed(registry, "1")
    deployed(registry, "2")
    with pytest.raises(TooManyAppsError):
        deployed(registry, "1", BLOG)


def test_many_at_once(registry):
    """Of changes at the same time none is lost."""
    deployed(registry, "1")
    errors = []

    def change(number):
        try:
            registry.set_env(SHOP, {f"V{number}": "x"}, who="bob")
            deployed(registry, str(number), AppName(tenant="default", name=f"app{number}"))
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(registry.app(SHOP).env) == 8
    assert len(registry.apps("default")) == 9
