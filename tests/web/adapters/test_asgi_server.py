"""Starlette's applications on our server, over real sockets: long streams, clients that leave."""

from __future__ import annotations

import asyncio
import gc

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from cloche.web.adapters.asgi_client import AsgiBridge
from cloche.web.adapters.server import Server

from ..clients import HttpClient  # noqa: TID252 - the tests of a room are one package
from .os_support import until

PIECE = b"x" * 65_536
WAIT_S = 60


def build(seen):
    """Return an application that tells what becomes of its clients."""

    async def endless(request):
        async def pieces():
            try:
                while True:
                    yield PIECE
                    seen["made"] = seen.get("made", 0) + 1
            finally:
                seen["closed"].set()

        return StreamingResponse(pieces())

    async def up(request):
        size = 0
        try:
            async for piece in request.stream():
                size += len(piece)
        except ClientDisconnect:
            seen["left"].set()
            raise
        return PlainTextResponse(str(size))

    return Starlette(routes=[Route("/endless", endless), Route("/up", up, methods=["POST"])])


def serve(check):
    """Run a check against the application on our server."""

    async def run():
        seen = {"closed": asyncio.Event(), "left": asyncio.Event()}
        async with (
            asyncio.timeout(WAIT_S),
            Server(AsgiBridge(build(seen)), "127.0.0.1:0") as server,
        ):
            await check(server, seen)

    asyncio.run(run())


async def opened(server, head):
    """Return a connection on which a request was begun."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    await writer.drain()
    return reader, writer


async def collected(seen):
    """Wait until the generator is closed: Starlette leaves that to the garbage collector."""
    while not seen["closed"].is_set():
        gc.collect()
        await asyncio.sleep(0.02)


def test_a_client_that_leaves_a_stream():
    """The generator is closed, and no more is made than the client would have taken."""

    async def check(server, seen):
        reader, writer = await opened(server, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readexactly(15)) == b"HTTP/1.1 200 OK"
        writer.transport.abort()
        await collected(seen)

    serve(check)


def test_a_client_that_reads_nothing():
    """The application is held up: what is made is what the buffers of the system take."""

    async def check(server, seen):
        _, writer = await opened(server, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        connections = server.hub.connections
        await until(lambda: connections and all(each.is_paused for each in connections))
        for _ in range(500):
            await asyncio.sleep(0)
        assert 0 < seen["made"] < 400  # 25 MiB; the buffers of two sockets are a few
        writer.transport.abort()
        await collected(seen)

    serve(check)


def test_a_client_that_leaves_an_upload():
    """The application is told that its client is gone."""

    async def check(server, seen):
        head = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        _, writer = await opened(server, head + PIECE)
        writer.transport.abort()
        await seen["left"].wait()

    serve(check)


def test_a_large_upload():
    """It arrives in pieces, and over the limit the client learns why."""

    async def check(server, seen):
        async with HttpClient(server.url) as client:
            assert (await client.request("POST", "/up", (), PIECE * 8)).body == b"524288"
            refused = await client.request("POST", "/up", (), PIECE * 17)
            assert (refused.status, seen["left"].is_set()) == (413, False)

    serve(check)
