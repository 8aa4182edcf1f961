"""Asking an application without a server."""

from __future__ import annotations

from cloche.web.adapters.fixture import FixtureServices, read_body, run_now
from cloche.web.request import Request
from cloche.web.response import Response


def ask(app, method="GET", target="/", *, fields=(), body=b"", services=None, scheme="https"):
    """Return what an application answers; `services` keeps what it logged."""
    request = Request(
        method=method,
        target=target,
        fields=[(name.lower(), value) for name, value in fields],
        body=body,
        services=services or FixtureServices(),
        scheme=scheme,
        client="192.0.2.1",
    )
    return run_now(app.handle(request))


def body_of(response):
    """Return the whole body of a response."""
    return run_now(read_body(response))


class Pieces:
    """A body that comes in pieces."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)

    async def read(self):
        """Return the next piece."""
        return self._pieces.pop(0) if self._pieces else b""


# What a handler may return and no client gets: 500, and words of the log that say why.
NOT_SENDABLE = [
    (Response(200, ("nonsense",)), "too many values to unpack"),
    (Response(200, (("a", "b"),)), "str"),
    (Response(200, ((b"x", b"a\r\nb: c"),)), "the field b'x' has a bad name or value"),
    (Response(200, ((b"connection", b"close"),)), "are written by the serializer alone"),
    (Response(103), "status 103 is interim"),
    (Response(101), "status 101 is interim"),
    (Response(204, (), b"a"), "status 204 has no body"),
    (Response(205, (), b"a"), "status 205 has no body"),
    (Response(304, (), b"a"), "status 304 has no body"),
    (Response(204, (), [b"a"]), "status 204 has no body to stream"),
    (Response(200, (), "text"), "not str"),
    (Response(200, (), memoryview(b"a")), "not memoryview"),
    (Response(200, (), 5), "not int"),
]
