"""An application of this room as an ASGI application: under uvicorn, hypercorn, granian.

Invariants:
- the application sees what it sees behind the server of this project: strict targets, lowercase
  names, a body with a limit, a 101 that becomes a channel;
- no field reaches the server below that could not be written safely;
- a client that goes away ends the stream of its response, and whatever the stream holds is closed.

What the server below lets through on the wire is that server's affair: ambiguous framing, deadlines
and TLS are not checked here.

Source: https://asgi.readthedocs.io/en/latest/specs/, version 3.0.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cloche.limits import Limits
from cloche.web.adapters.asyncio_services import AsyncioServices
from cloche.web.encodings.messages import TARGET
from cloche.web.errors import BadRequestError, ChannelClosedError, HttpError
from cloche.web.http1.serializer import check_fields
from cloche.web.request import Request
from cloche.web.response import Response, Upgrade, error
from cloche.web.target import percent_encode

if TYPE_CHECKING:
    from cloche.web.app import App
    from cloche.web.http1.events import Field
    from cloche.web.ports import Services

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_NO_BODY: Final = frozenset({204, 205, 304})
_REFUSED: Final = 1008
_LOST: Final = 1006
_SECURE: Final = frozenset({"https", "wss"})
# What the server below writes itself when it accepts a handshake.
_HANDSHAKE: Final = frozenset(
    b"connection upgrade sec-websocket-accept sec-websocket-protocol sec-websocket-extensions"
    b"".split()
)
_OFFER: Final = (
    (b"connection", b"upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    # The server below checked the real one, or has none, as over HTTP/2.
    (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
)


class AsgiApp:
    """An application for any ASGI server.

    Args:
        app: what answers.
        services: clocks, randomness, log; real ones without a log if not given.
        limits: the size of a body is `limits.web.body_limit_bytes`.
    """

    def __init__(
        self, app: App, *, services: Services | None = None, limits: Limits | None = None
    ) -> None:
        self._app = app
        self._services = AsyncioServices() if services is None else services
        self._body_limit_bytes = (Limits() if limits is None else limits).web.body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
        else:
            # The specification asks for an exception for protocols that are not known.
            raise NotImplementedError(f"no ASGI protocol {scope['type']!r} here")

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        steps = {"startup": self._app.start, "shutdown": self._app.stop}
        for name, step in steps.items():
            await receive()
            try:
                await step()
            except Exception as raised:  # noqa: BLE001 - told to the server, which then ends
                await send({"type": f"lifespan.{name}.failed", "message": str(raised)})
                return
            await send({"type": f"lifespan.{name}.complete"})

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive)
        try:
            target = _target(scope)
        except HttpError as failure:
            await _send_whole(error(failure), scope["method"], send)
            return
        fields = _fields(scope)
        has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in fields)
        request = self._request(scope, target, fields, body if has_body else b"")
        request.limit_body(self._body_limit_bytes)
        body.has_ended = not has_body
        response = await self._app.handle(request)
        if isinstance(response.body, Upgrade):
            problem = "the server below gives no WebSocket"
            response = error(BadRequestError(where="handshake", problem=problem))
        if not response.is_stream:
            await _send_whole(response, request.method, send)
        elif request.method == "HEAD":
            await _close(response.body)
            await _send_start(response, send, length=response.length)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await _send_start(response, send, length=response.length)
            await _stream(response.body, body, send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            target = _target(scope)
        except HttpError as failure:
            await _refuse(error(failure), scope, send)
            return
        names = {name for name, _ in _OFFER}
        offered = [field for field in _fields(scope) if field[0] not in names]
        request = self._request(scope, target, [*offered, *_OFFER], b"", method="GET")
        response = await self._app.handle(request)
        upgrade = response.body
        if not isinstance(upgrade, Upgrade):
            await _refuse(response, scope, send)
            return
        fields = check_fields(each for each in response.fields if each[0] not in _HANDSHAKE)
        accept = {"type": "websocket.accept", "subprotocol": upgrade.subprotocol, "headers": fields}
        await send(accept)
        await upgrade.run(_AsgiChannel(receive, send))

    def _request(
        self,
        scope: Scope,
        target: str,
        fields: list[Field],
        body: bytes | _Body,
        *,
        method: str | None = None,
    ) -> Request:
        client = scope.get("client")
        return Request(
            method=scope["method"] if method is None else method,
            target=target,
            fields=fields,
            body=body,
            services=self._services,
            scheme="https" if scope.get("scheme") in _SECURE else "http",
            client=client[0] if client else "",
        )


class _Body:
    """The body of a request, as the server below hands it over. Knows when the client left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.has_ended = False

    async def read(self) -> bytes:
        while not self.has_ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.has_ended = True
                raise BadRequestError(where="body", problem="the connection ended inside of it")
            self.has_ended = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            if piece:
                return piece
        return b""

    async def wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _AsgiChannel:
    """A WebSocket of the server below."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._closed: ChannelClosedError | None = None

    async def receive(self) -> str | bytes:
        if self._closed is not None:
            raise self._closed
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            reason = message.get("reason") or ""
            self._closed = ChannelClosedError(close_code=message.get("code", 1005), reason=reason)
            raise self._closed
        content = message.get("text")
        return message["bytes"] if content is None else content  # type: ignore[no-any-return]

    async def send(self, content: str | bytes) -> None:
        if self._closed is not None:
            raise self._closed
        kind = "text" if isinstance(content, str) else "bytes"
        try:
            await self._send({"type": "websocket.send", kind: content})
        except (OSError, RuntimeError) as lost:
            # Servers do not agree on what a lost connection raises.
            self._closed = ChannelClosedError(close_code=_LOST)
            raise self._closed from lost

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._closed is not None:
            return
        self._closed = ChannelClosedError(close_code=code, reason=reason)
        with suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


def _target(scope: Scope) -> str:
    """Return path and query as they were on the wire, without the prefix of a mount."""
    raw = scope.get("raw_path")
    if raw is None:
        raw = "/".join(map(percent_encode, scope["path"].split("/"))).encode()
    raw = raw.partition(b"?")[0]
    prefix = scope.get("root_path", "").encode()
    if prefix and raw.startswith(prefix + b"/"):
        raw = raw[len(prefix) :]
    query = scope.get("query_string", b"")
    target: bytes = raw + b"?" + query if query else raw
    if TARGET.fullmatch(target) is None:
        raise BadRequestError(where="target", problem="it is not visible ASCII")
    return target.decode("ascii")


def _fields(scope: Scope) -> list[Field]:
    return [(name.lower(), value) for name, value in scope["headers"]]


async def _send_start(
    response: Response, send: Send, *, length: int | None, kind: str = "http.response.start"
) -> None:
    fields = check_fields(response.fields)
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    await send({"type": kind, "status": response.status, "headers": fields})


async def _send_whole(response: Response, method: str, send: Send) -> None:
    body = b"" if response.status in _NO_BODY else response.body
    await _send_start(response, send, length=None if response.status in _NO_BODY else len(body))
    body = b"" if method == "HEAD" else body
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse(response: Response, scope: Scope, send: Send) -> None:
    """Answer a handshake with a response where the server can, else with its own refusal."""
    if "websocket.http.response" not in (scope.get("extensions") or {}) or response.is_stream:
        await _close(response.body)
        await send({"type": "websocket.close", "code": _REFUSED, "reason": ""})
        return
    kind = "websocket.http.response.start"
    await _send_start(response, send, length=len(response.body), kind=kind)
    await send({"type": "websocket.http.response.body", "body": response.body})


async def _stream(pieces: Any, body: _Body, send: Send) -> None:
    """Send the pieces until they end or the client leaves."""
    sending = asyncio.ensure_future(_send_pieces(pieces, send))
    # While the application still reads the body, its messages are not ours to take.
    watching = asyncio.ensure_future(body.wait_for_disconnect()) if body.has_ended else None
    try:
        await asyncio.wait(
            {sending, *([watching] if watching else [])}, return_when=asyncio.FIRST_COMPLETED
        )
        if sending.done():
            sending.result()
    finally:
        for task in (sending, watching):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait({task})
        await _close(pieces)


async def _send_pieces(pieces: Any, send: Send) -> None:
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    else:
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _close(pieces: Any) -> None:
    """Let a stream that is not read to its end give back what it holds."""
    if hasattr(pieces, "aclose"):
        await pieces.aclose()
    elif hasattr(pieces, "close"):
        pieces.close()
