"""WebSockets on our server: interop with the library `websockets`, limits, closes, silence."""

from __future__ import annotations

import asyncio

import pytest
import websockets
from websockets.asyncio.client import connect

from cloche.web.app import App
from cloche.web.response import Response, Upgrade
from cloche.web.websocket.channel import WebSocket  # noqa: TC001 - signatures are read at run time
from cloche.web.websocket.frames import write_close, write_message, write_ping

from .os_support import on_loops, serving, until

MASK = b"mask"


def echo_app(**options):
    """Return an application that says everything again; what ended each is in its state."""
    app = App()
    app.state["ends"] = []

    @app.websocket("/", **options)
    async def echo(socket: WebSocket) -> None:
        try:
            async for message in socket:
                await socket.send(message)
        finally:
            app.state["ends"].append("ended")

    return app


def url(running):
    """Return the address for WebSockets."""
    return f"ws://{running.server.address}/"


async def opened(running, *lines):
    """Return a raw client behind its handshake."""
    client = await running.connect()
    client.get(
        "/",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *lines,
    )
    reply = await client.reply()
    assert reply.status == 101
    return client


@pytest.mark.parametrize("compression", [None, "deflate"])
@on_loops
async def test_echo(compression):
    """Messages of all sizes and both kinds come back, also in fragments and compressed."""
    app = echo_app(deflate=compression is not None)
    async with serving(app) as running:
        async with connect(url(running), compression=compression) as socket:
            for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
                for message in ("ü" * (size // 2), bytes(size)):
                    await socket.send(message)
                    assert await socket.recv() == message
            await socket.send(iter(["one ", "two ", "three"]))
            assert await socket.recv() == "one two three"
            await (await socket.ping())
        assert socket.close_code == 1000
        await until(lambda: app.state["ends"] == ["ended"])


@on_loops
async def test_many_messages_at_once():
    """What is sent without waiting is answered in order."""
    async with serving(echo_app()) as running, connect(url(running)) as socket:
        sending = asyncio.ensure_future(_send_all(socket, 2000))
        for index in range(2000):
            assert await socket.recv() == str(index)
        await sending


async def _send_all(socket, count):
    for index in range(count):
        await socket.send(str(index))


@on_loops
async def test_closes_of_the_server():
    """A handler that ends, or closes with a code, closes with it; a code of nobody becomes 1011."""
    app = App()

    @app.websocket("/:code")
    async def close(code: int, socket: WebSocket) -> None:
        if code:
            await socket.close(code, "because")

    async with serving(app) as running:
        for code, expected in ((0, 1000), (4001, 4001), (1006, 1011), (99, 1011)):
            async with connect(f"{url(running)}{code}") as socket:
                with pytest.raises(websockets.ConnectionClosed):
                    await socket.recv()
            assert socket.close_code == expected


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (write_message("no mask"), 1002),
        (b"\xc1\x80" + MASK, 1002),
        (write_message(b"\xff", mask=MASK).replace(b"\x82", b"\x81", 1), 1007),
        (write_message(bytes(2000), mask=MASK), 1009),
    ],
)
@on_loops
async def test_frames_that_break_a_rule(frame, code):
    """The close has the code of the fault, and the connection ends."""
    app = echo_app()
    async with serving(app, websocket_message_limit_bytes=1000) as running:
        client = await opened(running)
        client.send(frame)
        close = await client.reader.readexactly(4)
        assert close[0] == 0x88
        assert int.from_bytes(close[2:], "big") == code
        await client.rest()
        await client.close()
        await until(lambda: app.state["ends"] == ["ended"])


@on_loops
async def test_a_bomb_of_deflate():
    """A small frame that would unpack to more than a message may have is 1009."""
    frame = write_message(bytes(10_000_000), mask=MASK, deflate=True)
    assert len(frame) < 20_000
    async with serving(echo_app(deflate=True)) as running:
        client = await opened(running, "Sec-WebSocket-Extensions: permessage-deflate")
        client.send(frame)
        close = await client.reader.readexactly(4)
        assert int.from_bytes(close[2:], "big") == 1009
        await client.close()


