"""An ASGI application as an application of this room: Starlette, FastAPI and others on our server.

Invariants:
- what the application may do to the wire is what any application may: its framing fields are
  dropped or checked, its other fields pass the serializer;
- one piece of a response waits for the client before the next is made, so memory is bounded;
- when nobody waits for a response any more the application is told (`http.disconnect`), and its
  task is cancelled if it goes on.

Not given: server push, trailers, early hints, `pathsend`. Origins of WebSockets are the
application's own affair, as under other ASGI servers.

Source: https://asgi.readthedocs.io/en/latest/specs/, version 3.0, HTTP 2.4.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from cloche.errors import ClocheError
from cloche.web.app import App, answer_failure
from cloche.web.errors import ChannelClosedError, ForbiddenError, HttpError
from cloche.web.response import Response, Upgrade, error
from cloche.web.target import split_target
from cloche.web.websocket.handshake import accept_handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cloche.web.adapters.asgi import Message, Receive, Scope, Send
    from cloche.web.http1.events import Field
    from cloche.web.ports import BodySource, Channel
    from cloche.web.request import Request

    AsgiCallable = Callable[[Scope, Receive, Send], Awaitable[None]]

_VERSIONS: Final = {"version": "3.0", "spec_version": "2.4"}
_PORTS: Final = {False: 80, True: 443}  # that a URL means without a port
_INTERNAL: Final = 1011
_ABNORMAL: Final = 1006
_REFUSAL_LIMIT_BYTES: Final = 1 << 20  # a refusal is kept until it is whole
# Framing is ours; what an application says about it is dropped.
_FRAMING: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"content-length"})
_OPEN_TIMEOUT_S: Final = 30.0
_GRACE_S: Final = 1.0  # for an application that was told that nobody waits


class AsgiError(ClocheError):
    """An ASGI application broke the protocol. State: its response was broken off."""

    code = "WEB_ASGI"
    blame = "caller"

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"the ASGI application {problem}", problem=problem)


class AsgiBridge(App):
    """Answers requests with an ASGI application. Has no routes of its own; middleware works.

    Args:
        asgi: the application.
        root_path: the prefix that it is told it is mounted at.
    """

    def __init__(self, asgi: AsgiCallable, *, root_path: str = "") -> None:
        super().__init__()
        self._asgi = asgi
        self._root_path = root_path
        self._lifespan: _Lifespan | None = None
        self._behind: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Run the startup of the application, if it has a lifespan.

        Raises:
            AsgiError: it said that it cannot start.
        """
        await super().start()
        self._lifespan = _Lifespan(self._asgi)
        await self._lifespan.start()

    async def stop(self) -> None:
        """Run the shutdown of the application.

        Raises:
            AsgiError: it said that it failed.
        """
        lifespan, self._lifespan = self._lifespan, None
        if self._behind:
            await asyncio.wait(self._behind, timeout=_GRACE_S)
        try:
            if lifespan is not None:
                await lifespan.stop()
        finally:
            await super().stop()

    async def _dispatch(self, request: Request) -> Response:
        try:
            if request.headers("upgrade") and "websocket" in request.headers("upgrade")[0].lower():
                return await _Socket(self._asgi, self._scope(request, "websocket"), request).open()
            scope = self._scope(request, "http")
            return await _Exchange(self._asgi, scope, request, self._behind).begin()
        except HttpError as failure:
            return error(failure)
        except Exception as raised:  # noqa: BLE001 - becomes a response, and a line of the log
            return answer_failure(request, raised)

    def _scope(self, request: Request, kind: str) -> Scope:
        path, query = split_target(request.target)
        secure = request.scheme == "https"
        host, _, port = request.host.rpartition(":")
        scope: Scope = {
            "type": kind,
            "asgi": _VERSIONS,
            "http_version": "1.1",
            "scheme": {"http": "https" if secure else "http"}.get(kind, "wss" if secure else "ws"),
            "path": self._root_path + unquote(path),
            "raw_path": (self._root_path + path).encode(),
            "query_string": query.encode(),
            "root_path": self._root_path,
            "headers": list(request.fields),
            "client": (request.client, 0) if request.client else None,
            # Where it listens a request does not say; this is what the client called it.
            "server": (host, int(port)) if port.isdecimal() else (request.host, _PORTS[secure]),
            "extensions": {"websocket.http.response": {}} if kind == "websocket" else {},
        }
        if kind == "http":
            scope["method"] = request.method
        else:
            offered = request.header("sec-websocket-protocol") or ""
            scope["subprotocols"] = [name.strip() for name in offered.split(",") if name.strip()]
        if self._lifespan is not None and self._lifespan.state is not None:
            scope["state"] = dict(self._lifespan.state)
        return scope


