"""Deadlines and counts, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import socket

from cloche.web.app import App
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, stream

from .os_support import Raw, on_loops, serving, until


def echo_app():
    """Return an application that answers with the size of the body."""
    app = App()

    @app.post("/")
    async def take(request: Request) -> str:
        return str(len(await request.read_all()))

    @app.get("/")
    def home() -> str:
        return "hello"

    return app


async def received(running, count=1):
    """Wait until the server has seen bytes of each connection."""
    await until(
        lambda: sum(not each._parser.is_idle for each in running.server.hub.connections) == count
    )


@on_loops
async def test_an_idle_connection_is_closed():
    """Silence ends a connection without an answer, before the first request and after one."""
    async with serving(echo_app()) as running:
        for asks in (False, True):
            client = await running.connect()
            if asks:
                client.get()
                await client.reply()
            else:
                await until(lambda: running.server.hub.connections)
            running.pass_ms(14_999)
            running.pass_ms(2)
            assert await client.rest() == b""
            await client.close()
        assert running.counts.timeouts == 2


@on_loops
async def test_a_slow_head():
    """A head that is not complete in time is 408, however often another byte comes."""
    async with serving(echo_app()) as running, await running.connect() as client:
        for index, byte in enumerate(b"GET / HTTP"):
            client.send(bytes([byte]))
            await until(lambda seen=index + 1: _head_size(running) == seen)
            running.pass_ms(990)
        assert running.counts.timeouts == 0
        running.pass_ms(200)
        reply = await client.reply()
        assert reply.status == 408
        assert reply.fields["connection"] == ["close"]
        assert await client.rest() == b""


def _head_size(running):
    return sum(len(each._parser._rest) for each in running.server.hub.connections)


@on_loops
async def test_a_slow_body():
    """A body below the least rate is 408 after its grace; one above it is waited for."""
    async with serving(echo_app()) as running:
        for rate, status in ((300, 200), (100, 408)):
            client = await running.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (rate * 20))
            await until(lambda: any(each._body for each in running.server.hub.connections))
            (connection,) = running.server.hub.connections
            for second in range(20):
                client.send(bytes(rate))
                size = rate * (second + 1)
                await until(lambda size=size, of=connection: of._body_size == size or of.is_lost)
                running.pass_ms(1000)
                if connection.must_close:
                    break
            assert (await client.reply()).status == status
            await client.close()


@on_loops
async def test_a_slow_handler():
    """A handler that takes too long is cancelled and 504 is answered."""
    app, began, ended = App(), asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def home() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(app) as running, await running.connect() as client:
        client.get()
        await began.wait()
        running.pass_ms(29_999)
        assert not running.counts.timeouts
        running.pass_ms(2)
        assert (await client.reply()).status == 504
        await ended.wait()
        assert await client.rest() == b""


@on_loops
async def test_waiting_for_the_body_is_no_work_of_the_handler():
    """A long upload that is fast enough does not use up the time of its handler."""
    limits = {"handler_timeout_ms": 2000}
    async with serving(echo_app(), **limits) as running, await running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
        await until(lambda: any(each._body for each in running.server.hub.connections))
        (connection,) = running.server.hub.connections
        for second in range(10):
            client.send(bytes(1000))
            size = 1000 * (second + 1)
            await until(lambda size=size: connection._body_size == size)
            await until(lambda: connection.head is None or connection._body.is_waited_for)
            running.pass_ms(1000)
        assert (await client.reply()).body == b"10000"


@on_loops
async def test_a_client_that_does_not_read():
    """A client that takes nothing of a response is cut, and the stream it asked for ends."""
    app, ended = App(), asyncio.Event()

    async def pieces():
        try:
            while True:
                yield bytes(65_536)
        finally:
            ended.set()

    @app.get("/")
    def home() -> Response:
        return stream(pieces())

    async with serving(app) as running:
        client = await _deaf(running)
        await until(lambda: any(each.is_paused for each in running.server.hub.connections))
        running.pass_ms(1)
        running.pass_ms(29_000)
        assert not ended.is_set()
        running.pass_ms(1001)
        await ended.wait()
        assert running.counts.timeouts == 1
        client.close()


@on_loops
async def test_a_whole_response_that_is_not_read():
    """A large response that is bytes holds its connection no longer than a stream does."""
    app = App()

    @app.get("/")
    def home() -> bytes:
        return bytes(40_000_000)

    async with serving(app) as running:
        client = await _deaf(running)
        await until(lambda: any(each.is_paused for each in running.server.hub.connections))
        for _ in range(4):
            running.pass_ms(16_000)
        await until(lambda: not running.server.hub.connections)
        client.close()


async def _deaf(running):
    """Return a socket that asked and does not read."""
    host, _, port = running.server.address.rpartition(":")
    found = socket.create_connection((host, int(port)))
    found.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    return found


@on_loops
async def test_the_longest_idle_connection_makes_room():
    """Where no connection is left, the one that is idle for the longest time is closed."""
    async with serving(echo_app(), connection_count_max=2) as running:
        first, second = await running.connect(), await running.connect()
        for client in (first, second):
            client.get()
            await client.reply()
            running.pass_ms(10)
        third = await running.connect()
        third.get()
        assert (await third.reply()).status == 200
        assert await first.rest() == b""
        second.get()
        assert (await second.reply()).status == 200
        assert running.counts.shed == 1
        for client in (first, second, third):
            await client.close()


@on_loops
async def test_busy_connections_are_not_closed_for_others():
    """Where all connections are busy, new ones wait until one ends."""
    app, may_go = App(), asyncio.Event()

    @app.get("/")
    async def home() -> str:
        await may_go.wait()
        return "done"

    async with serving(app, connection_count_max=1) as running:
        busy = await running.connect()
        busy.get("/", "Connection: close")
        await until(lambda: running.counts.open_requests == 1)
        waiting = await running.connect()
        waiting.get()
        assert running.counts.connections == 1
        may_go.set()
        assert (await busy.reply()).body == b"done"
        await busy.close()
        assert (await waiting.reply()).body == b"done"
        await waiting.close()


@on_loops
async def test_connections_of_one_address():
    """An address has as many connections as it may, and one more when one of them ends."""
    async with serving(echo_app(), address_connection_count_max=1) as running:
        first = await running.connect()
        first.get()
        await first.reply()
        async with await running.connect() as second:
            assert await second.rest() == b""
        assert running.counts.shed == 1
        await first.close()
        await until(lambda: running.counts.open == 0)
        async with await Raw.connect(running.server.address) as third:
            third.get()
            assert (await third.reply()).status == 200
