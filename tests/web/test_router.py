"""Which route answers: precedence, parameters, and the answers where none does."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.errors import (
    BadRequestError,
    MethodNotAllowedError,
    NotFoundError,
    NotImplementedMethodError,
    RouteError,
)
from cloche.web.router import Router

TEMPLATES = ["/users/me", "/users/:id", "/users/*rest", "/:kind/me", "/*all", "/users/:id/x"]


def build(templates, method="GET"):
    """Return a router whose targets are the templates."""
    router = Router()
    for template in templates:
        router.add(method, template, template)
    return router


@pytest.mark.parametrize("templates", list(permutations(TEMPLATES))[::7])
def test_precedence(templates):
    """Fixed beats parameter beats wildcard, segment by segment, whatever came first."""
    router = build(templates)
    expected = {
        "/users/me": ("/users/me", {}),
        "/users/7": ("/users/:id", {"id": "7"}),
        "/users/7/x": ("/users/:id/x", {"id": "7"}),
        "/users/me/x": ("/users/:id/x", {"id": "me"}),
        "/users/7/y": ("/users/*rest", {"rest": "7/y"}),
        "/cats/me": ("/:kind/me", {"kind": "cats"}),
        "/cats/you": ("/*all", {"all": "cats/you"}),
        "/users/": ("/*all", {"all": "users/"}),
    }
    for path, (template, parameters) in expected.items():
        match = router.find("GET", path)
        assert (match.route.target, match.parameters) == (template, parameters), path


def test_nothing_matches():
    """Empty segments are no parameter, and a path that ends in a slash is another path."""
    router = build(["/a/:b", "/c/*d", "/e"])
    for path in ("/", "/a", "/a/", "/a//", "/c", "/c/", "/e/", "/f", "*", "/A/b"):
        with pytest.raises(NotFoundError):
            router.find("GET", path)


@pytest.mark.parametrize("rest", ["", "/", "/etc/passwd", "//etc", "%2Fetc", "%2Fetc/passwd"])
def test_a_wildcard_is_no_absolute_path(rest):
    """Its value never begins with a slash: a folder joined with it would be left behind."""
    with pytest.raises(NotFoundError):
        build(["/files/*path"]).find("GET", f"/files/{rest}")
    inside = build(["/files/*path", "/*all"]).find("GET", "/files/a//b/")
    assert inside.parameters == {"path": "a//b/"}


def test_decoding():
    """Segments are compared and given decoded; an encoded slash is data of a parameter alone."""
    router = build(["/a b/:c", "/w/*d"])
    assert router.find("GET", "/a%20b/x%2Fy").parameters == {"c": "x/y"}
    assert router.find("GET", "/w/x%20y/z").parameters == {"d": "x y/z"}
    with pytest.raises(NotFoundError):
        router.find("GET", "/w/x%2Fy")
    with pytest.raises(BadRequestError):
        router.find("GET", "/a%20b/%zz")
    assert build(["/a"]).find("GET", "/%61").route.target == "/a"


def test_methods():
    """405 says what is allowed, HEAD is GET, and what nobody answers is 501."""
    router = Router()
    router.add("GET", "/a", "get")
    router.add("PURGE", "/a", "purge")
    router.add("POST", "/a/:b", "post")
    assert router.find("HEAD", "/a").route.target == "get"
    assert router.find("PURGE", "/a").route.target == "purge"
    with pytest.raises(MethodNotAllowedError) as caught:
        router.find("POST", "/a")
    assert caught.value.response_fields() == ((b"allow", b"GET, HEAD, OPTIONS, PURGE"),)
    with pytest.raises(MethodNotAllowedError):
        router.find("PURGE", "/a/b")
    with pytest.raises(NotImplementedMethodError):
        router.find("BREW", "/a")
    with pytest.raises(NotFoundError):
        router.find("POST", "/b")
    assert router.allowed("/a/b") == ["OPTIONS", "POST"]
    assert "PURGE" in router.allowed("*")


@pytest.mark.parametrize(
    ("method", "template"),
    [
        ("GET", "/a/:other"),
        ("GET", "/w/*x"),
        ("GET", "/fixed"),
        ("GET", "a"),
        ("GET", "/:"),
        ("GET", "/:1"),
        ("GET", "/*"),
        ("GET", "/*a/b"),
        ("GET", "/:a/:a"),
        ("GET", "/a/../b"),
        ("GET", "/a?b"),
        ("G T", "/x"),
        ("CONNECT", "/x"),
    ],
)
def test_routes_that_cannot_be_added(method, template):
    """One shape has one route for a method; malformed templates are found when they are added."""
    router = build(["/a/:name", "/w/*d", "/fixed"])
    with pytest.raises(RouteError):
        router.add(method, template, None)
    assert len(router.routes) == 3


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4), st.data())
def test_a_match_is_the_most_specific(segments, data):
    """Among all templates that fit a path, the one with the best segments from the left wins."""
    templates = data.draw(
        st.lists(
            st.lists(st.sampled_from(["a", "b", ":"]), min_size=1, max_size=4).map(tuple),
            min_size=1,
            max_size=12,
            unique=True,
        )
    )
    router = build(
        "/" + "/".join(f":p{index}" if part == ":" else part for index, part in enumerate(template))
        for template in templates
    )
    fitting = [
        template
        for template in templates
        if len(template) == len(segments)
        and all(part in {":", segment} for part, segment in zip(template, segments, strict=True))
    ]
    try:
        found = router.find("GET", "/" + "/".join(segments)).route.target
    except NotFoundError:
        assert not fitting
        return
    best = min(fitting, key=lambda template: [part == ":" for part in template])
    assert [part[:1] == ":" for part in found[1:].split("/")] == [part == ":" for part in best]