class _Lifespan:
    """The startup and shutdown of an application, in a task of its own."""

    def __init__(self, asgi: AsgiCallable) -> None:
        self.state: dict[str, Any] | None = {}
        self._asgi = asgi
        self._orders: asyncio.Queue[Message] = asyncio.Queue()
        self._reports: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())
        report = await self._step("startup")
        if report is None:
            self.state = None  # it knows no lifespan; the specification says to go on without

    async def stop(self) -> None:
        task = self._task
        if task is None:
            return
        try:
            if self.state is not None and not task.done():
                await self._step("shutdown")
        finally:
            await _end(task)

    async def _step(self, name: str) -> Message | None:
        await self._orders.put({"type": f"lifespan.{name}"})
        report = await self._reports.get()
        if report is not None and report["type"] == f"lifespan.{name}.failed":
            raise AsgiError(problem=f"failed at {name}: {report.get('message', '')}")
        return report

    async def _run(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self.state}
        try:
            await self._asgi(scope, self._orders.get, self._reports.put)
        except Exception:  # noqa: BLE001, S110 - how an application says that it has no lifespan
            pass
        finally:
            await self._reports.put(None)


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        asgi: AsgiCallable,
        scope: Scope,
        request: Request,
        behind: set[asyncio.Future[None]],
    ) -> None:
        self._asgi = asgi
        self._scope = scope
        self._behind = behind
        self._body: BodySource = request.body_reader()
        self._request = request
        self._has_body_ended = False
        self._failure: HttpError | None = None  # what ended the body before its end
        self._is_over = asyncio.Event()
        self._start: Message | None = None
        # One piece at a time: the next one waits until this one was taken.
        self._pieces: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue(maxsize=1)
        self._room = asyncio.Event()  # for the next piece, or none will be needed
        self._has_sent_all = False
        self._task: asyncio.Future[None] | None = None

    async def begin(self) -> Response:
        """Return the response when its first piece is there."""
        self._task = asyncio.ensure_future(self._asgi(self._scope, self._receive, self._send))
        # What it does behind its response (background tasks) goes on without the client.
        self._behind.add(self._task)
        self._task.add_done_callback(self._ended)
        try:
            first = await self._next()
        except BaseException as raised:
            await self._finish()
            if self._failure is not None and isinstance(raised, Exception):
                raise self._failure from None
            raise
        if self._failure is not None:
            # What the application makes of a client that is gone is not what the client did.
            await self._finish()
            raise self._failure
        assert self._start is not None
        fields = [(name.lower(), value) for name, value in self._start.get("headers", ())]
        length = next((int(v) for name, v in fields if name == b"content-length"), None)
        kept = tuple((name, value) for name, value in fields if name not in _FRAMING)
        status = int(self._start["status"])  # `HTTPStatus` is what many give
        piece, has_more = first
        if has_more or (self._scope["method"] == "HEAD" and length is not None):
            return Response(status, kept, self._rest(piece, has_more=has_more), length)
        return Response(status, kept, piece)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._behind.discard(task)
        if self._has_sent_all and not task.cancelled():
            raised = task.exception()
            if isinstance(raised, Exception):
                answer_failure(self._request, raised)

    async def _rest(self, piece: bytes, *, has_more: bool) -> AsyncIterator[bytes]:
        try:
            while True:
                if piece:
                    yield piece
                if not has_more:
                    return
                piece, has_more = await self._next()
        finally:
            await self._finish()

    async def _next(self) -> tuple[bytes, bool]:
        """Return the next piece, or raise what ended the application before it."""
        assert self._task is not None
        getting = asyncio.ensure_future(self._pieces.get())
        either: set[asyncio.Future[Any]] = {getting, self._task}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self._room.set()
        if getting.done():
            return getting.result()
        getting.cancel()
        if not self._pieces.empty():
            return self._pieces.get_nowait()
        self._task.result()
        raise AsgiError(problem="ended before its response was complete")

    async def _finish(self) -> None:
        self._is_over.set()
        self._room.set()
        # What the application held is given back as soon as nothing holds its task.
        task, self._task = self._task, None
        if task is not None and not self._has_sent_all:
            await _end(task)

    async def _receive(self) -> Message:
        if not self._has_body_ended:
            try:
                piece = await self._body.read()
            except HttpError as failure:
                # Too large, too slow, broken off: to the application its client is gone.
                self._has_body_ended = True
                self._failure = failure
                return {"type": "http.disconnect"}
            self._has_body_ended = not piece
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self._check_open()
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start is not None and not self._has_sent_all:
            has_more = message.get("more_body", False)
            await self._wait_for_room()
            self._has_sent_all = not has_more
            # Frameworks pass on what they were given: bytes, or a view of them.
            self._pieces.put_nowait((bytes(message.get("body", b"")), has_more))
            if not has_more:
                self._is_over.set()
        else:
            raise AsgiError(problem=f"sent {kind} where it cannot be")

    async def _wait_for_room(self) -> None:
        """Wait until the client took the piece before."""
        while self._pieces.full():
            self._room.clear()
            await self._room.wait()
            self._check_open()

    def _check_open(self) -> None:
        if self._is_over.is_set() and not self._has_sent_all:
            raise OSError("nobody waits for this response any more")


