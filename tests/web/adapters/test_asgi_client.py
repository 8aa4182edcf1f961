"""ASGI applications as applications of the room: the round trip, and other people's frameworks."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from cloche.testing.web import CHECKS, Answer, Conversation, sample_app
from cloche.web.adapters.asgi import AsgiApp
from cloche.web.adapters.asgi_client import AsgiBridge, AsgiError
from cloche.web.adapters.fixture import FixtureServices
from cloche.web.errors import ContentTooLargeError
from cloche.web.request import Request

from ..clients import AsgiClient  # noqa: TID252 - the tests of a room are one package


def there_and_back(app):
    """Return an application, seen as ASGI, seen as an application, seen as ASGI."""
    return AsgiClient(AsgiApp(AsgiBridge(AsgiApp(app))))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_round_trip(check):
    """Nothing is lost on the way there and back."""

    async def run():
        client = there_and_back(sample_app())
        async with asyncio.timeout(60):
            await check(client)

    asyncio.run(run())


def shown(asgi, *requests, lifespan=True):
    """Return what an ASGI application answers to requests."""

    async def run():
        bridge = AsgiBridge(asgi)
        if lifespan:
            await bridge.start()
        client = AsgiClient(AsgiApp(bridge))
        async with asyncio.timeout(60):
            answers = [await client.request(*request) for request in requests]
        if lifespan:
            await bridge.stop()
        return answers

    return asyncio.run(run())


def test_a_status_by_name():
    """A status that is an `HTTPStatus` is a number like any other."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": HTTPStatus.ACCEPTED, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    (answer,) = shown(app, ("GET", "/"), lifespan=False)
    assert type(answer.status) is int
    assert (answer.status, answer.body) == (202, b"ok")


