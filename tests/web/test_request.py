"""A request: fields, query, cookies, bodies that are read once and with a limit."""

from __future__ import annotations

import pytest

from cloche.web.adapters.fixture import FixtureServices, run_now
from cloche.web.errors import (
    BadRequestError,
    BodyTakenError,
    ContentTooLargeError,
    UnsupportedMediaTypeError,
)
from cloche.web.request import Request

from .support import Pieces


def make(target="/", *, fields=(), body=b""):
    """Return a request."""
    return Request(
        method="POST", target=target, fields=fields, body=body, services=FixtureServices()
    )


def test_fields():
    """Names in any case; all values joined, or each of them."""
    request = make(fields=[(b"accept", b"a"), (b"host", b"h"), (b"accept", b"\xe4")])
    assert request.header("Accept") == "a, ä"
    assert request.headers("ACCEPT") == ["a", "ä"]
    assert request.header("x") is None
    assert request.host == "h"


def test_target():
    """Path and query as they arrived, the query parsed when it is asked for."""
    request = make("http://x/a%20b?q=%zz", fields=[(b"host", b"h")])
    assert (request.path, request.host) == ("/a%20b", "x")
    with pytest.raises(BadRequestError):
        _ = request.query
    assert make("/?a=1").query.get("a") == "1"


def test_cookies():
    """Cookies of all fields, the first of each name."""
    request = make(fields=[(b"cookie", b"a=1; b=2"), (b"cookie", b"a=3")])
    assert request.cookies == {"a": "1", "b": "2"}


def test_a_body_is_read_again():
    """The whole body can be asked for twice, a stream once."""
    request = make(body=Pieces(b"a", b"b"))
    assert run_now(request.read_all(2)) == run_now(request.read_all()) == b"ab"
    with pytest.raises(ContentTooLargeError):
        run_now(request.read_all(1))
    reader = request.body_reader()
    assert [run_now(reader.read()), run_now(reader.read())] == [b"ab", b""]
    with pytest.raises(BodyTakenError):
        run_now(request.read_all())


def test_a_stream_is_not_read_to_its_end():
    """A body that is too large is refused at the piece that is too much."""
    source = Pieces(b"aa", b"bb", b"cc")
    with pytest.raises(ContentTooLargeError):
        run_now(make(body=source).read_all(3))
    assert run_now(source.read()) == b"cc"


def test_a_limit_for_those_behind():
    """A limit that was set holds for whoever reads the body later."""
    request = make(body=Pieces(b"aa", b"bb"))
    request.limit_body(3)
    reader = request.body_reader()
    assert run_now(reader.read()) == b"aa"
    with pytest.raises(ContentTooLargeError):
        run_now(reader.read())
    with pytest.raises(ContentTooLargeError):
        make(body=b"aaaa").limit_body(3)


def test_forms():
    """An urlencoded form is pairs; another type, or bytes that no form has, are refused."""
    fields = [(b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")]
    form = run_now(make(fields=fields, body=b"a=%C3%B6&b=+&a=2").form())
    assert list(form) == [("a", "ö"), ("b", " "), ("a", "2")]
    for body in (b"a=\xff", b"a=%zz"):
        with pytest.raises(BadRequestError):
            run_now(make(fields=fields, body=body).form())
    with pytest.raises(UnsupportedMediaTypeError):
        run_now(make(body=b"a=1").form())
