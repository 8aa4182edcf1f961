"""Clients that mean harm: slow ones, broken ones, bombs. A normal client is answered meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time

import pytest

from cloche.web.adapters.server import ServerSettings
from cloche.web.adapters.tls import TlsSettings, self_signed
from cloche.web.app import App
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, stream

from .os_support import Raw, on_loops, serving, until

SLOW_COUNT = 200
BROKEN_COUNT = 1000
CPU_MAX_S = 10.0  # of processor time, of which 50 ms are needed
MESSAGES = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
]


def common_app():
    """Return an application that has a bit of everything."""
    app = App()

    @app.get("/")
    def home() -> str:
        return "hello"

    @app.post("/")
    async def take(request: Request) -> str:
        return str(len(await request.read_all()))

    @app.get("/large")
    def large() -> Response:
        async def pieces():
            while True:
                yield bytes(65_536)

        return stream(pieces())

    @app.get("/cookies")
    def cookies(request: Request) -> str:
        return str(len(request.cookies))

    @app.post("/form")
    async def form(request: Request) -> str:
        return str(len(await request.multipart()))

    return app


async def check_normal_client(running):
    """Ask as anybody would, and be answered: the clock of those who attack stands still."""
    async with await running.connect() as client:
        client.get()
        assert (await client.reply()).body == b"hello"


@pytest.mark.parametrize("kind", ["head", "body", "read"])
@on_loops
async def test_slow_clients(kind):
    """Two hundred that are slow with a head, a body or reading hold up nobody, and are cut."""
    async with serving(common_app()) as running:
        slow = await asyncio.gather(*(running.connect() for _ in range(SLOW_COUNT)))
        for client in slow:
            if kind == "head":
                client.send(b"GET / HTTP/1.1\r\nX-")
            elif kind == "body":
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\na")
            else:
                client.writer.transport.pause_reading()
                kept = client.writer.get_extra_info("socket")
                kept.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.get("/large")
        await until(lambda: running.counts.open == SLOW_COUNT)
        if kind != "head":
            await until(lambda: running.counts.open_requests == SLOW_COUNT)
        await check_normal_client(running)
        running.pass_ms(1)
        running.pass_ms(10_001)
        if kind == "read":
            connections = running.server.hub.connections
            await until(lambda: all(each.is_paused for each in connections))
            running.pass_ms(1)
            running.pass_ms(30_001)
            assert running.counts.timeouts == SLOW_COUNT
        else:
            for client in slow:
                client.get()  # too late, and never read
                assert (await client.reply()).status == 408
        for client in slow:
            client.reset()
        await until(lambda: running.counts.open == 0)


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("ending", ["reset", "close"])
@on_loops
async def test_breaking_off_at_every_byte(message, ending):
    """Wherever a client breaks off, nothing of it is left."""
    async with serving(common_app()) as running:
        for size in range(len(message) + 1):
            client = await running.connect()
            client.send(message[:size])
            if ending == "reset":
                client.reset()
            else:
                await client.close()
        # One that was reset before it was looked at never became a connection.
        seen = running.counts
        await until(lambda: seen.connections + seen.handshake_failures == len(message) + 1)
        await until(lambda: running.counts.open == 0)
        await check_normal_client(running)
        assert not running.records


def client_hello():
    """Return the first message of a handshake."""
    context, sent = ssl.create_default_context(), ssl.MemoryBIO()
    handshake = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    return sent.read()


@on_loops
async def test_many_broken_handshakes():
    """A thousand handshakes that are broken off leave nothing and hold up nobody."""
    certificate = self_signed(["127.0.0.1"])
    settings = ServerSettings(tls=TlsSettings(certificate=certificate))
    hello = client_hello()
    starts = [b"", hello[:3], hello[:-1], hello, b"GET / HTTP/1.1\r\n"]
    trusting = ssl.create_default_context(cadata=certificate.certificates.decode())
    async with serving(common_app(), settings=settings) as running:
        for _ in range(20):
            clients = await asyncio.gather(*(running.connect() for _ in range(50)))
            for index, client in enumerate(clients):
                client.send(starts[index % len(starts)])
                client.reset()
        async with await Raw.connect(running.server.address, ssl=trusting) as client:
            client.get()
            assert (await client.reply()).body == b"hello"
        await until(lambda: running.counts.handshake_failures == BROKEN_COUNT)
        await until(lambda: running.counts.open == 0)
        assert not running.records


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["X: 1"] * 101, 431),
        (["X: " + "a" * 8000] * 5, 431),
        (["Cookie: " + "a=1; " * 1500], 200),
        (["Cookie: " + "a=1; " * 10_000], 431),
        (["Cookie: " + ";" * 8000], 200),
        (["Range: bytes=" + "0-1," * 2000], 200),
        (["Accept-Encoding: " + "a," * 4000], 200),
    ],
)
@on_loops
async def test_heads_that_are_bombs(lines, status):
    """Heads are bounded, and what they hold is read in linear time."""
    async with serving(common_app()) as running, await running.connect() as client:
        began_s = time.process_time()
        client.get("/cookies", *lines)
        assert (await client.reply()).status == status
        assert time.process_time() - began_s < CPU_MAX_S


@on_loops
async def test_bodies_that_are_bombs():
    """Too many parts are refused; a compressed body is not unpacked by anybody."""
    part = b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n'
    packed = gzip.compress(bytes(10_000_000))
    cases = [
        (b"multipart/form-data; boundary=b", part * 10_000 + b"--b--\r\n", b"", 413),
        (b"multipart/form-data; boundary=b", b"--b" + b"\r\n" * 200_000, b"", 400),
        (b"text/plain", packed, b"Content-Encoding: gzip\r\n", 200),
    ]
    async with serving(common_app()) as running:
        for content_type, body, more, status in cases:
            target = b"/form" if b"multipart" in content_type else b"/"
            async with await running.connect() as client:
                client.send(
                    b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Type: %b\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (target, more, content_type, len(body), body)
                )
                reply = await client.reply()
                assert reply.status == status
                if status == 200:
                    assert reply.body == str(len(packed)).encode()


@on_loops
async def test_a_body_of_tiny_chunks():
    """A body of one byte in each chunk is cut when its framing is more than the limit."""
    async with serving(common_app()) as running, await running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\na\r\n" * 100_000)
        assert (await client.reply()).status == 413


@on_loops
async def test_a_flood_of_pipelined_requests_that_nobody_reads():
    """A client that asks without reading gets no more than a window ahead."""
    app = App()

    @app.get("/")
    def home() -> bytes:
        return bytes(10_000)

    limits = {"connection_request_count_max": 1_000_000}
    async with serving(app, **limits) as running:
        client = await running.connect()
        client.writer.transport.pause_reading()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100_000)
        await until(lambda: running.server.hub.connections)
        (connection,) = running.server.hub.connections
        await until(lambda: connection.is_paused)
        for _ in range(500):
            await asyncio.sleep(0)
        assert connection.transport.get_write_buffer_size() < 200_000
        assert running.counts.requests < 10_000
        client.reset()


@on_loops
async def test_smuggling():
    """Where framing has two meanings nothing behind it becomes a request."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    heads = [
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 0\r\nContent-Length: 35\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: +0\r\n",
    ]
    async with serving(common_app()) as running:
        for head in heads:
            async with await running.connect() as client:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n" + hidden)
                assert (await client.reply()).status in {400, 501}
                assert await client.rest() == b""
        assert running.counts.requests == 0