class _Socket:
    """One WebSocket of an application."""

    def __init__(self, asgi: AsgiCallable, scope: Scope, request: Request) -> None:
        self._asgi = asgi
        self._scope = scope
        self._request = request
        self._decided: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._refusal: Message | None = None
        self._refused = bytearray()  # the body of a refusal so far
        self._channel: Channel | None = None
        self._opened = asyncio.Event()
        self._has_connected = False
        self._task: asyncio.Future[None] | None = None

    async def open(self) -> Response:
        """Return the 101, or what the application says instead."""
        # What is no handshake is refused before the application sees it.
        self._accept(None)
        task = asyncio.ensure_future(self._asgi(self._scope, self._receive, self._send))
        self._task = task
        try:
            either: set[asyncio.Future[Any]] = {self._decided, task}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await _end(task)
            raise
        if self._decided.done():
            response = self._decided.result()
            if not isinstance(response.body, Upgrade):
                task.add_done_callback(self._left)
            return response
        task.result()
        raise AsgiError(problem="ended without accepting or refusing the WebSocket")

    def _left(self, task: asyncio.Future[None]) -> None:
        """Log what an application raised after it refused."""
        raised = None if task.cancelled() else task.exception()
        if isinstance(raised, Exception):
            answer_failure(self._request, raised)

    def _accept(self, subprotocol: str | None) -> tuple[Field, ...]:
        chosen = () if subprotocol is None else (subprotocol,)
        return accept_handshake(
            self._request, subprotocols=chosen, origins=tuple(self._request.headers("origin"))
        ).fields

    async def _run(self, channel: Channel) -> None:
        assert self._task is not None
        self._channel = channel
        self._opened.set()
        try:
            await self._task
        except ChannelClosedError:
            pass  # it sent into a WebSocket that the client had closed
        except Exception as raised:  # noqa: BLE001 - becomes a close, and a line of the log
            answer_failure(self._request, raised)
            await channel.close(_INTERNAL)
        else:
            await channel.close()
        finally:
            await _end(self._task)

    async def _receive(self) -> Message:
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        await self._opened.wait()
        if self._channel is None:
            return {"type": "websocket.disconnect", "code": _ABNORMAL, "reason": ""}
        try:
            content = await self._channel.receive()
        except ChannelClosedError as closed:
            code, reason = closed.fields["close_code"], closed.fields["reason"]
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        kind = "text" if isinstance(content, str) else "bytes"
        return {"type": "websocket.receive", kind: content}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if not self._decided.done():
            self._decide(kind, message)
        elif kind == "websocket.send" and self._channel is not None:
            content = message.get("text")
            await self._channel.send(message["bytes"] if content is None else content)
        elif kind == "websocket.close" and self._channel is not None:
            await self._channel.close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise AsgiError(problem=f"sent {kind} where it cannot be")
        if kind == "websocket.accept":
            # Middleware may have answered something else meanwhile; then nobody ever opens it.
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                await self._opened.wait()

    def _decide(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept":
            subprotocol = message.get("subprotocol")
            fields = self._accept(subprotocol) + tuple(
                (name.lower(), value) for name, value in message.get("headers", ())
            )
            upgrade = Upgrade(self._run, subprotocol)
            self._decided.set_result(Response(101, fields, upgrade))
        elif kind == "websocket.close":
            refusal = ForbiddenError(problem="the application does not open this WebSocket")
            self._refuse(error(refusal))
        elif kind == "websocket.http.response.start" and self._refusal is None:
            self._refusal = message
        elif kind == "websocket.http.response.body" and self._refusal is not None:
            self._add_to_refusal(self._refusal, message)
        else:
            raise AsgiError(problem=f"sent {kind} before it decided about the WebSocket")

    def _add_to_refusal(self, start: Message, message: Message) -> None:
        self._refused += message.get("body", b"")
        if len(self._refused) > _REFUSAL_LIMIT_BYTES:
            raise AsgiError(problem=f"refused with more than {_REFUSAL_LIMIT_BYTES} bytes")
        if message.get("more_body", False):
            return
        fields = tuple((name.lower(), value) for name, value in start.get("headers", ()))
        kept = tuple(field for field in fields if field[0] not in _FRAMING)
        self._refuse(Response(int(start["status"]), kept, bytes(self._refused)))

    def _refuse(self, response: Response) -> None:
        self._decided.set_result(response)
        self._opened.set()  # an application that still waits for messages learns that none come


async def _end(task: asyncio.Future[None]) -> None:
    """Let a task end by itself for a moment, then cancel it; what it raises is of no interest."""
    if not task.done():
        await asyncio.wait({task}, timeout=_GRACE_S)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
