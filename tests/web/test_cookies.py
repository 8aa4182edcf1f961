"""Cookies: read from anything, written only as what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.cookies import parse_cookies, write_cookie
from cloche.web.errors import ResponseError


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], {}),
        (["a=1"], {"a": "1"}),
        (["a=1; b=x=y;c="], {"a": "1", "b": "x=y", "c": ""}),
        (['a="1"; b="'], {"a": "1", "b": '"'}),
        (["a=1; a=2", "a=3; b=4"], {"a": "1", "b": "4"}),
        (["; =x; y; a b=1; ö=2; c=3"], {"c": "3"}),
    ],
)
def test_reading(fields, expected):
    """What is no pair is passed over; the first of a name counts."""
    assert parse_cookies(fields) == expected


def test_cookie_bombs():
    """So many cookies are read and no more."""
    assert len(parse_cookies(["; ".join(f"a{index}=1" for index in range(5000))])) == 100
    assert len(parse_cookies([f"a{index}=1" for index in range(5000)])) == 100


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=4))
def test_reading_never_fails(fields):
    """Any text is some cookies or none."""
    parse_cookies(fields)


def test_writing():
    """The safe attributes are there unless they are taken away."""
    assert write_cookie("a", "1") == b"a=1; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert write_cookie(
        "a",
        "",
        path="/x",
        domain="h",
        max_age_s=0,
        secure=False,
        http_only=False,
        same_site="Strict",
    ) == (b"a=; Path=/x; Domain=h; Max-Age=0; SameSite=Strict")


@pytest.mark.parametrize(
    ("name", "value", "options"),
    [
        ("", "1", {}),
        ("a b", "1", {}),
        ("a=", "1", {}),
        ("a", "1; Domain=x", {}),
        ("a", "1\r\nx: y", {}),
        ("a", '"', {}),
        ("a", "ö", {}),
        ("a", "x" * 4097, {}),
        ("a", "1", {"path": "/;x"}),
        ("a", "1", {"domain": "a\r\n"}),
        ("a", "1", {"secure": False, "same_site": "None"}),
        ("__Secure-a", "1", {"secure": False}),
        ("__Host-a", "1", {"domain": "a"}),
        ("__Host-a", "1", {"path": "/x"}),
    ],
)
def test_what_is_not_written(name, value, options):
    """No character ends a cookie, and a promise of the name is kept."""
    with pytest.raises(ResponseError):
        write_cookie(name, value, **options)