@on_loops
async def test_frames_behind_the_handshake():
    """A client may send its first message with the handshake; nothing is lost."""
    async with serving(echo_app()) as running:
        client = await running.connect()
        client.get(
            "/",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        client.send(write_message("early", mask=MASK))
        await client.reply()
        assert await client.reader.readexactly(7) == b"\x81\x05early"
        client.send(write_close(1000, mask=MASK))
        assert await client.rest() == b"\x88\x02\x03\xe8"
        await client.close()


@on_loops
async def test_silence():
    """A silent client is asked; one that answers stays, one that does not is cut."""
    app = echo_app()
    async with serving(app) as running:
        client = await opened(running)
        running.pass_ms(1)
        running.pass_ms(20_001)
        assert await client.reader.readexactly(2) == b"\x89\x00"
        client.send(b"\x8a\x80" + MASK)
        (connection,) = running.server.hub.connections
        await until(lambda: connection._socket._has_heard)
        running.pass_ms(20_001)
        running.pass_ms(20_001)
        assert await client.reader.readexactly(2) == b"\x89\x00"
        running.pass_ms(20_001)
        assert await client.rest() == b""
        await until(lambda: app.state["ends"] == ["ended"])
        assert running.counts.timeouts == 1
        await client.close()


@on_loops
async def test_a_client_that_does_not_close():
    """Who does not answer a close is cut after a while."""
    app = App()

    @app.websocket("/")
    async def close(socket: WebSocket) -> None:
        await socket.close(4000)

    async with serving(app) as running:
        client = await opened(running)
        assert await client.reader.readexactly(4) == b"\x88\x02\x0f\xa0"
        running.pass_ms(1)
        running.pass_ms(5001)
        assert await client.rest() == b""
        await client.close()


@on_loops
async def test_a_client_that_leaves():
    """A handler that waits for a message ends when the connection does."""
    app = echo_app()
    async with serving(app) as running:
        for leave in ("close", "reset"):
            client = await opened(running)
            if leave == "close":
                await client.close()
            else:
                client.reset()
        await until(lambda: app.state["ends"] == ["ended", "ended"])


@on_loops
async def test_a_handler_that_does_not_notice():
    """A handler that neither reads nor sends is cancelled when its client has left for a while."""
    app, ended = App(), asyncio.Event()

    @app.websocket("/")
    async def sleep(socket: WebSocket) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(app, websocket_close_timeout_ms=10) as running:
        client = await opened(running)
        client.reset()
        await ended.wait()


@on_loops
async def test_a_slow_reader_has_backpressure():
    """While a client does not read, the handler waits in send."""
    app, sent = App(), []

    @app.websocket("/")
    async def flood(socket: WebSocket) -> None:
        for index in range(1000):
            await socket.send(bytes(65_536))
            sent.append(index)

    async with serving(app) as running:
        client = await opened(running)
        (connection,) = running.server.hub.connections
        await until(lambda: connection.is_paused)
        assert len(sent) < 500
        client.reset()


@on_loops
async def test_a_slow_handler_has_backpressure():
    """While a handler does not read, the socket is not read beyond a window."""
    app, may_go = App(), asyncio.Event()

    @app.websocket("/")
    async def wait(socket: WebSocket) -> None:
        await may_go.wait()
        async for message in socket:
            await socket.send(str(len(message)))

    async with serving(app) as running, connect(url(running)) as socket:
        sending = asyncio.ensure_future(_send_large(socket, 300))
        (connection,) = running.server.hub.connections
        await until(lambda: not connection._is_reading)
        assert connection._socket._size < 1_000_000
        may_go.set()
        for _ in range(300):
            assert await socket.recv() == "65536"
        await sending


async def _send_large(socket, count):
    for _ in range(count):
        await socket.send(bytes(65_536))


@on_loops
async def test_pings_are_answered():
    """Each ping is answered with its payload."""
    async with serving(echo_app()) as running:
        client = await opened(running)
        client.send(write_ping(b"a", mask=MASK) + write_ping(b"b", mask=MASK))
        assert await client.reader.readexactly(6) == b"\x8a\x01a\x8a\x01b"
        await client.close()


@on_loops
async def test_stopping_closes_with_1001():
    """A server that stops closes WebSockets and lets clients answer."""
    app = echo_app()
    async with serving(app, stopped=False) as running:
        async with connect(url(running)) as socket:
            await socket.send("hello")
            await socket.recv()
            stopping = asyncio.ensure_future(running.server.stop())
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1001
        assert await stopping
        assert app.state["ends"] == ["ended"]


@on_loops
async def test_a_refused_handshake_keeps_the_connection():
    """A request that offers a WebSocket and is answered with HTTP can be followed by others."""
    app = echo_app()

    @app.get("/plain")
    def plain() -> str:
        return "hello"

    async with serving(app) as running, await running.connect() as client:
        client.get("/plain", "Connection: Upgrade", "Upgrade: websocket")
        assert (await client.reply()).body == b"hello"
        client.get("/", "Connection: Upgrade", "Upgrade: websocket")
        assert (await client.reply()).status == 426
        client.get("/plain")
        assert (await client.reply()).body == b"hello"


@on_loops
async def test_a_head_that_cannot_be_written():
    """A 101 with a bad field is 500, and no WebSocket begins."""
    app = App()

    async def run(channel):
        raise AssertionError

    @app.get("/")
    def home() -> Response:
        return Response(101, ((b"x", b"a\r\nb: c"),), Upgrade(run))

    async with serving(app) as running, await running.connect() as client:
        client.get("/", "Connection: Upgrade", "Upgrade: websocket")
        assert (await client.reply()).status == 500
