"""Attack: WebSockets of apps are opened by the hundred, opened by half, never read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from base64 import b64encode

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from abuse.app_support import WAIT_S, packed, until_flooded

CODE = """
export default {
  fetch: () => new Response("up"),
  async websocket(socket) {
    const path = new URL(socket.request.url).pathname;
    if (path === "/slow") await new Promise((resolve) => setTimeout(resolve, 1000));
    socket.accept();
    if (path === "/flood") for (;;) if (!socket.send("x".repeat(100_000))) return;
    for await (const message of socket) socket.send(message);
  },
};
"""
COUNT_MAX = 64


@pytest.fixture(scope="module")
def app(served):
    """The URL of an app with WebSockets."""
    headers = {"authorization": f"Bearer {served.key}", "content-type": "application/zip"}
    made = httpx.post(
        f"{served.url}/v1/apps/talk/versions", headers=headers, content=packed(CODE), timeout=WAIT_S
    )
    assert made.status_code == 201, made.text
    return f"{served.url.replace('http', 'ws', 1)}/apps/talk"


async def answered(app):
    """Return whether a new client is served, sooner or later."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                async with connect(f"{app}/echo", open_timeout=WAIT_S) as again:
                    await again.send("there?")
                    return await again.recv() == "there?"
            except (InvalidStatus, ConnectionClosed, ConnectionError):
                await asyncio.sleep(0.2)


def test_a_flood(served, app):
    """So many are open at a time and no more; requests are answered meanwhile, others after."""

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            opened, refused = 0, set()
            for _ in range(COUNT_MAX + 10):
                try:
                    await stack.enter_async_context(connect(f"{app}/echo", open_timeout=WAIT_S))
                    opened += 1
                except InvalidStatus as problem:
                    refused.add(problem.response.status_code)
            async with httpx.AsyncClient(timeout=WAIT_S) as client:
                answer = await client.get(f"{served.url}/apps/talk/")
                assert answer.status_code == 200
            assert (opened <= COUNT_MAX, refused) == (True, {503})
        return await answered(app)

    assert asyncio.run(main())


def test_half_open(served, app):
    """Clients that vanish in the middle of a handshake take no place for good."""
    url = httpx.URL(served.url)
    key = b64encode(os.urandom(16)).decode()
    lines = (
        f"GET /apps/talk/slow HTTP/1.1\r\nHost: 127.0.0.1:{url.port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    for turn in range(COUNT_MAX + 20):
        with socket.create_connection((url.host, url.port), WAIT_S) as connection:
            connection.sendall(lines.encode())
            if turn % 2:  # and half of them without a word
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7))
    assert asyncio.run(answered(app))


def test_who_never_reads(app):
    """A client that takes nothing holds its own connection alone, until it goes."""

    async def main():
        sockets = [
            await connect(f"{app}/flood", max_size=None, open_timeout=WAIT_S) for _ in range(4)
        ]
        for each in sockets:
            each.transport.pause_reading()
        for each in sockets:
            await until_flooded(each)
        during = await answered(app)
        for each in sockets:
            each.transport.abort()
        return during, await answered(app)

    assert asyncio.run(main()) == (True, True)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff", b"\x81\x05hello", b"\x80\x80\0\0\0\0", b"\x89\xfe\x00\x7e\0\0\0\0",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", b"\x81\x82\0\0\0\0\xc3\x28",
        b"\x88\x81\0\0\0\0x", b"\xf1\x80\0\0\0\0",
    ],
)  # fmt: skip
def test_wrong_frames(served, app, frame):
    """A frame that is none ends its connection, and nothing else."""
    url = httpx.URL(served.url)
    key = b64encode(os.urandom(16)).decode()
    lines = (
        f"GET /apps/talk/echo HTTP/1.1\r\nHost: 127.0.0.1:{url.port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port), WAIT_S) as connection:
        connection.sendall(lines.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        connection.sendall(frame)
        told = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(4096):
                told += piece
    assert told[:1] in (b"\x88", b"")
    assert asyncio.run(answered(app))
