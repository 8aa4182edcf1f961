"""Secrets: bindings, injection, scrubbing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.egress.errors import NetAuthError, NetPolicyError
from cloche.egress.secrets import (
    Scrubber,
    Secret,
    StreamScrubber,
    check_use,
    inject,
    looks_like_secret,
    placeholders,
    substitute,
)
from cloche.egress.url import parse_url

VALUE = 'sk_live/+4 "x%é\\z='
VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"),
    min_size=8,
    max_size=40,
).filter(lambda value: value == value.strip() and len(value.encode()) >= 8)


def secret(**more):
    """Return a secret."""
    return Secret(**{"name": "KEY", "value": VALUE, "domains": ("api.example.com",), **more})


def url(text="https://api.example.com/v1?a=1"):
    """Return a URL."""
    return parse_url(text, limit_bytes=8192)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"value": "short"}, "less than 8 bytes"),
        ({"value": None}, "less than 8 bytes"),
        ({"value": "line\nline"}, "control characters"),
        ({"value": "null\0null"}, "control characters"),
        ({"value": "price: 10 €"}, "beyond Latin-1"),
        ({"value": " padded value "}, "space around"),
        ({"domains": ()}, "at least one domain"),
        ({"domains": "api.example.com"}, "at least one domain"),
        ({"domains": ("*",)}, "would allow everything"),
        ({"domains": ("*.com",)}, "too broad"),
        ({"inject_as": "cookie"}, "is injected as"),
        ({"inject_as": "header"}, "needs a key"),
        ({"inject_as": "query"}, "needs a key"),
        ({"inject_as": "header", "key": "Host"}, "cannot be the header"),
        ({"inject_as": "header", "key": "A B"}, "cannot be the header"),
        ({"inject_as": "basic", "value": "no-colon-here"}, "needs user:password"),
        ({"inject_as": "basic", "key": "a:b"}, "a user with a colon"),
        ({"name": ""}, "must match"),
        ({"name": "a b"}, "must match"),
        ({"paths": ("v1",)}, "a prefix starts with /"),
        ({"methods": ("CONNECT",)}, "never allowed"),
    ],
)
def test_secrets_are_checked(more, problem):
    """A secret that breaks its form cannot exist, and the error does not show its value."""
    with pytest.raises(NetPolicyError, match=problem) as caught:
        secret(**more)
    assert VALUE not in str(caught.value.to_document())


def test_a_secret_is_not_shown():
    """Its representation is its name."""
    assert repr(secret()) == str(secret()) == "Secret(name='KEY')"
    assert "sk_live" not in f"{[secret()]}"


@pytest.mark.parametrize(
    ("more", "target", "method", "problem"),
    [
        ({}, "https://api.example.com/", "GET", None),
        ({}, "https://API.example.com./", "GET", None),
        ({}, "http://api.example.com/", "GET", "over https only"),
        ({}, "https://evil.com/", "GET", "not evil.com"),
        ({}, "https://x.api.example.com/", "GET", "not x.api.example.com"),
        ({}, "https://api.example.com:8443/", "GET", "not this port"),
        ({"ports": (8443,)}, "https://api.example.com:8443/", "GET", None),
        ({"domains": ("*.example.com",)}, "https://api.example.com/", "GET", None),
        ({"methods": ("GET",)}, "https://api.example.com/", "POST", "not this method"),
        ({"paths": ("/v1",)}, "https://api.example.com/v1/x", "GET", None),
        ({"paths": ("/v1",)}, "https://api.example.com/v2", "GET", "not this path"),
        ({"paths": ("/v1",)}, "https://api.example.com/v1/..%2fv2", "GET", "not this path"),
    ],
)
def test_bindings(more, target, method, problem):
    """A secret goes where it is bound to and nowhere else."""
    if problem is None:
        check_use(secret(**more), url(target), method)
        return
    with pytest.raises(NetAuthError, match=problem) as caught:
        check_use(secret(**more), url(target), method)
    assert caught.value.code == "NET_AUTH"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("more", "header"),
    [
        ({"value": "abcdefgh"}, ("Authorization", "Bearer abcdefgh")),
        (
            {"value": "user:abcdefgh", "inject_as": "basic"},
            ("Authorization", "Basic dXNlcjphYmNkZWZnaA=="),
        ),
        (
            {"value": "abcdefgh", "inject_as": "basic", "key": "user"},
            ("Authorization", "Basic dXNlcjphYmNkZWZnaA=="),
        ),
        ({"value": "abcdefgh", "inject_as": "header", "key": "X-Key"}, ("X-Key", "abcdefgh")),
    ],
)
def test_injection_as_a_header(more, header):
    """It replaces what the guest set under that name, whatever the case."""
    given = (("A", "1"), (header[0].upper(), "guest"), (header[0].lower(), "guest"))
    assert inject(secret(**more), url(), given) == (url(), (("A", "1"), header))


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("https://api.example.com/", "key=a%26b%3Dc%20defg"),
        ("https://api.example.com/?a=1", "a=1&key=a%26b%3Dc%20defg"),
        ("https://api.example.com/?key=guest&a=1&key=2", "a=1&key=a%26b%3Dc%20defg"),
    ],
)
def test_injection_as_a_query(target, query):
    """It is set or replaced in the query, encoded."""
    found, headers = inject(
        secret(value="a&b=c defg", inject_as="query", key="key"), url(target), ()
    )
    assert (found.query, headers) == (query, ())
    assert found.origin == url(target).origin


def test_placeholders():
    """Names in headers and body are found, and replaced by values."""
    headers = (("X", "a {{secret:KEY}} b"), ("Y", "{{secret:}} {{ secret:KEY }}"))
    body = b'{"token": "{{secret:OTHER}}", "again": "{{secret:KEY}}"}'
    assert placeholders(headers, body) == {"KEY", "OTHER"}
    assert placeholders((), b"") == frozenset()
    secrets = {
        "KEY": secret(value="11111111"),
        "OTHER": secret(value="{{secret:KEY}}"),
    }
    assert substitute(secrets, headers, body) == (
        (("X", "a 11111111 b"), headers[1]),
        b'{"token": "{{secret:KEY}}", "again": "11111111"}',
    )


def echoes(value):
    """Return what servers make of a value without knowing it."""
    data = value.encode()
    yield data
    yield value.encode("latin-1")
    yield data.hex().encode()
    yield data.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in (b"", b"a", b"ab", b"user:"):
            for behind in (b"", b"z", b"zz"):
                yield encode(before + data + behind)
    for safe in ("", "/", "/:@!$&'()*+,;="):
        yield quote(value, safe=safe).encode()
        yield quote(value, safe=safe).lower().encode() if value == value.lower() else b""
        yield quote_plus(value, safe=safe).encode()
    yield json.dumps(value).encode()
    yield json.dumps(value, ensure_ascii=False).encode()
    yield json.dumps(value).replace("/", "\\/").encode()
    yield "".join(f"%{byte:02x}" for byte in data).encode()


@given(VALUES, st.binary(max_size=20))
def test_every_form_of_a_value_is_scrubbed(value, around):
    """Whatever a server does to a value, nothing that decodes to it is left."""
    scrubber = Scrubber([secret(value=value)])
    for echo in echoes(value):
        if not echo:
            continue
        scrubbed = scrubber.bytes(around + echo + around)
        if scrubbed == around + echo + around:
            raise AssertionError(f"{echo!r} of {value!r} was not found")
        assert b"[secret:KEY]" in scrubbed


def test_what_is_left_of_base64_does_not_decode():
    """No alignment leaves a part from which more than the edges can be read."""
    value = "0123456789abcdef"
    scrubber = Scrubber([secret(value=value)])
    for before in (b"", b"a", b"ab"):
        left = scrubber.bytes(base64.b64encode(before + value.encode() + b"zz"))
        assert len(left.replace(b"[secret:KEY]", b"")) <= 8


def test_former_values_and_passwords_are_scrubbed():
    """A value that was replaced lately, and the password of a pair, are known too."""
    scrubber = Scrubber(
        [
            secret(value="user:password1", inject_as="basic"),
            secret(name="B", value="new-value", former=("old-value",)),
        ]
    )
    assert scrubber.text("password1 old-value new-value user") == (
        "[secret:KEY] [secret:B] [secret:B] user"
    )


def test_what_is_no_secret_stays():
    """Scrubbing without secrets, and of other data, changes nothing."""
    assert not Scrubber([])
    assert Scrubber([]).text("a%20b") == "a%20b"
    scrubber = Scrubber([secret()])
    for text in ("", "sk_live", "a%20b+c\\u0041", "\ud800"):
        assert scrubber.text(text) == text


def test_documents_are_scrubbed():
    """Texts at any depth and names of objects are scrubbed, numbers stay."""
    scrubber = Scrubber([secret(value="hunter2hunter2")])
    assert scrubber.document({"a hunter2hunter2": [1, None, "hunter2hunter2", {"b": True}]}) == {
        "a [secret:KEY]": [1, None, "[secret:KEY]", {"b": True}]
    }


@given(st.lists(st.integers(1, 9), max_size=30), st.sampled_from([0, 1, 3]))
def test_a_stream_in_pieces_is_scrubbed(sizes, newlines):
    """However a stream is cut, the output is that of the whole."""
    scrubber = Scrubber([secret(value="hunter2hunter2")])
    whole = b"x hunter2hunter2 y" + b"\n" * newlines + b"hunter2hunter2" * 2 + b"hunter2hu"
    stream, out, at = StreamScrubber(scrubber), b"", 0
    for size in sizes:
        out += stream.feed(whole[at : at + size])
        at += size
    out += stream.feed(whole[at:]) + stream.end()
    assert out == scrubber.bytes(whole)
    assert StreamScrubber(Scrubber([])).feed(b"abc") == b"abc"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sk-live-0123456789", True),
        ("sk_test_4eC39HqLyjWDarjtT1", True),
        ("ghp_" + "a" * 36, True),
        ("AKIA" + "A" * 16, True),
        ("xoxb-123456789012-abc", True),
        ("Bearer abcdefgh.ijkl", True),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", True),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII", True),
        ("", False),
        ("sk", False),
        ("skills-and-tasks", False),
        ("production", False),
        ("https://api.example.com/v1", False),
        ("Bearer of news", False),
    ],
)
def test_what_looks_like_a_secret(value, expected):
    """Keys of well-known forms are told from settings."""
    assert looks_like_secret(value) is expected
