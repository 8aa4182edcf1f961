"""Applications under ASGI: lifespan, targets, disconnects, what servers leave out."""

from __future__ import annotations

import asyncio

import pytest

from cloche.limits import Limits
from cloche.web.adapters.asgi import AsgiApp
from cloche.web.app import App
from cloche.web.errors import ChannelClosedError
from cloche.web.http1.errors import Http1ResponseError
from cloche.web.http1.serializer import check_fields
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, stream
from cloche.web.websocket.channel import WebSocket  # noqa: TC001 - likewise

from ..clients import AsgiClient  # noqa: TID252 - the tests of a room are one package


def talk(app, messages):
    """Give an application messages of a lifespan; return what it sent."""
    sent = []

    async def receive():
        return {"type": messages.pop(0)}

    async def send(message):
        sent.append(message)

    asyncio.run(AsgiApp(app)({"type": "lifespan"}, receive, send))
    return sent


def test_hooks_run_with_the_server():
    """Start hooks run before the server is ready, stop hooks when it ends."""
    app = App()
    seen = []

    @app.on_start
    async def begin(state):
        seen.append("start")

    @app.on_stop
    async def end(state):
        seen.append("stop")

    sent = talk(app, ["lifespan.startup", "lifespan.shutdown"])
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert seen == ["start", "stop"]


def test_a_start_that_fails():
    """The server is told why, and ends."""
    app = App()

    @app.on_start
    async def begin(state):
        raise OSError("no database")

    assert talk(app, ["lifespan.startup"]) == [
        {"type": "lifespan.startup.failed", "message": "no database"}
    ]


def test_a_protocol_that_is_not_known():
    """It is refused with an exception, as the specification asks."""
    with pytest.raises(NotImplementedError, match="'smtp'"):
        asyncio.run(AsgiApp(App())({"type": "smtp"}, None, None))


def echo():
    """Return an application that tells its target, client and scheme."""
    app = App()

    @app.get("/*rest")
    def tell(rest: str, request: Request):
        return [request.target, request.client, request.scheme]

    return app


def ask(app, target="/a", **more):
    """Return what an application answers to a scope with changes."""

    async def run():
        client = AsgiClient(AsgiApp(app))
        inner = client.scope
        client.scope = lambda *given, **given_too: {**inner(*given, **given_too), **more}
        return await client.request("GET", target)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("more", "target"),
    [
        ({}, "/a"),
        ({"raw_path": None, "path": "/a b/\u00e9%"}, "/a%20b/%C3%A9%25"),
        ({"root_path": "/mount", "raw_path": b"/mount/x"}, "/x"),
        ({"root_path": "/mount", "raw_path": b"/mountain"}, "/mountain"),
        ({"query_string": b"q=%20"}, "/a?q=%20"),
        ({"raw_path": b"/a?q", "query_string": b"q"}, "/a?q"),
    ],
)
def test_targets(more, target):
    """The target is the one of the wire, or made of the path where the server has it decoded."""
    assert ask(echo(), **more).document() == [target, "192.0.2.1", "http"]


def test_who_asks():
    """The scheme and address are the server's; a socket without one has an empty client."""
    assert ask(echo(), scheme="https", client=None).document() == ["/a", "", "https"]


@pytest.mark.parametrize("raw", [b"/\xc3\xa9", b"/a b", b"/a#b"])
def test_targets_that_no_parser_of_ours_lets_through(raw):
    """They are 400, whatever the server below accepted."""
    answer = ask(echo(), raw_path=raw)
    assert (answer.status, answer.document()["fields"]["where"]) == (400, "target")


def test_the_limit_of_bodies():
    """It holds for a body that is read as a stream as well."""
    app = App()

    @app.post("/")
    async def up(request: Request):
        body = request.body_reader()
        while await body.read():
            pass

    small = Limits().replace({"web": {"body_limit_bytes": 10}})

    async def run(size):
        client = AsgiClient(AsgiApp(app, limits=small), size=4)
        return (await client.request("POST", "/", (), b"a" * size)).status

    assert asyncio.run(run(10)) == 204
    assert asyncio.run(run(11)) == 413


