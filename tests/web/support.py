"""Asking an application without a server."""

from __future__ import annotations

from cloche.web.adapters.fixture import FixtureServices, read_body, run_now
from cloche.web.request import Request


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