@pytest.mark.parametrize("body", [bytearray(b"ok"), memoryview(b"ok"), memoryview(b"ok").cast("h")])
def test_a_body_that_is_a_view_of_bytes(body):
    """What frameworks pass on without a copy is sent like bytes, whole and in pieces."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = scope["path"] == "/pieces"
        await send({"type": "http.response.body", "body": body, "more_body": more})
        if more:
            await send({"type": "http.response.body", "body": body})

    whole, pieces = shown(app, ("GET", "/"), ("GET", "/pieces"), lifespan=False)
    assert (whole.body, pieces.body) == (b"ok", b"okok")


def test_starlette():
    """Its responses, streams, lifespan state and background tasks work."""
    seen = []

    async def lifespan(app):
        seen.append("start")
        yield {"greeting": "hello"}
        seen.append("stop")

    async def home(request):
        return JSONResponse({"state": request.state.greeting, "path": request.url.path})

    async def numbers(request):
        async def pieces():
            for number in range(3):
                yield f"{number}\n"

        return StreamingResponse(pieces(), media_type="text/plain")

    async def later(request):
        return PlainTextResponse("now", background=BackgroundTask(seen.append, "behind"))

    async def post(request):
        return JSONResponse({"size": len(await request.body())})

    app = Starlette(
        routes=[
            Route("/{rest:path}/home", home),
            Route("/numbers", numbers),
            Route("/later", later),
            Route("/post", post, methods=["POST"]),
        ],
        lifespan=asynccontextmanager(lifespan),
    )
    home_, numbers_, head, later_, post_, none = shown(
        app,
        ("GET", "/a%20b/home"),
        ("GET", "/numbers"),
        ("HEAD", "/a/home"),
        ("GET", "/later"),
        ("POST", "/post", (), b"a" * 10_000),
        ("GET", "/none"),
    )
    assert home_.document() == {"state": "hello", "path": "/a b/home"}
    assert numbers_.body == b"0\n1\n2\n"
    assert (head.status, head.body) == (200, b"")
    assert (later_.body, post_.document(), none.status) == (b"now", {"size": 10_000}, 404)
    assert seen == ["start", "behind", "stop"]


def test_starlette_websocket():
    """Its WebSockets open, talk and close with their codes."""

    async def echo(socket):
        await socket.accept(subprotocol="chat", headers=[(b"x-a", b"b")])
        await socket.send_text(await socket.receive_text())
        await socket.send_bytes(await socket.receive_bytes())
        await socket.close(4001, "enough")

    async def refuse(socket):
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/echo", echo), WebSocketRoute("/no", refuse)])

    async def run():
        client = AsgiClient(AsgiApp(AsgiBridge(app)))
        async with asyncio.timeout(60):
            return (
                await client.converse("/echo", ["a", b"b"], ["chat"]),
                await client.converse("/no"),
            )

    talked, refused = asyncio.run(run())
    assert talked == Conversation(["a", b"b"], 4001, "chat")
    assert isinstance(refused, Answer)
    assert refused.status == 403


def test_fastapi():
    """Its typed bodies, validation errors and OpenAPI document work."""
    app = FastAPI()

    class Item(BaseModel):
        name: str
        price: float = 1.5

    @app.get("/items/{number}")
    async def item(number: int, q: str | None = None):
        return {"number": number, "q": q}

    async def add(item):
        return item

    add.__annotations__ = {"item": Item}
    app.post("/items")(add)
    read, wrong, added, document = shown(
        app,
        ("GET", "/items/7?q=a"),
        ("GET", "/items/seven"),
        ("POST", "/items", ((b"content-type", b"application/json"),), b'{"name":"a"}'),
        ("GET", "/openapi.json"),
    )
    assert read.document() == {"number": 7, "q": "a"}
    assert wrong.status == 422
    assert added.document() == {"name": "a", "price": 1.5}
    assert document.document()["openapi"].startswith("3.1")


async def simple(send, *, body=b"ok", more=False, headers=()):
    """Send a response."""
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body, "more_body": more})


def test_an_application_without_a_lifespan():
    """It raises at the lifespan, as the specification says, and works."""

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await simple(send)

    assert shown(app, ("GET", "/"))[0].body == b"ok"


def test_an_application_that_cannot_start():
    """The start fails with what it said."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(AsgiError, match="failed at startup: no database"):
        shown(app)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"type": "http.response.body", "body": b""}],
        [{"type": "http.response.start", "status": 200, "headers": []}],
        [{"type": "http.response.start", "status": 200}] * 2,
        [{"type": "surprise"}],
    ],
)
def test_broken_applications(messages):
    """What breaks the protocol before the response is 500, with the failure in the log."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    async def run():
        services = FixtureServices()
        request = Request(method="GET", target="/", services=services, fields=[(b"host", b"a")])
        response = await AsgiBridge(app).handle(request)
        return response.status, services.records[0]["type"]

    assert asyncio.run(run()) == (500, "AsgiError")


def test_framing_is_not_the_applications():
    """Its length and connection fields are dropped; the length is that of the body."""

    async def app(scope, receive, send):
        await simple(send, headers=[(b"Content-Length", b"99"), (b"Connection", b"close")])

    answer = shown(app, ("GET", "/"), lifespan=False)[0]
    assert (answer.values(b"content-length"), answer.values(b"connection")) == ([b"2"], [])


def test_a_client_that_leaves():
    """The application is told, its next message raises, and its stream is closed."""
    seen = []

    async def app(scope, receive, send):
        await simple(send, more=True)
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        try:
            await send({"type": "http.response.body", "body": b"late"})
        except OSError:
            seen.append("left")

    async def run():
        services = FixtureServices()
        request = Request(method="GET", target="/", services=services, fields=[(b"host", b"a")])
        response = await AsgiBridge(app).handle(request)
        pieces = aiter(response.body)
        seen.append(await anext(pieces))
        await pieces.aclose()

    asyncio.run(run())
    assert seen == [b"ok", "left"]


def test_pieces_wait_for_the_client():
    """No more than the piece that is sent and one behind it are made ahead."""
    made = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(100):
            made.append(number)
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body"})

    async def run():
        services = FixtureServices()
        request = Request(method="GET", target="/", services=services, fields=[(b"host", b"a")])
        response = await AsgiBridge(app).handle(request)
        pieces = aiter(response.body)
        await anext(pieces)
        for _ in range(20):
            await asyncio.sleep(0)
        ahead = len(made)
        rest = [piece async for piece in pieces]
        return ahead, len(rest)

    ahead, rest = asyncio.run(run())
    assert ahead <= 3
    assert rest == 99


def asked(app, **options):
    """Return what a bridge answers to a request, and what was logged."""

    async def run():
        services = FixtureServices()
        fields = [(b"host", b"a"), *options.pop("fields", ())]
        given = {"method": "GET", "target": "/", **options}
        request = Request(services=services, fields=fields, **given)
        bridge = AsgiBridge(app)
        async with asyncio.timeout(60):
            response = await bridge.handle(request)
            body = response.body
            if response.is_stream and hasattr(body, "__aiter__"):
                body = b"".join([piece async for piece in body])
            await bridge.stop()
        return response, body, services.records

    return asyncio.run(run())


class Refusing:
    """A body that is refused while it is read."""

    async def read(self):
        """Refuse."""
        raise ContentTooLargeError(limit_bytes=1)


async def reading(request):
    """Read a body, as a route of Starlette."""
    return PlainTextResponse(str(len(await request.body())))


async def careless(scope, receive, send):
    """Answer, whatever was received."""
    await receive()
    await simple(send)


@pytest.mark.parametrize(
    "app", [Starlette(routes=[Route("/", reading, methods=["POST"])]), careless]
)
def test_a_body_that_is_refused(app):
    """The client learns why, whatever the application makes of it."""
    response, _, _ = asked(app, method="POST", body=Refusing())
    assert response.status == 413


def test_work_behind_a_response_that_fails():
    """The client has its answer, and the failure is in the log."""

    async def app(scope, receive, send):
        await simple(send)
        raise ZeroDivisionError

    response, body, records = asked(app)
    assert (response.status, body) == (200, b"ok")
    assert [record["type"] for record in records] == ["ZeroDivisionError"]


def test_a_length_without_a_body():
    """The answer to HEAD keeps the length of what GET would send."""

    async def app(scope, receive, send):
        await simple(send, body=b"", headers=[(b"content-length", b"99")])

    response, body, _ = asked(app, method="HEAD")
    assert (response.length, body) == (99, b"")


def test_a_stream_that_breaks_off():
    """What the application raises in the middle reaches who sends the stream."""

    async def app(scope, receive, send):
        await simple(send, more=True)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asked(app)


@pytest.mark.parametrize("step", ["startup", "shutdown"])
def test_a_lifespan_that_fails(step):
    """The error says at which step, and what the application said."""

    async def app(scope, receive, send):
        while True:
            name = (await receive())["type"]
            failed = name == f"lifespan.{step}"
            await send({"type": f"{name}.failed" if failed else f"{name}.complete"})

    async def run():
        bridge = AsgiBridge(app)
        await bridge.start()
        await bridge.stop()

    with pytest.raises(AsgiError, match=f"failed at {step}"):
        asyncio.run(run())


def talked(app, messages=(), target="/"):
    """Return what a WebSocket of an application said."""

    async def run():
        async with asyncio.timeout(60):
            return await AsgiClient(AsgiApp(AsgiBridge(app))).converse(target, messages)

    return asyncio.run(run())


def test_a_refusal_with_a_response():
    """The application's own answer to a handshake arrives."""

    async def app(scope, receive, send):
        start = {"type": "websocket.http.response.start", "status": 402}
        await send({**start, "headers": [(b"X-Why", b"money"), (b"content-length", b"9")]})
        await send({"type": "websocket.http.response.body", "body": b"pay"})

    refused = talked(app)
    assert (refused.status, refused.body, refused.values(b"x-why")) == (402, b"pay", [b"money"])


