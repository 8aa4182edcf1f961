"""One request as bytes, one document as bytes: the pinned functions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.encodings.errors import DecodeError
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import Method, WebRequestDocument, decode_document
from cloche.web.encodings.settings import Http1ParserCaps, encode_parser_caps
from cloche.web.http1.errors import Http1Error
from cloche.web.http1.one_shot import parse_req_v1, parse_request

HOST = b"Host: a\r\n"


def refused(raw, **caps):
    """Return the number of the code that refuses a request."""
    with pytest.raises(Http1Error) as caught:
        parse_req_v1(raw, encode_parser_caps(Http1ParserCaps(**caps)))
    return caught.value.number


def test_a_get():
    """Method, target and every field, in order of arrival."""
    raw = b"GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nHost: example\r\n\r\n"
    assert decode_document(parse_req_v1(raw)) == WebRequestDocument(
        method=Method.GET,
        target=b"/a?b",
        headers=HeaderTable(((b"user-agent", b"x"), (b"host", b"example"))),
    )


def test_the_bytes_of_a_post():
    """The document has one spelling: rows sorted, payload in order of arrival."""
    raw = b"POST /submit HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    assert parse_req_v1(raw).hex() == (
        "4557485201000200"
        "07000000" + b"/submit".hex() + "3c000000"
        "5837485401000200"
        "050000000e0000001300000001000000"
        "00000000040000000400000001000000"
        + b"hostacontent-length5".hex() + "05000000" + b"hello".hex()
    )  # fmt: skip


def test_lines_are_kept_apart():
    """Two lines of a name are two lines: joining is another step."""
    found = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nX-Test: one\r\nx-test: two\r\n\r\n")
    assert found.headers.values(b"x-test") == (b"one", b"two")


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b"", 0x6205),
        (b"GET / HTTP/1.1\r\n" + HOST, 0x6205),
        (b"GET  / HTTP/1.1\r\n\r\n", 0x6200),
        (b"GET / HTTP/1.0\r\n\r\n", 0x6201),
        (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 0x6202),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 0x6202),
        (b"GET / HTTP/1.1\r\nhost\r\n\r\n", 0x6205),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", 0x6206),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", 0x6207),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", 0x6208),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n", 0x6209),
        (b"GET / HTTP/1.1\r\n" + HOST + b"\r\nx", 0x620A),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhell", 0x620B),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello!", 0x620B),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\nx", 0x620B),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nhello",
            0x620C,
        ),
        (b"GET / HTTP/1.1\r\n\r\n", 0x6214),
        (b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 0x6200),
    ],
)  # fmt: skip
def test_what_is_refused(raw, number):
    """Each fault has its number, those of the source where the source has one."""
    assert refused(raw) == number


def test_equal_lengths_are_one():
    """A list of equal lengths is that length."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"
    assert parse_request(raw).body == b"hello"


def test_caps():
    """Head, field lines and body have the limits of the blob."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    size = len(raw) - 5
    exact = Http1ParserCaps(header_limit_bytes=size, header_count_max=2, body_limit_bytes=5)
    assert parse_req_v1(raw, encode_parser_caps(exact)) == parse_req_v1(raw)
    assert refused(raw, header_limit_bytes=size - 1) == 0x6203
    assert refused(raw, header_count_max=1) == 0x6204
    assert refused(raw, body_limit_bytes=4) == 0x6211
    assert refused(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nhello", body_limit_bytes=4) == 0x6211


def test_malformed_caps_are_refused():
    """A blob that is none never falls back to the defaults."""
    with pytest.raises(DecodeError):
        parse_req_v1(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"EWHC")


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_total(noise):
    """Any bytes give a document or a number of the HTTP/1 space."""
    for raw in (noise, b"GET / HTTP/1.1\r\nHost: a\r\n" + noise):
        try:
            document = parse_req_v1(raw)
        except Http1Error as error:
            number = error.number
        else:
            number = 0x6200
            assert decode_document(document).target
        assert 0x6200 <= number <= 0x62FF
