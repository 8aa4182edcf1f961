"""Streams on the real server: their lengths, failures, clients that leave, backpressure."""

from __future__ import annotations

import asyncio

import pytest

from cloche.web.app import App
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, stream

from .os_support import on_loops, serving, until


@on_loops
async def test_streams():
    """A stream is chunked, or has the length it says; the connection goes on behind it."""
    app = App()

    async def pieces():
        yield b"one "
        yield b""
        yield b"two"

    @app.get("/open")
    def show() -> Response:
        return stream(pieces())

    @app.get("/sized")
    def sized() -> Response:
        return stream([b"one ", b"two"], length=7)

    async with serving(app) as running, await running.connect() as client:
        client.get("/open")
        reply = await client.reply()
        assert (reply.fields["transfer-encoding"], reply.body) == (["chunked"], b"one two")
        client.get("/sized")
        reply = await client.reply()
        assert (reply.fields["content-length"], reply.body) == (["7"], b"one two")
        client.send(b"HEAD /open HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.reply(body=False)).status == 200
        client.get("/open")
        assert (await client.reply()).body == b"one two"


@pytest.mark.parametrize("length", [5, 20])
@on_loops
async def test_a_stream_of_another_length(length):
    """A stream that is shorter or longer than it said is broken off: the client sees it."""
    app = App()

    @app.get("/")
    def home() -> Response:
        return stream([b"0123456789"], length=length)

    async with serving(app) as running, await running.connect() as client:
        client.get()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reply()
        assert len(running.records) == 1


@on_loops
async def test_a_stream_that_fails():
    """A stream that raises ends without its last chunk, and the failure is in the log."""
    app = App()

    async def pieces():
        yield b"one"
        raise ValueError("no more")

    @app.get("/")
    def home() -> Response:
        return stream(pieces())

    async with serving(app) as running, await running.connect() as client:
        client.get()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reply()
        assert running.records[0]["message"] == "no more"


@on_loops
async def test_a_client_that_leaves_a_stream():
    """The stream is closed when the client goes away, where it waits."""
    app, closed, may_go = App(), asyncio.Event(), asyncio.Event()

    async def pieces():
        try:
            yield b"one"
            await may_go.wait()
        finally:
            closed.set()

    @app.get("/")
    def home() -> Response:
        return stream(pieces())

    async with serving(app) as running:
        client = await running.connect()
        client.get()
        await client.reader.readuntil(b"one")
        await client.close()
        (connection,) = running.server.hub.connections
        await until(lambda: connection._has_eof)
        assert not closed.is_set()
        running.pass_ms(2001)
        await closed.wait()


@on_loops
async def test_a_client_that_leaves_a_handler():
    """A handler is cancelled when nobody waits for it any more."""
    app, began, cancelled = App(), asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def home() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serving(app) as running:
        client = await running.connect()
        client.get()
        await began.wait()
        client.reset()
        await cancelled.wait()


@pytest.mark.parametrize(("size", "most"), [(1, 512), (512, 512), (65_536, 4), (1_000_000, 1)])
@on_loops
async def test_a_stream_that_never_waits(size, most):
    """Others have their turn after a quarter of a megabyte, or after so many small pieces."""
    app = App()
    runs = [0]
    count = 2 * most + 1

    def pieces():
        for _ in range(count):
            if not runs[-1]:
                asyncio.get_running_loop().call_soon(runs.append, 0)
            runs[-1] += 1
            yield bytes(size)

    @app.get("/")
    def home() -> Response:
        return stream(pieces(), length=count * size)

    async with serving(app) as running, await running.connect() as client:
        client.get()
        assert len((await client.reply()).body) == count * size
    assert sum(runs) == count
    assert max(runs) <= most


@on_loops
async def test_uploads_have_backpressure():
    """While the handler does not read, no more than a window and one read of the socket is kept."""
    app, may_go, sizes = App(), asyncio.Event(), []

    @app.post("/")
    async def take(request: Request) -> str:
        body = request.body_reader()
        sizes.append(len(await body.read()))
        await may_go.wait()
        while piece := await body.read():
            sizes.append(len(piece))
        return str(sum(sizes))

    size = 30_000_000
    limits = {"body_limit_bytes": size, "stream_window_bytes": 65_536}
    async with serving(app, **limits) as running, await running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.send(bytes(size))
        await until(lambda: sizes)
        (connection,) = running.server.hub.connections
        await until(lambda: not connection._is_reading)
        assert connection._body._size < 1_000_000
        may_go.set()
        assert (await client.reply()).body == str(size).encode()


@on_loops
async def test_downloads_have_backpressure():
    """While the client does not read, a stream makes no more than sockets and a window hold."""
    app, made = App(), []
    count = 500

    async def pieces():
        for index in range(count):
            made.append(index)
            yield bytes(65_536)

    @app.get("/")
    def home() -> Response:
        return stream(pieces())

    async with serving(app) as running, await running.connect() as client:
        client.get()
        await until(lambda: made)
        (connection,) = running.server.hub.connections
        await until(lambda: connection.is_paused)
        assert len(made) < count / 2
        assert connection.transport.get_write_buffer_size() < 300_000
        assert len((await client.reply()).body) == count * 65_536
