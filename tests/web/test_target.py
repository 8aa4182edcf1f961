"""Targets: split, decoded strictly, queries with all their values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.errors import BadRequestError
from cloche.web.target import (
    Pairs,
    authority_of,
    decode_path,
    parse_pairs,
    percent_decode,
    percent_encode,
    split_target,
)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", ("/", "")),
        ("/a?b?c", ("/a", "b?c")),
        ("//a", ("//a", "")),
        ("http://h", ("/", "")),
        ("http://h?q", ("/", "q")),
        ("HTTP://u@h:1/p?q", ("/p", "q")),
        ("*", ("*", "")),
        ("h:443", ("h:443", "")),
    ],
)
def test_split(target, expected):
    """Path and query of every form."""
    assert split_target(target) == expected


def test_authority():
    """The host of an absolute target beats the Host field; user information is none of it."""
    assert authority_of("/a", "h") == "h"
    assert authority_of("http://u:p@x:1/a", "h") == "x:1"


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", ("",)),
        ("/a/", ("a", "")),
        ("/a%2Fb", ("a/b",)),
        ("/%C3%b6", ("ö",)),
        ("/a%20b+c", ("a b+c",)),
        ("/...", ("...",)),
    ],
)
def test_paths(path, segments):
    """Segments are split before they are decoded."""
    assert decode_path(path) == segments


@pytest.mark.parametrize(
    "path",
    [
        "/%",
        "/%2",
        "/%zz",
        "/a%00",
        "/%ff",
        "/%c0%af",
        "/%ed%a0%80",
        "/a/../b",
        "/..",
        "/./a",
        "/%2e%2E/a",
        "/a/.%2e",
    ],
)
def test_paths_that_are_refused(path):
    """Wrong escapes, what is no UTF-8, NUL, and every spelling of a dot segment."""
    with pytest.raises(BadRequestError):
        decode_path(path)


def test_queries():
    """Each value is kept in its order; a plus is a space; empty parts are nothing."""
    pairs = parse_pairs("a=1&b=%26&a=2+3&&c&=d&a=b=c")
    assert list(pairs) == [
        ("a", "1"),
        ("b", "&"),
        ("a", "2 3"),
        ("c", ""),
        ("", "d"),
        ("a", "b=c"),
    ]
    assert (pairs.get("a"), pairs.values("a"), pairs.get("x")) == ("1", ["1", "2 3", "b=c"], None)
    assert (pairs.names(), "c" in pairs, len(pairs)) == (["a", "b", "c", ""], True, 6)
    assert parse_pairs("") == Pairs()


def test_query_limits():
    """A wrong escape is an error, and so are too many values."""
    with pytest.raises(BadRequestError):
        parse_pairs("a=%g1")
    assert len(parse_pairs("&".join("a" * 1000))) == 1000
    with pytest.raises(BadRequestError):
        parse_pairs("&".join("a" * 1001))


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_encoding_and_back(text):
    """What is encoded is plain ASCII and decodes to itself."""
    encoded = percent_encode(text)
    assert encoded.isascii()
    assert percent_decode(encoded, where="path") == text
