"""The one parser of URLs."""

from __future__ import annotations

import ipaddress
import pickle
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloche.egress.errors import NetBlockedError
from cloche.egress.url import (
    _NOT_PLAIN,
    Url,
    _without_dots,
    canonical_host,
    canonical_path,
    decoded_path,
    parse_url,
)

LIMIT = 8192


def _rows():
    lines = (Path(__file__).parent / "data/urls.tsv").read_text().splitlines()
    for line in lines:
        if not line.startswith("#"):
            text, verdict = line.rsplit("\t", 1)
            yield text.encode("ascii").decode("unicode_escape"), verdict


ROWS = list(_rows())


def verdict_of(text):
    """Return what the table says of a URL."""
    try:
        url = parse_url(text, limit_bytes=LIMIT)
    except NetBlockedError as error:
        return f"refused {error.reason}"
    return url.text if url.address is None else f"address {url.address}"


@pytest.mark.parametrize(("text", "verdict"), ROWS, ids=[ascii(text) for text, _ in ROWS])
def test_the_table_of_urls(text, verdict):
    """Each URL has its canonical form, its address, or its refusal."""
    assert verdict_of(text) == verdict


def test_the_tables_are_long_enough():
    """There are at least 300 addresses and URLs with their verdicts."""
    addresses = (Path(__file__).parent / "data/addresses.tsv").read_text().splitlines()
    assert len(ROWS) + len(addresses) - 1 >= 300


@given(st.text("htps:/.%@[]#?\\ab0x1\uff12。é%2eEfF\t-", max_size=30).map("https://".__add__))
@example("https://a/%2e%2e/%2e%2e")
@example("https://a/%252e")
def test_the_canonical_form_is_a_fixed_point(text):
    """Parsing what was parsed changes nothing, and a canonical URL is printable ASCII."""
    try:
        url = parse_url(text, limit_bytes=LIMIT)
    except NetBlockedError:
        return
    assert parse_url(url.text, limit_bytes=LIMIT * 3) == url
    assert url.text.isascii()
    assert url.text.isprintable()
    assert " " not in url.text
    segments = url.path.replace("%2E", ".").split("/")
    assert "." not in segments
    assert ".." not in segments


@given(st.integers(0, (1 << 32) - 1), st.sampled_from("doxX"), st.integers(1, 4))
def test_every_old_form_of_an_address_is_that_address(value, base, parts):
    """Decimal, octal and hexadecimal forms of one to four parts mean one address."""
    show = {"d": str, "o": lambda n: f"0{n:o}" if n else "0", "x": hex, "X": lambda n: f"0X{n:X}"}
    numbers = [(value >> 24) & 255, (value >> 16) & 255, (value >> 8) & 255][: parts - 1]
    numbers.append(value & ((1 << (8 * (5 - parts))) - 1))
    host = ".".join(show[base](number) for number in numbers)
    assert canonical_host(host)[1] == ipaddress.IPv4Address(value)


def test_parts_of_a_url():
    """Authority, origin and target are those of a request."""
    url = parse_url("http://[2001:DB8::1]:8080/a?b#c", limit_bytes=LIMIT)
    assert url == Url(
        scheme="http",
        host="2001:db8::1",
        port=8080,
        path="/a",
        query="b",
        address=ipaddress.ip_address("2001:db8::1"),
    )
    assert url.authority == "[2001:db8::1]:8080"
    assert url.origin == "http://[2001:db8::1]:8080"
    assert url.target == "/a?b"


@pytest.mark.parametrize("value", [None, 3, b"https://example.com/", ["https://example.com/"]])
def test_only_a_text_is_a_url(value):
    """Nothing else is taken for one."""
    with pytest.raises(NetBlockedError, match="a URL is a text"):
        parse_url(value, limit_bytes=LIMIT)


def test_length_is_bounded_in_bytes():
    """One byte more than the limit is refused, before and after encoding."""
    text = "https://example.com/" + "a" * 44
    assert parse_url(text, limit_bytes=64).path == "/" + "a" * 44
    for long in (text + "a", text[:-1] + "é"):
        with pytest.raises(NetBlockedError) as caught:
            parse_url(long, limit_bytes=64)
        assert caught.value.message == "this URL is longer than egress.url_limit_bytes = 64"


def test_a_name_has_at_most_253_characters():
    """The longest name passes, one character more does not; the same for a label of 63."""
    label = "a" * 63
    longest = ".".join([label, label, label, "a" * 61])
    assert canonical_host(longest) == (longest, None)
    for wrong in (longest + "a", "a" * 64 + ".com"):
        with pytest.raises(NetBlockedError):
            canonical_host(wrong)


def test_a_refusal_does_not_repeat_the_url():
    """What a URL held is not in the message, since it may be a password."""
    with pytest.raises(NetBlockedError) as caught:
        parse_url("https://user:hunter2@example.com/?key=hunter2", limit_bytes=LIMIT)
    assert "hunter2" not in str(caught.value.to_document())
    assert pickle.loads(pickle.dumps(caught.value)).to_document() == caught.value.to_document()


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        ("/a/b", "/a/b"),
        ("/public/..%2fadmin", "/admin"),
        ("/public/%2e%2e%2fadmin", "/admin"),
        ("/public/%252e%252e%252fadmin", "/admin"),
        ("/public/..%5cadmin", "/admin"),
        ("/group%2Fproject", "/group/project"),
        ("//a//b", "/a/b"),
    ],
)
def test_the_eager_reading_of_a_path(path, reading):
    """Encoded slashes and dots are read as the most eager server would."""
    assert decoded_path(canonical_path(path)) == reading


@given(st.text("/.a%2e\\5cF", max_size=20).map("/".__add__))
def test_a_plain_path_is_read_as_it_stands(path):
    """The short way for plain paths gives what the long way gives."""
    if not _NOT_PLAIN.search(path):
        assert decoded_path(path) == _without_dots(path) == path
