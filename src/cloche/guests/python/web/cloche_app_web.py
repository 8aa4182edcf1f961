"""An application of `cloche.web` as the handler of an app, inside the guest.

What the server's adapters are outside: requests, services, bodies and responses. WebSockets need a
connection, which a guest does not have: their handshake is answered with 501.
"""

import asyncio
import os
import time

from _cloche import host
from _cloche.app import Response
from cloche.web.app import App
from cloche.web.errors import HttpError
from cloche.web.request import Request
from cloche.web.response import Upgrade

__all__ = ["App", "handler_of"]


class _Services:
    """What an application asks of the world (see `cloche.web.ports`)."""

    def now_ns(self):
        return time.time_ns()

    def monotonic_ns(self):
        return time.monotonic_ns()

    def random_bytes(self, count):
        return os.urandom(count)

    async def within(self, work, timeout_ms):
        return await asyncio.wait_for(work, timeout_ms / 1000)

    async def heartbeat(self, pieces, interval_ms, beat):
        iterator = aiter(pieces)
        coming = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(iterator))
                done, _ = await asyncio.wait([coming], timeout=interval_ms / 1000)
                if not done:
                    yield beat
                    continue
                try:
                    piece = coming.result()
                except StopAsyncIteration:
                    return
                finally:
                    coming = None
                yield piece
        finally:
            if coming is not None:
                coming.cancel()

    def log(self, record):
        level = "error" if record.get("event") == "failure" else "info"
        fields = {key: value for key, value in record.items() if key != "event"}
        try:
            host.effect(
                "app",
                "log",
                {"level": level, "message": str(record.get("event", "")), "fields": fields},
            )
        except (host.EffectError, TypeError, ValueError):
            pass  # a line that cannot be written is no reason to fail


class _Body:
    """A large body, piece by piece."""

    def __init__(self, request):
        self._pieces = request.stream()

    async def read(self):
        return next(self._pieces, b"")


class _WebSocketError(HttpError):
    code = "APP_WEBSOCKET"
    status = 501

    def __init__(self):
        super().__init__("apps answer no WebSockets")


_services = _Services()


def handler_of(app):
    """Return `handle(request)` for an application; `request` is that of `cloche_app`."""
    app.build()
    is_started = False

    async def handle(request):
        nonlocal is_started
        if not is_started:
            is_started = True
            await app.start()
        fields = [
            (name.encode("ascii"), text.encode("latin-1")) for name, text in request.headers.items()
        ]
        found = await app.handle(
            Request(
                method=request.method,
                target=request.target,
                services=_services,
                fields=tuple(fields),
                body=_Body(request) if request.is_large else request.body,
                scheme=request.origin.partition(":")[0],
                client=request.client,
            )
        )
        if isinstance(found.body, Upgrade):
            from cloche.web.response import error

            found = error(_WebSocketError())
        response = Response(found.body, found.status)
        response.is_exact = True
        response.headers = [
            (name.decode("ascii"), text.decode("latin-1")) for name, text in found.fields
        ]
        return response

    return handle
