"""Heads from memory are those of the serializer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.adapters.server_heads import Heads
from cloche.web.http1.errors import Http1ResponseError
from cloche.web.http1.serializer import write_response
from cloche.web.response import Response

NOW_NS = 1_700_000_000_000_000_000
DATE = (b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")
NAMES = [b"a", b"a-b", b"A", b"x", b"set-cookie", b"content-length", b"connection", b"bad name"]
NAMES += [b"b%b", b"%s"]
VALUES = [b"", b"1", b"2", b"a\r\nb: c", b"c\r\n", b"\xff", b"a" * 2000, b"%b", b"a\0"]
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=5)


def new_heads():
    """Return a memory at a fixed time."""
    heads = Heads()
    heads.set_time(NOW_NS)
    return heads


def attempt(function, *arguments, **options):
    """Return what is written, or the code of the refusal."""
    try:
        return function(*arguments, **options)
    except Http1ResponseError as refused:
        return refused.fields["number"]


KEPT = new_heads()
NAMES_OF_TWO = [
    (b"x", b"a"),
    (b"a", b"x"),
    (b"X", b"a"),
    (b"x", b"x"),
    (b"x", b"content-length"),
    (b"b%b", b"x"),
]


@settings(max_examples=500)
@given(
    fields=FIELDS,
    status=st.sampled_from([100, 101, 200, 204, 205, 206, 304, 404, 500, 599]),
    method=st.sampled_from(["GET", "HEAD", "CONNECT"]),
    close=st.booleans(),
    body=st.sampled_from([b"", b"hello"]),
)
def test_the_same_bytes(fields, status, method, close, body):
    """Whatever was written before, the bytes or the refusal are the serializer's."""
    response = Response(status, tuple(fields), body)
    expected = attempt(write_response, status, (*fields, DATE), body, method=method, close=close)
    for heads in (new_heads(), KEPT, KEPT):
        assert attempt(heads.whole, response, method, close=close) == expected


def test_the_date_follows():
    """The date is that of the second; one that the response has is kept."""
    heads = new_heads()
    assert DATE[1] in heads.whole(Response(200), "GET", close=False)
    heads.set_time(NOW_NS + 1_000_000_000)
    assert b"22:13:21" in heads.whole(Response(200), "GET", close=False)
    own = Response(200, ((b"date", b"never"),))
    assert b"date: never\r\n" in heads.whole(own, "GET", close=False)


def test_fields_in_lists():
    """Fields need not be a tuple."""
    response = Response(200, [(b"x", b"1")], b"ok")
    assert b"\r\nx: 1\r\n" in new_heads().whole(response, "GET", close=False)


def test_the_memory_is_bounded():
    """A value that is another one each time does not fill it."""
    heads = new_heads()
    for index in range(5000):
        heads.whole(Response(200, ((b"x", b"%d" % index),)), "GET", close=False)
    assert len(heads._remembered) <= 32


def test_the_shapes_are_bounded():
    """Names that are others each time do not fill the memory."""
    heads = new_heads()
    for index in range(5000):
        heads.whole(Response(200, ((b"a%d" % index, b""), (b"b", b""))), "GET", close=False)
    assert len(heads._shapes) <= 32


def test_values_that_are_new_each_time_are_not_remembered():
    """Heads that never come again push out none that do."""
    heads = new_heads()
    often = Response(200, ((b"x", b"1"), (b"y", b"2")))
    for index in range(100):
        heads.whole(often, "GET", close=False)
        other = Response(200, ((b"y", b"%d" % index), (b"id", b"%d" % index)))
        heads.whole(other, "GET", close=False)
    assert (200, often.fields, False) in heads._remembered
    assert len(heads._remembered) <= 5


def test_values_in_a_shape():
    """A head of known names is the serializer's, with other values, refused where one is wrong."""
    heads = new_heads()
    for value in (b"1", b"%b", b"", b"\xff\t~", b"a\r\nb: c", b"\0", b"\x7f", b"2"):
        for names in NAMES_OF_TWO:
            fields = ((names[0], value), (names[1], b"other"))
            found = attempt(heads.whole, Response(200, fields), "GET", close=False)
            assert found == attempt(write_response, 200, (*fields, DATE))


def test_a_line_that_is_wrong_is_not_remembered():
    """A refusal is one each time."""
    heads = new_heads()
    for _ in range(2):
        with pytest.raises(Http1ResponseError):
            heads.whole(Response(200, ((b"x", b"a\r\nb: c"),)), "GET", close=False)