REFUSAL = {"type": "websocket.http.response.start", "status": HTTPStatus.PAYMENT_REQUIRED}


def test_a_refusal_in_pieces():
    """It is whole when its last piece comes; afterwards the application hears that it is over."""
    heard = []

    async def app(scope, receive, send):
        assert await receive() == {"type": "websocket.connect"}
        await send(REFUSAL)
        for piece in (b"pay ", memoryview(b"me ")):
            await send({"type": "websocket.http.response.body", "body": piece, "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"now"})
        heard.append(await receive())

    refused = talked(app)
    assert (refused.status, refused.body) == (402, b"pay me now")
    assert heard == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_a_refusal_that_is_too_large():
    """It is not kept without end."""

    async def app(scope, receive, send):
        await send(REFUSAL)
        while True:
            piece = bytes(100_000)
            await send({"type": "websocket.http.response.body", "body": piece, "more_body": True})

    assert talked(app).status == 500


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([], 500),
        ([{"type": "websocket.send", "text": "early"}], 500),
        ([REFUSAL, REFUSAL], 500),
        ([REFUSAL], 500),
        ([{"type": "websocket.http.response.body", "body": b"early"}], 500),
    ],
)
def test_sockets_that_break_the_protocol(messages, status):
    """They are answered over HTTP, as nothing was opened."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    assert talked(app).status == status


def test_a_socket_that_fails():
    """It is closed with 1011; one that breaks the protocol as well."""

    async def fails(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    async def breaks(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "http.response.start"})

    assert talked(fails).close_code == talked(breaks).close_code == 1011


def test_a_client_that_closes():
    """The application is told with the code, and sending then ends it."""
    seen = []

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        await receive()
        seen.append(await receive())
        await send({"type": "websocket.send", "text": "late"})

    said = talked(app)
    assert seen == [{"type": "websocket.disconnect", "code": 1000, "reason": ""}]
    assert said.messages == []


def test_what_is_no_handshake():
    """It is refused before the application sees it."""

    async def app(scope, receive, send):
        raise AssertionError

    response, _, _ = asked(app, fields=[(b"upgrade", b"websocket"), (b"connection", b"upgrade")])
    assert response.status == 426
