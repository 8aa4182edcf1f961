"""Conditional requests, ranges, compression."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.errors import SettingError
from cloche.web.middleware.transfer import compress, conditional
from cloche.web.representation import accepts_coding, parse_date, write_date
from cloche.web.response import Response, data, stream, text

from .support import ask, wrapped

BODY = b"0123456789"
MODIFIED = b"Tue, 15 Nov 1994 12:45:26 GMT"
BEFORE = b"Tue, 15 Nov 1994 12:45:25 GMT"


def page():
    """Return a response with both validators."""
    response = data(BODY).with_field(b"etag", b'"v1"').with_field(b"last-modified", MODIFIED)
    return response.with_field(b"x-other", b"1")


APP = wrapped(page, conditional())


def status(app, method="GET", **fields):
    """Return the status of a request with these fields."""
    found = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    return ask(app, method, fields=found).status


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 200),
        ({"if_none_match": b'"v1"'}, 304),
        ({"if_none_match": b'W/"v1"'}, 304),
        ({"if_none_match": b'"a", "v1"'}, 304),
        ({"if_none_match": b"*"}, 304),
        ({"if_none_match": b'"v2"'}, 200),
        ({"if_none_match": b"v1"}, 200),
        ({"if_none_match": b'"v2"', "if_modified_since": MODIFIED}, 200),
        ({"if_modified_since": MODIFIED}, 304),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_modified_since": b"yesterday"}, 200),
        ({"if_match": b'"v1"'}, 200),
        ({"if_match": b'W/"v1"'}, 412),
        ({"if_match": b'"v2"'}, 412),
        ({"if_match": b"*"}, 200),
        ({"if_unmodified_since": MODIFIED}, 200),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_match": b'"v1"', "if_unmodified_since": BEFORE}, 200),
        ({"if_match": b'"v2"', "if_none_match": b'"v1"'}, 412),
    ],
)
def test_preconditions(fields, expected):
    """Each condition, and which of two counts."""
    assert status(APP, **fields) == expected
    assert status(APP, "HEAD", **fields) == expected
    assert status(APP, "POST", **fields) == 200


def test_what_a_304_repeats():
    """The validators stay, the body and what describes it go."""
    response = ask(APP, fields=[(b"if-none-match", b'"v1"')])
    assert response == Response(304, ((b"etag", b'"v1"'), (b"last-modified", MODIFIED)))


def test_tags_of_our_own():
    """A response without a tag gets one that follows from its body."""
    bodies = iter(["a", "a", "b"])
    app = wrapped(lambda: next(bodies), conditional())
    tags = [ask(app).get(b"etag") for _ in range(3)]
    assert tags[0] == tags[1] != tags[2]


@pytest.mark.parametrize(
    ("wanted", "expected", "content_range"),
    [
        (b"bytes=0-0", b"0", b"bytes 0-0/10"),
        (b"bytes=2-4", b"234", b"bytes 2-4/10"),
        (b"bytes=7-", b"789", b"bytes 7-9/10"),
        (b"bytes=7-99", b"789", b"bytes 7-9/10"),
        (b"bytes=-3", b"789", b"bytes 7-9/10"),
        (b"bytes=-99", BODY, b"bytes 0-9/10"),
    ],
)
def test_ranges(wanted, expected, content_range):
    """One range of bytes is a part, with its place."""
    response = ask(APP, fields=[(b"range", wanted)])
    assert (response.status, response.body) == (206, expected)
    assert response.get(b"content-range") == content_range
    assert response.get(b"etag") == b'"v1"'


@pytest.mark.parametrize("wanted", [b"bytes=10-", b"bytes=-0", b"bytes=99-100"])
def test_ranges_that_are_not_there(wanted):
    """A range behind the end is refused with the size."""
    response = ask(APP, fields=[(b"range", wanted)])
    assert (response.status, response.body) == (416, b"")
    assert response.get(b"content-range") == b"bytes */10"


@pytest.mark.parametrize(
    "wanted", [b"bytes=0-1,3-4", b"bytes=-", b"bytes=4-2", b"lines=1-2", b"bytes=a-b", b"x"]
)
def test_ranges_that_are_not_understood(wanted):
    """Anything else is answered with the whole."""
    response = ask(APP, fields=[(b"range", wanted)])
    assert (response.status, response.body) == (200, BODY)
    assert response.get(b"accept-ranges") == b"bytes"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [(b'"v1"', 206), (b'W/"v1"', 200), (b'"v2"', 200), (MODIFIED, 206), (BEFORE, 200), (b"x", 200)],
)
def test_if_range(condition, expected):
    """A part only where the whole did not change."""
    assert status(APP, range=b"bytes=0-1", if_range=condition) == expected


def test_what_is_not_touched():
    """Streams, errors and other methods pass as they are."""
    response = ask(wrapped(lambda: stream([b"a"]), conditional()))
    assert response.is_stream
    assert response.get(b"etag") is None
    assert ask(wrapped(lambda: text("a", 404), conditional())).get(b"etag") is None
    assert status(APP, "HEAD", range=b"bytes=0-1") == 200


@pytest.mark.parametrize(
    "text_",
    [
        "",
        "Tue, 15 Nov 1994 12:45:26",
        "Tue, 31 Feb 1994 12:45:26 GMT",
        "Tue, 15 Xyz 1994 12:45:26 GMT",
    ],
)
def test_dates_that_are_none(text_):
    """Only the one format that is written today."""
    assert parse_date(text_) is None


PAGE = "<p>" + "abc " * 500


def test_compression():
    """Text that is large enough is compressed, the same bytes each time, with its length right."""
    app = wrapped(lambda: PAGE, compress(), conditional())
    response = ask(app, fields=[(b"accept-encoding", b"br, gzip")])
    assert gzip.decompress(response.body).decode() == PAGE
    assert response.get(b"content-encoding") == b"gzip"
    assert response.get(b"vary") == b"accept-encoding"
    assert response.get(b"etag").startswith(b'W/"')
    assert ask(app, fields=[(b"accept-encoding", b"gzip")]) == response
    plain = ask(app)
    assert (plain.body.decode(), plain.get(b"vary")) == (PAGE, b"accept-encoding")


@pytest.mark.parametrize(
    "response",
    [
        text("x" * 1023),
        text("x" * 2000, 404),
        data(b"x" * 2000, content_type="image/png"),
        data(b"x" * 2000, content_type="text/event-stream"),
        text("x" * 2000).with_field(b"content-encoding", b"br"),
        text("x" * 2000).with_field(b"cache-control", b"public, no-transform"),
    ],
)
def test_what_is_not_compressed(response):
    """What is small, done already, or must not be changed."""
    app = wrapped(lambda: response, compress())
    assert ask(app, fields=[(b"accept-encoding", b"gzip")]) == response


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("br, deflate", False),
        ("gzip;q=x", False),
        ("x-gzip", False),
    ],
)
def test_accept_encoding(accepted, expected):
    """Named or by the star, and not with weight zero."""
    assert accepts_coding(accepted, "gzip") is expected


@settings(deadline=None)
@given(st.text(max_size=40))
def test_accept_encoding_is_total(accepted):
    """Any text is an answer."""
    assert accepts_coding(accepted, "gzip") in {True, False}


def test_levels():
    """A level that zlib does not have is found at once."""
    with pytest.raises(SettingError):
        compress(level=10)


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1000, 1, 1)))  # noqa: DTZ001 - the strategy adds the zone
def test_dates_survive(time):
    """A date that was written is read back, to the second."""
    exact = time.replace(microsecond=0, tzinfo=UTC)
    assert parse_date(write_date(exact).decode()) == exact