def test_a_connection_that_ends_inside_of_a_body():
    """Whoever reads gets an error of the request, and nothing waits for ever."""
    app = App()

    @app.post("/")
    async def up(request: Request):
        return len(await request.read_all())

    messages = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = AsgiClient(None).scope("http", "/", [(b"content-length", b"9")], method="POST")
    asyncio.run(AsgiApp(app)(scope, receive, send))
    assert sent[0]["status"] == 400


def test_a_client_that_leaves_a_stream():
    """The stream is closed, so that what it holds is given back."""
    app = App()
    closed = []

    @app.get("/")
    def endless():
        async def pieces():
            try:
                while True:
                    yield b"a"
                    await asyncio.sleep(0)
            finally:
                closed.append(True)

        return stream(pieces())

    async def run():
        left = asyncio.Event()
        count = 0

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            nonlocal count
            count += 1
            if count == 10:
                left.set()

        scope = AsgiClient(None).scope("http", "/", [], method="GET")
        async with asyncio.timeout(60):
            await AsgiApp(app)(scope, receive, send)

    asyncio.run(run())
    assert closed == [True]


def test_a_stream_that_fails():
    """What it raises reaches the server, which breaks the connection off."""
    app = App()

    @app.get("/")
    def broken():
        def pieces():
            yield b"a"
            raise ZeroDivisionError

        return stream(pieces())

    with pytest.raises(ZeroDivisionError):
        ask(app, "/")


def test_a_handshake_without_websockets_below():
    """A server that passes it as plain HTTP gets 400 and no half-open connection."""
    app = App()

    @app.websocket("/")
    async def socket(socket: WebSocket):
        return None

    async def run():
        fields = (
            (b"connection", b"upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
        )
        return await AsgiClient(AsgiApp(app)).request("GET", "/", fields)

    assert asyncio.run(run()).status == 400


def test_a_websocket_that_is_lost():
    """Sending into it ends the handler as a close does."""
    app = App()
    seen = []

    @app.websocket("/")
    async def socket(socket: WebSocket):
        try:
            await socket.send("a")
        except ChannelClosedError as closed:
            seen.append(closed.fields["close_code"])
            raise

    messages = [{"type": "websocket.connect"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        if message["type"] == "websocket.send":
            raise OSError

    scope = AsgiClient(None).scope("websocket", "/", [], subprotocols=[])
    asyncio.run(AsgiApp(app)(scope, receive, send))
    assert seen == [1006]


@pytest.mark.parametrize(
    "field",
    [(b"a", b"b\r\nc: d"), (b"a:b", b""), (b"connection", b"x"), (b"transfer-encoding", b"x")],
)
def test_fields_that_must_not_be_written(field):
    """They never reach the server below."""
    with pytest.raises(Http1ResponseError):
        check_fields([field])
    app = App()
    app.get("/")(lambda: Response(200, (field,)))
    with pytest.raises(Http1ResponseError):
        ask(app, "/")


def test_fields_are_merged():
    """Names in lowercase, values of one name joined, cookies apart, no length of the caller's."""
    given = [(b"X", b"1"), (b"x", b"2"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert check_fields([*given, (b"content-length", b"9")]) == [
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"x", b"1, 2"),
    ]


def opened(app, messages=(), *, extensions=None, **more):
    """Return what an application sends on a WebSocket scope."""
    waiting = [{"type": "websocket.connect"}, *messages]
    sent = []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = AsgiClient(None).scope("websocket", "/", [], subprotocols=[])
    asyncio.run(AsgiApp(app)({**scope, "extensions": extensions, **more}, receive, send))
    return sent


@pytest.mark.parametrize("more", [{}, {"raw_path": b"/\xff"}])
def test_refusals_of_handshakes(more):
    """With the extension a response, without it the server's own refusal."""
    closed = opened(App(), **more)
    assert closed == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    start, body = opened(App(), extensions={"websocket.http.response": {}}, **more)
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == (400 if more else 404)
    assert body["body"].startswith(b'{"blame"')


def test_a_channel_that_is_closed():
    """Neither side can go on, and closing twice sends one close."""
    app = App()
    seen = []

    @app.websocket("/")
    async def socket(socket: WebSocket):
        await socket.close(4000, "enough")
        await socket.close()
        for step in (socket.receive, lambda: socket.send("a")):
            try:
                await step()
            except ChannelClosedError as closed:
                seen.append(closed.fields["close_code"])

    sent = opened(app)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert (sent[1]["code"], sent[1]["reason"], seen) == (4000, "enough", [4000, 4000])
