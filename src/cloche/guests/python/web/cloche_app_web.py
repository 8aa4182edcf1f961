"""An application of `cloche.web` as the handler of an app, inside the guest.

What the server's adapters are outside: requests, services, bodies, responses, and the channel of a
WebSocket, whose messages the host carries. A handshake that is not accepted is answered with 403 by
the host, whatever the application says to it.
"""

import asyncio
import os
import time

from _cloche import app as guest
from _cloche import host
from _cloche.app import Response
from cloche.web.app import App, SocketEndpoint
from cloche.web.errors import ChannelClosedError
from cloche.web.request import Request
from cloche.web.response import Upgrade

__all__ = ["App", "handler_of"]

_NORMAL, _ABNORMAL = 1000, 1006  # RFC 6455 section 7.4.1


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


class _Channel:
    """A WebSocket that the host carries (see `cloche.web.ports`)."""

    def __init__(self, socket):
        self._socket = socket
        self._close_code = None

    async def receive(self):
        if self._close_code is None:
            content = await self._socket.receive()
            if content is not None:
                return content
            self._close_code = _ABNORMAL  # with which code the client went is not told
        raise ChannelClosedError(close_code=self._close_code)

    async def send(self, content):
        if self._close_code is None and not self._socket.send(content):
            self._close_code = _ABNORMAL
        if self._close_code is not None:
            raise ChannelClosedError(close_code=self._close_code)

    async def close(self, code=_NORMAL, reason=""):
        if self._close_code is not None:
            return
        self._close_code = code
        try:
            self._socket.close(code, reason)
        except host.EffectError as error:
            if error.code != "CLIENT_GONE":
                raise


_services = _Services()


def handler_of(app):
    """Return `handle(request)` for an application; `request` is that of `cloche_app`.

    Where it has routes of WebSockets, and its module no `websocket`, it takes those, too.
    """
    app.build()
    is_started = False

    async def answer(request):
        nonlocal is_started
        if not is_started:
            is_started = True
            await app.start()
        return await app.handle(_request_of(request))

    async def handle(request):
        return _response_of(await answer(request))

    async def websocket(socket):
        found = await answer(socket.request)
        if isinstance(found.body, Upgrade):
            socket.accept(found.body.subprotocol)
            await found.body.run(_Channel(socket))

    if any(isinstance(route.target, SocketEndpoint) for route in app.router.routes):
        # `load` knows of `handle` alone.
        guest._handlers.setdefault("websocket", websocket)
    return handle


def _request_of(request):
    fields = [
        (name.encode("ascii"), text.encode("latin-1")) for name, text in request.headers.items()
    ]
    return Request(
        method=request.method,
        target=request.target,
        services=_services,
        fields=tuple(fields),
        body=_Body(request) if request.is_large else request.body,
        scheme=request.origin.partition(":")[0],
        client=request.client,
    )


def _response_of(found):
    response = Response(found.body, found.status)
    response.is_exact = True
    response.headers = [
        (name.decode("ascii"), text.decode("latin-1")) for name, text in found.fields
    ]
    return response
