"""Entries on one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.egress.allowlist import Entry
from cloche.egress.entry_text import entry_of_text, text_of_entry
from cloche.egress.errors import NetPolicyError

GIVEN = [
    ("api.example.com", {"host": "api.example.com"}),
    ("  API.Example.Com.  ", {"host": "api.example.com"}),
    ("*.example.com", {"host": "*.example.com"}),
    ("https://api.example.com", {"host": "api.example.com"}),
    ("https://api.example.com/", {"host": "api.example.com"}),
    ("HTTP://api.example.com", {"host": "api.example.com", "http": True}),
    ("api.example.com:8443", {"host": "api.example.com", "ports": (8443,)}),
    ("api.example.com/v1", {"host": "api.example.com", "paths": ("/v1",)}),
    ("get,POST api.example.com", {"host": "api.example.com", "methods": ("GET", "POST")}),
    (
        "GET https://api.example.com:8443/v1/x",
        {
            "host": "api.example.com",
            "methods": ("GET",),
            "ports": (8443,),
            "paths": ("/v1/x",),
        },
    ),
    ("bücher.example", {"host": "xn--bcher-kva.example"}),
    ("192.0.2.1:8080", {"host": "192.0.2.1", "ports": (8080,)}),
    ("[2001:db8::1]:8080", {"host": "2001:db8::1", "ports": (8080,)}),
    ("2001:db8::1", {"host": "2001:db8::1"}),
]


@pytest.mark.parametrize(("text", "expected"), GIVEN, ids=[text for text, _ in GIVEN])
def test_lines(text, expected):
    """Each part of a line becomes its part of the entry."""
    assert entry_of_text(text) == Entry(**expected)


@pytest.mark.parametrize("text", [text for text, _ in GIVEN])
def test_what_is_shown_says_the_same(text):
    """The line that is shown for an entry is the line of that entry."""
    entry = entry_of_text(text)
    assert entry_of_text(text_of_entry(entry)) == entry


def test_actions_and_numbers():
    """Who adds an entry says what it does and what it bounds."""
    entry = entry_of_text("api.example.com", action="deny", timeout_ms=5, rate_limit=6)
    assert (entry.action, entry.timeout_ms, entry.rate_limit) == ("deny", 5, 6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "would allow everything: name the hosts"),
        (" ", "would allow everything: name the hosts"),
        ("*", "would allow everything: name the hosts"),
        ("*.com", "is too broad: names below com belong to different owners"),
        ("*.*", "would allow everything: name the hosts"),
        ("ftp://api.example.com", "has the scheme ftp: it is https or http"),
        ("https://user@api.example.com", "is no entry"),
        ("https://api.example.com/?q=1", "is no entry"),
        ("https://api.example.com/#x", "is no entry"),
        ("GET POST api.example.com", "is no entry"),
        ("api.example.com:", "is no entry"),
        ("api.example.com:99999", "has the port 99999: a port is 1 to 65535"),
        ("api.example.com:0", "has the port 0: a port is 1 to 65535"),
        ("CONNECT api.example.com", "CONNECT is a method that is never allowed"),
        ("G;T api.example.com", "is no method"),
        ("https://", "is no entry"),
        ("api..example.com", "is no host"),
        ("[x]", "is no host"),
    ],
)
def test_what_is_no_line(text, words):
    """A wrong line is refused with what is wrong with it."""
    with pytest.raises(NetPolicyError) as caught:
        entry_of_text(text)
    assert words in caught.value.message


@given(st.text(max_size=40))
def test_any_text(text):
    """Whatever is written is an entry with a host, or refused."""
    try:
        entry = entry_of_text(text)
    except NetPolicyError:
        return
    assert entry.host
