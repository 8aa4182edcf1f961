"""Names that a configuration gives to apps; who gets which is attacked in `tests/abuse`."""

from __future__ import annotations

import pytest

from cloche.apps.errors import AppNamesError, AppRouteError
from cloche.apps.hostnames import host_names, is_host_name
from cloche.apps.routing import AppName

SHOP = AppName(tenant="default", name="shop")


def test_what_is_configured():
    """Names are given to the tenant that is named, else to the server's own."""
    names = host_names(
        "apps.example.org",
        listed=("Shop.Example.", "acme=a.example", "acme=*.b.example"),
        own=("cloche.example.org",),
    )
    assert names.listed == {"default": ("shop.example",), "acme": ("a.example", "*.b.example")}
    assert names.of(SHOP) == "shop.apps.example.org"
    assert names.of(AppName(tenant="acme", name="shop")) == "shop.acme.apps.example.org"
    assert names.is_own("CLOCHE.example.org.:443")
    assert not names.is_own("x.cloche.example.org")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("shop.apps.example.org", True),
        ("Any.Acme.apps.example.org.:443", True),
        ("x.b.example", True),
        ("apps.example.org", False),
        ("b.example", False),
        ("cloche.apps.example.org:443", False),
        ("127.0.0.1:80", False),
        ("", False),
    ],
)
def test_names_that_are_for_apps(host, expected):
    """Those below the domain or of the list, deployed or not, but for the server's own."""
    own = ("cloche.apps.example.org",)
    names = host_names("apps.example.org", listed=("acme=*.b.example",), own=own)
    assert names.is_for_apps(host) is expected


@pytest.mark.parametrize(
    ("listed", "own", "says"),
    [
        (("a b",), (), "is no host name"),
        (("a.*.b",), (), "is no host name"),
        ((), ("-",), "is no host name"),
        ((), ("*.example.org",), "name each of the server"),
        (("a.example",), ("a.example",), "is a name of the server itself"),
        (("localhost",), (), "names follow from tenants and apps"),
        (("acme=x.localhost",), (), "names follow from tenants and apps"),
        (("*.shop.localhost",), (), "names follow from tenants and apps"),
    ],
)
def test_what_cannot_be_configured(listed, own, says):
    """It is said which name is wrong, and why."""
    with pytest.raises(AppNamesError, match=says):
        host_names("localhost", listed=listed, own=own)


def test_by_hand():
    """Who runs the server gives a name by deploying with it, but none of the server or a tenant."""
    names = host_names("localhost", own=("cloche.example",))
    for host in ("a.example", "*.a.example"):
        names.check(SHOP, host, "operator", is_held=False)
        with pytest.raises(AppRouteError, match="--app-hostnames"):
            names.check(SHOP, host, "admin", is_held=False)
        names.check(SHOP, host, "deployer", is_held=True)
    for host in ("cloche.example", "*.example", "x.acme.localhost"):
        with pytest.raises(AppRouteError):
            names.check(SHOP, host, "operator", is_held=True)


@pytest.mark.parametrize(
    "host",
    ["apps.example.org", "*.apps.example.org", "example.org", "*.example.org", "*.org", "org"],
)
def test_nothing_above_the_apps(host):
    """The domain of apps, what is above it, and wildcards over either are for no app."""
    names = host_names("apps.example.org")
    with pytest.raises(AppRouteError, match="is a name of the server itself"):
        names.check(SHOP, host, "operator", is_held=True)
    names.check(SHOP, "x.example.org", "operator", is_held=False)


def test_names():
    """Host names are lowercase, of letters, digits and hyphens, within their length."""
    assert is_host_name("*.a-1.example")
    for text in ("", "A", "a..b", "-a", "a.", "*", "*a.b", "a." * 126 + "aa"):
        assert not is_host_name(text)
