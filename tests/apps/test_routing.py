"""Which app and which version a request is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.apps.routing import AppName, Found, Routes, Traffic, host_name

SHOP, BLOG, WILD = (AppName(tenant="default", name=name) for name in ("shop", "blog", "wild"))
ROUTES = Routes(
    {"shop.example.org": SHOP, "*.example.org": WILD, "*.deep.example.org": BLOG},
    {"/shop": SHOP, "/shop/blog": BLOG},
)


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("shop.example.org", "/", Found(app=SHOP)),
        ("SHOP.example.org.:8787", "/shop/blog", Found(app=SHOP)),
        ("x.example.org", "/", Found(app=WILD)),
        ("a.b.example.org", "/", Found(app=WILD)),
        ("a.deep.example.org", "/", Found(app=BLOG)),
        ("deep.example.org", "/", Found(app=WILD)),
        ("example.org", "/", None),
        ("localhost", "/shop", Found(app=SHOP, prefix="/shop")),
        ("localhost", "/shop/", Found(app=SHOP, prefix="/shop")),
        ("localhost", "/shop/a/b", Found(app=SHOP, prefix="/shop")),
        ("localhost", "/shop/blog/a", Found(app=BLOG, prefix="/shop/blog")),
        ("localhost", "/shop/blogs", Found(app=SHOP, prefix="/shop")),
        ("localhost", "/shopping", None),
        ("localhost", "/", None),
        ("localhost", "", None),
        ("localhost", "//", None),
        ("[::1]:80", "/", None),
        ("", "/", None),
    ],
)
def test_finding(host, path, expected):
    """Hosts come before prefixes, what is longer before what is shorter, segments are whole."""
    assert ROUTES.find(host, path) == expected


def test_host_names():
    """Ports, case and the dot at the end are no part of a name."""
    assert host_name("A.b:1") == "a.b"
    assert host_name("a.") == "a"
    assert host_name("[::1]:8") == "[::1]"


@given(st.text(alphabet="ab/.", max_size=12), st.text(alphabet="ab.:[]", max_size=12))
def test_every_request_leads_somewhere_or_nowhere(path, host):
    """Whatever is asked, the prefix that is found begins the path, at the end of a segment."""
    found = ROUTES.find(host, "/" + path)
    if found is not None and found.prefix:
        rest = ("/" + path)[len(found.prefix) :]
        assert ("/" + path).startswith(found.prefix)
        assert rest[:1] in ("", "/")


def test_one_version():
    """Without a canary everybody gets the live one."""
    assert Traffic(live="a").version_for("x") == "a"
    assert Traffic(live="a", canary="b", share=0).version_for("x") == "a"
    assert Traffic(live="a", canary="b", share=100).version_for("x") == "b"


def test_shares():
    """About so many clients get the canary, always the same, and more with a larger share."""
    clients = [f"192.0.2.{number}" for number in range(2000)]
    few = {
        each for each in clients if Traffic(live="a", canary="b", share=10).version_for(each) == "b"
    }
    many = {
        each for each in clients if Traffic(live="a", canary="b", share=40).version_for(each) == "b"
    }
    assert 140 < len(few) < 260
    assert 700 < len(many) < 900
    assert few < many


def test_the_smallest_and_the_largest_share():
    """One of a hundred is not nobody, and ninety-nine are not all."""
    clients = [f"192.0.2.{number}" for number in range(2000)]
    found = [
        sum(Traffic(live="a", canary="b", share=share).version_for(each) == "b" for each in clients)
        for share in (1, 99)
    ]
    assert 5 < found[0] < 35
    assert 1965 < found[1] < 1995
