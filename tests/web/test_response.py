"""Builders of responses."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from cloche.errors import InternalError
from cloche.web import response as r
from cloche.web.errors import (
    HandlerTimeoutError,
    ResponseError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("response", "content_type", "body"),
    [
        (r.text("ö"), b"text/plain; charset=utf-8", "ö".encode()),
        (r.html("<p>"), b"text/html; charset=utf-8", b"<p>"),
        (r.data(b"x"), b"application/octet-stream", b"x"),
        (r.data(b"x", content_type="image/png"), b"image/png", b"x"),
        (r.json({"b": 1, "a": [None]}), b"application/json", b'{"a":[null],"b":1}'),
        (r.empty(), None, b""),
    ],
)
def test_builders(response, content_type, body):
    """Each has its content-type, and JSON one spelling."""
    assert (response.get(b"content-type"), response.body) == (content_type, body)
    assert not response.is_stream


@pytest.mark.parametrize("status", ["200", 99, 600, True, None, 200.0])
def test_a_status_is_a_number(status):
    """Another one is refused where the response is made, by the handler that made it."""
    with pytest.raises(ResponseError) as caught:
        r.Response(status)
    expected = f"the status is {status!r}, not a number from 100 to 599"
    assert caught.value.message == f"no response can be made: {expected}"
    with pytest.raises(ResponseError):
        r.text("", status=status)


def test_a_status_may_have_a_name():
    """A member of HTTPStatus becomes its number."""
    assert type(r.Response(HTTPStatus.CREATED).status) is int
    assert r.text("", HTTPStatus.NOT_FOUND).status == 404


def test_redirects():
    """A redirect has one of five statuses and a location that cannot be two."""
    assert r.redirect("/a").status == 303
    assert r.redirect("https://a/b?c", 308).get(b"location") == b"https://a/b?c"
    for location in ("/a\r\nset-cookie: b", "/ä", "/a b", "\\\\evil", "/\x00"):
        with pytest.raises(ResponseError):
            r.redirect(location)
    with pytest.raises(ResponseError):
        r.redirect("/a", 200)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (r.event("a"), b"data: a\n\n"),
        (r.event(""), b"data: \n\n"),
        (r.event("a\nb\r\nc\rd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (
            r.event("x", name="n", identity="7", retry_ms=5),
            b"event: n\nid: 7\nretry: 5\ndata: x\n\n",
        ),
        (r.event(comment="alive"), b": alive\n\n"),
        (r.event("x", comment="a\nb"), b": a\n: b\ndata: x\n\n"),
    ],
)
def test_events(event, expected):
    """Each line of the data is a line of the event, whatever ended it."""
    assert event == expected


@pytest.mark.parametrize("options", [{"name": "a\nb"}, {"identity": "a\r"}, {"identity": "a\0"}])
def test_events_that_are_refused(options):
    """A line end in a name or id would begin another field."""
    with pytest.raises(ResponseError):
        r.event("x", **options)


def test_streams():
    """A stream has its type and perhaps its length; events are not kept by caches."""
    assert r.stream([b"a"], "text/csv", length=1).length == 1
    assert r.stream([b"a"]).is_stream
    assert r.sse([]).fields == (
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
    )


@pytest.mark.parametrize("value", [object(), {1, object()}, "\ud800", {"a": float("nan"), 1j: 2}])
def test_what_has_no_json(value):
    """A value without JSON is an error of the handler, not half a response."""
    with pytest.raises(ResponseError):
        r.json(value)


@pytest.mark.parametrize(
    ("failure", "status", "field"),
    [
        (UnauthorizedError(challenge="Bearer"), 401, (b"www-authenticate", b"Bearer")),
        (TooManyRequestsError(retry_after_s=3), 429, (b"retry-after", b"3")),
        (UnavailableError(problem="busy", retry_after_s=4), 503, (b"retry-after", b"4")),
        (HandlerTimeoutError(timeout_ms=5), 504, (b"content-type", b"application/json")),
        (InternalError("x"), 500, (b"content-type", b"application/json")),
    ],
)
def test_errors(failure, status, field):
    """An error has its status, its document, and the fields that belong to it."""
    response = r.error(failure)
    assert response.status == status
    assert field in response.fields
