"""Conformance suite of the adapters of the web room: one application, the same answers anywhere.

Public: whoever writes an adapter serves `sample_app()` through it and runs every function of
`CHECKS` with a client that asks it. The suite states the behaviour once; it knows no socket.
A check raises AssertionError when the adapter breaks a rule.

What an adapter adds on its own (date, server, framing of the body) is not looked at.
"""

# ruff: noqa: PLR2004 - statuses and sizes are what the suite is about
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from cloche.web.app import App
from cloche.web.errors import ForbiddenError
from cloche.web.middleware.basics import access_log, catch_errors, request_id
from cloche.web.middleware.security import security_headers
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, event, html, redirect, sse, stream
from cloche.web.websocket.channel import WebSocket  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from cloche.web.http1.events import Field

    Check = Callable[["Client"], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")
PIECE: Final = bytes(range(256)) * 64  # 16 KiB
PIECE_COUNT: Final = 40
NORMAL: Final = 1000


class Answer(msgspec.Struct, frozen=True):
    """A response as a client got it, names of fields in lowercase."""

    status: int
    fields: tuple[Field, ...]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return [value for found, value in self.fields if found == name]

    def document(self) -> Any:
        """Return the body as JSON."""
        return msgspec.json.decode(self.body)


class Conversation(msgspec.Struct, frozen=True):
    """What a WebSocket said, and the code that closed it."""

    messages: list[str | bytes]
    close_code: int
    subprotocol: str | None = None


class Client(Protocol):
    """Asks the application through the adapter."""

    async def request(
        self, method: str, target: str, fields: Sequence[Field] = (), body: bytes = b""
    ) -> Answer:
        """Return the response to a request; the client adds `host` and the framing."""

    async def converse(
        self, target: str, messages: Sequence[str | bytes] = (), subprotocols: Sequence[str] = ()
    ) -> Conversation | Answer:
        """Open a WebSocket, send the messages, close with 1000 unless it was closed.

        Each message is answered by one before the next is sent.
        """


class Item(msgspec.Struct):
    """A body of the sample application."""

    name: str
    count: int = 1


class Shown(msgspec.Struct):
    """What the sample application shows of an item."""

    number: int
    verbose: bool


def sample_app() -> App:
    """Return an application that uses what an adapter has to carry."""
    app = App()
    for each in (request_id(), access_log(), catch_errors(), security_headers()):
        app.use(each)
    _add_plain(app)
    _add_streams(app)
    return app


def _add_plain(app: App) -> None:  # noqa: C901 - a list of handlers, none with a branch
    @app.get("/")
    def home() -> Response:
        """Show the first page."""
        return html("<!doctype html><html lang=en><title>sample</title><p>hello</html>")

    @app.get("/items/:number")
    def show(number: int, verbose: bool = False) -> Shown:
        """Show an item."""
        return Shown(number, verbose)

    @app.post("/items")
    def add(item: Item) -> Item:
        """Add an item and show it."""
        return item

    @app.delete("/items/:number")
    def remove(number: int) -> None:
        """Remove an item."""
        del number

    @app.get("/echo/*rest")
    def echo(rest: str, request: Request) -> dict[str, Any]:
        """Tell what arrived."""
        return {
            "rest": rest,
            "query": list(request.query),
            "tags": request.headers("x-tag"),
            "cookies": request.cookies,
        }

    @app.post("/form")
    async def form(request: Request) -> list[tuple[str, str]]:
        """Tell the fields of a form."""
        return list(await request.form())

    @app.get("/cookies")
    def cookies() -> Response:
        """Set two cookies."""
        return Response(204, ((b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; Path=/")))

    @app.get("/old")
    def old() -> Response:
        """Point to another place."""
        return redirect("/items/1")

    @app.get("/forbidden")
    def forbidden() -> None:
        """Refuse."""
        raise ForbiddenError(problem="nobody may")

    @app.get("/broken")
    def broken() -> None:
        """Fail."""
        raise ZeroDivisionError("a secret of the server")


def _add_streams(app: App) -> None:
    @app.get("/down")
    def down() -> Response:
        """Send many pieces of a known size."""

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(PIECE_COUNT):
                yield PIECE

        return stream(pieces(), length=len(PIECE) * PIECE_COUNT)

    @app.get("/events")
    def events() -> Response:
        """Send events of the server."""
        return sse([event(str(number), identity=str(number)) for number in range(3)])

    @app.post("/up")
    async def up(request: Request) -> dict[str, int]:
        """Count the bytes of a body without keeping them."""
        size = total = 0
        body = request.body_reader()
        while piece := await body.read():
            size += len(piece)
            total = (total + sum(piece)) % 65_521
        return {"size": size, "sum": total}

    @app.websocket("/chat", subprotocols=("chat",))
    async def chat(socket: WebSocket) -> None:
        async for message in socket:
            if message == "bye":
                await socket.close(4000, "bye")
                return
            await socket.send(message)


async def check_answers(client: Client) -> None:
    """Handlers get typed parameters, and what they return is the response."""
    home = await client.request("GET", "/")
    assert (home.status, home.values(b"content-type")) == (200, [b"text/html; charset=utf-8"])
    assert home.body.startswith(b"<!doctype html>")
    shown = await client.request("GET", "/items/7?verbose=true")
    assert (shown.status, shown.body) == (200, b'{"number":7,"verbose":true}')
    added = await client.request("POST", "/items", (JSON,), b'{"name":"a"}')
    assert (added.status, added.body) == (200, b'{"name":"a","count":1}')
    removed = await client.request("DELETE", "/items/7")
    assert (removed.status, removed.body, removed.values(b"content-length")) == (204, b"", [])


async def check_what_arrives(client: Client) -> None:
    """Escapes, values of the query, repeated fields and cookies arrive as they were sent."""
    fields = ((b"x-tag", b"one"), (b"x-tag", b"two"), (b"cookie", b"a=1; b=2"))
    found = await client.request("GET", "/echo/a%2520b/%C3%A9?x=1&x=2&y=%26", fields)
    assert found.document() == {
        "rest": "a%20b/\u00e9",
        "query": [["x", "1"], ["x", "2"], ["y", "&"]],
        "tags": ["one", "two"],
        "cookies": {"a": "1", "b": "2"},
    }
    slash = await client.request("GET", "/items/a%2Fb")
    assert slash.status == 422, "an encoded slash is data of a segment"


async def check_errors(client: Client) -> None:
    """Every error has the one document, and a failure tells nothing of the server."""
    for method, target, status, code in (
        ("GET", "/none", 404, "WEB_NOT_FOUND"),
        ("PUT", "/items", 405, "WEB_METHOD_NOT_ALLOWED"),
        ("GET", "/items/seven", 422, "WEB_VALIDATION"),
        ("GET", "/items/%zz", 400, "WEB_BAD_REQUEST"),
        ("GET", "/forbidden", 403, "WEB_FORBIDDEN"),
        ("GET", "/broken", 500, "INTERNAL"),
    ):
        answer = await client.request(method, target)
        assert (answer.status, answer.document()["code"]) == (status, code), target
        assert b"secret" not in answer.body
    assert (await client.request("PUT", "/items")).values(b"allow") == [b"OPTIONS, POST"]
    unread = await client.request("POST", "/items", ((b"content-type", b"text/x"),), b"a")
    assert (unread.status, unread.document()["code"]) == (415, "WEB_UNSUPPORTED_MEDIA_TYPE")


async def check_methods(client: Client) -> None:
    """HEAD is GET without its body, OPTIONS tells what a path allows."""
    whole = await client.request("GET", "/items/7")
    head = await client.request("HEAD", "/items/7")
    assert (head.status, head.body) == (200, b"")
    assert head.values(b"content-type") == whole.values(b"content-type")
    streamed = await client.request("HEAD", "/down")
    assert (streamed.status, streamed.body) == (200, b"")
    options = await client.request("OPTIONS", "/items/7")
    assert (options.status, options.values(b"allow")) == (204, [b"DELETE, GET, HEAD, OPTIONS"])


async def check_fields(client: Client) -> None:
    """Fields of middleware and handlers arrive; cookies are never joined."""
    found = await client.request("GET", "/cookies")
    assert found.status == 204
    assert found.values(b"set-cookie") == [b"a=1; Path=/", b"b=2; Path=/"]
    assert found.values(b"x-content-type-options") == [b"nosniff"]
    assert len(found.values(b"x-request-id")[0]) == 32
    moved = await client.request("GET", "/old")
    assert (moved.status, moved.values(b"location")) == (303, [b"/items/1"])


async def check_bodies(client: Client) -> None:
    """Bodies stream in both directions, and forms are read."""
    form = (b"content-type", b"application/x-www-form-urlencoded")
    sent = await client.request("POST", "/form", (form,), b"a=1&a=2&b=%2B")
    assert sent.document() == [["a", "1"], ["a", "2"], ["b", "+"]]
    down = await client.request("GET", "/down")
    assert down.body == PIECE * PIECE_COUNT
    up = await client.request("POST", "/up", (), PIECE * PIECE_COUNT)
    total = sum(PIECE) * PIECE_COUNT % 65_521
    assert up.document() == {"size": len(PIECE) * PIECE_COUNT, "sum": total}
    events = await client.request("GET", "/events")
    assert events.values(b"content-type") == [b"text/event-stream"]
    assert events.body == b"id: 0\ndata: 0\n\nid: 1\ndata: 1\n\nid: 2\ndata: 2\n\n"


async def check_too_large(client: Client) -> None:
    """A body over the limit of buffered bodies is refused."""
    large = b'"%s"' % (b"a" * 1_048_576)
    refused = await client.request("POST", "/items", (JSON,), large)
    assert (refused.status, refused.document()["code"]) == (413, "WEB_CONTENT_TOO_LARGE")


async def check_websocket(client: Client) -> None:
    """Messages of both kinds go both ways, and closes have their codes."""
    said = await client.converse("/chat", ["text \u00e9", b"\x00\xff", ""], ["other", "chat"])
    assert isinstance(said, Conversation)
    assert said.messages == ["text \u00e9", b"\x00\xff", ""]
    assert (said.close_code, said.subprotocol) == (NORMAL, "chat")
    left = await client.converse("/chat", ["bye"])
    assert isinstance(left, Conversation)
    assert (left.messages, left.close_code) == ([], 4000)


async def check_refused_websocket(client: Client) -> None:
    """Where no WebSocket is, none is opened."""
    refused = await client.converse("/items/1")
    assert isinstance(refused, Answer)
    assert refused.status != 101


CHECKS: Final[tuple[Check, ...]] = (
    check_answers,
    check_what_arrives,
    check_errors,
    check_methods,
    check_fields,
    check_bodies,
    check_too_large,
    check_websocket,
    check_refused_websocket,
)
