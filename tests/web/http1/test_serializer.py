"""Responses on the wire: framing, order, and what is never written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.encodings.errors import DecodeError
from cloche.web.encodings.headers import HeaderTable, encode_headers
from cloche.web.encodings.messages import HttpFailure, HttpResponse, encode_response
from cloche.web.http1.errors import Http1ResponseError
from cloche.web.http1.events import RequestHead
from cloche.web.http1.serializer import (
    LAST_CHUNK,
    build_resp_v1,
    start_stream,
    write_chunk,
    write_resp_v1,
    write_response,
)

from .support import parse, requests

LINES = (
    (b"content-length", b"999"),
    (b"set-cookie", b"a=1"),
    (b"set-cookie", b"b=2"),
    (b"x-test", b"one"),
    (b"x-test", b"two"),
)


def refused(call, *args, **options):
    """Return the name of the code that refuses a response."""
    with pytest.raises(Http1ResponseError) as caught:
        call(*args, **options)
    return caught.value.name.removeprefix("SPEC_ERR_HTTP1_")


def test_a_response():
    """Names sorted, values joined, cookies apart, the length computed and last."""
    fields = [(b"X-Test", b"one"), (b"Set-Cookie", b"b=2"), (b"X-TEST", b"two"), LINES[0]]
    assert write_response(404, [*fields, (b"set-cookie", b"a=1")], b"hi") == (
        b"HTTP/1.1 404 Not Found\r\nset-cookie: b=2\r\nset-cookie: a=1\r\nx-test: one, two\r\n"
        b"content-length: 2\r\n\r\nhi"
    )


def test_the_pinned_build():
    """The vector of the source: two reasons only, the given length dropped."""
    assert build_resp_v1(200, encode_headers(HeaderTable(LINES)), b"hi") == (
        b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-test: one, two\r\n"
        b"content-length: 2\r\n\r\nhi"
    )
    assert build_resp_v1(404, encode_headers(HeaderTable()), b"").startswith(
        b"HTTP/1.1 404 ERR\r\n"
    )
    with pytest.raises(DecodeError):
        build_resp_v1(200, b"", b"")


def test_a_recorded_response():
    """An X7RS answer is written with its reason; a failure has to be answered first."""
    blob = encode_response(HttpResponse(status=200, body=b"hello\n"))
    assert write_resp_v1(blob) == b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n"
    assert refused(write_resp_v1, encode_response(HttpFailure(number=2009))) == "BAD_STATUS"


def test_close():
    """A connection that ends says so."""
    assert write_response(200, [], close=True) == (
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )


def test_head():
    """The answer to HEAD is that to GET without its body."""
    whole = write_response(200, LINES, b"hello")
    assert write_response(200, LINES, b"hello", method="HEAD") + b"hello" == whole


@pytest.mark.parametrize("status", [100, 103, 199, 204, 304])
def test_statuses_without_a_body(status):
    """No length and no body; giving one is an error."""
    assert b"content-length" not in write_response(status, LINES)
    assert refused(write_response, status, [], b"x") == "BAD_BODY"
    assert refused(start_stream, status, []) == "BAD_BODY"


def test_reset_content():
    """205 says that its body is empty."""
    assert write_response(205, []).endswith(b"\r\ncontent-length: 0\r\n\r\n")
    assert refused(write_response, 205, [], b"x") == "BAD_BODY"


def test_a_status_without_a_reason():
    """What is not registered has no reason, and the space before it stays."""
    assert write_response(299, []).startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize("status", [0, 99, 600, 1000, True, "200"])
def test_statuses_that_are_none(status):
    """A status is a number from 100 to 599."""
    assert refused(write_response, status, []) == "BAD_STATUS"
    assert refused(start_stream, status, []) == "BAD_STATUS"


def test_connect():
    """Success of CONNECT would open a tunnel; anything else is an answer."""
    assert refused(write_response, 200, [], method="CONNECT") == "BAD_STATUS"
    assert write_response(501, [], method="CONNECT").startswith(b"HTTP/1.1 501 Not Implemented")


def test_switching_protocols():
    """Only 101 may name the connection's options."""
    fields = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    assert write_response(101, fields) == (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    assert refused(write_response, 200, fields) == "BAD_FIELD"


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b"x\r\nset-cookie: y"),
        (b"a", b"x\r\n\r\n<html>"),
        (b"a", b"x\n"),
        (b"a", b"x\ry"),
        (b"a", b"\x00"),
        (b"a", b"\x7f"),
        (b"a: b\r\nc", b"x"),
        (b"a:", b"x"),
        (b"a b", b"x"),
        (b"", b"x"),
        (b"\xe4", b"x"),
        (b"Transfer-Encoding", b"chunked"),
        (b"CONNECTION", b"close"),
    ],
)
def test_fields_that_are_never_written(field):
    """Nothing in a name or value can end its line, and framing is not the caller's."""
    for position in (0, 1, 2):
        fields = [(b"a", b"b"), (b"z", b"y")]
        fields.insert(position, field)
        assert refused(write_response, 200, fields) == "BAD_FIELD"
        assert refused(start_stream, 200, fields) == "BAD_FIELD"


def test_streams():
    """Chunks where the length is unknown, the bytes themselves where it is known."""
    head = start_stream(200, [])
    assert head == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert start_stream(200, LINES[:1], length=5).endswith(b"OK\r\ncontent-length: 5\r\n\r\n")
    assert write_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert write_chunk(b"") == b""


def test_streams_to_old_clients():
    """An old client knows no chunks: the end of the connection is the end."""
    head = start_stream(200, [], version="1.0", close=True)
    assert head == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    assert refused(start_stream, 200, [], version="1.0") == "BAD_BODY"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=6))
def test_chunks_are_read_back(pieces):
    """What the serializer cuts into chunks the parser puts together."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw += b"".join(map(write_chunk, pieces)) + LAST_CHUNK
    assert requests(parse([raw]))[0][1] == b"".join(pieces)


NAMES = st.text("abcXYZ-_!1", min_size=1, max_size=8).map(str.encode)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES | st.binary(max_size=3), st.binary(max_size=8)), max_size=6))
def test_what_is_written_is_what_was_meant(fields):
    """Read back by the strict parser, a head has the fields that were given, and no other."""
    try:
        written = write_response(200, fields, b"body")
    except Http1ResponseError:
        return
    block = written.removeprefix(b"HTTP/1.1 200 OK\r\n").removesuffix(
        b"content-length: 4\r\n\r\nbody"
    )
    events = parse([b"GET / HTTP/1.1\r\nHost: a\r\n" + block + b"\r\n"])
    assert isinstance(events[0], RequestHead)
    found = HeaderTable(tuple(events[0].fields[1:]))
    kept = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    meant = HeaderTable(tuple(line for line in kept if line[0] != b"content-length"))
    assert {name for name, _ in found.lines} == {name for name, _ in meant.lines}
    for name, _ in meant.lines:
        if name == b"set-cookie" or len(meant.values(name)) == 1:
            assert found.values(name) == meant.values(name)
