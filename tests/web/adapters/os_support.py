"""Servers and raw clients for the tests of the server. Nothing here sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import socket
import struct
from pathlib import Path

import msgspec
import pytest
import uvloop

from cloche.limits import Limits
from cloche.limits.web_groups import WebLimits
from cloche.web.adapters.asyncio_services import AsyncioServices
from cloche.web.adapters.server import Server

# Bounds of what hangs, not of what is slow: other programs of the machine may take all its time.
WAIT_S = 100
UNTIL_S = 60
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_loops(test):
    """Run an async test on each event loop, in time."""

    @pytest.mark.parametrize("loop", LOOPS)
    @functools.wraps(test)
    def run(loop, **more):
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(asyncio.wait_for(test(**more), WAIT_S))

    # The test is asked for the names of the wrapper's fixtures, which are one more.
    run.__signature__ = _with_loop(test)
    return run


def _with_loop(test):
    import inspect

    found = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    return found.replace(parameters=[*found.parameters.values(), loop])


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s

    def pass_ms(self, server, ms):
        """Let time pass, and the server see it."""
        self.now_s += ms / 1000
        server.hub.tick()


class Running(msgspec.Struct):
    """A server, its clock, and what was logged."""

    server: Server
    clock: Clock
    records: list

    @property
    def counts(self):
        """What happened so far."""
        return self.server.counts

    def pass_ms(self, ms):
        """Let time pass."""
        self.clock.pass_ms(self.server, ms)

    async def connect(self):
        """Return a raw client."""
        return await Raw.connect(self.server.address)


@contextlib.asynccontextmanager
async def serving(app, *binds, settings=None, stopped=True, **limits):
    """Serve an application with limits of its own; check that nothing is left behind it."""
    gc.collect()
    sockets, tasks = open_sockets(), asyncio.all_tasks()
    clock, records = Clock(), []
    server = Server(
        app,
        *(binds or ("127.0.0.1:0",)),
        settings=settings,
        limits=Limits(web=WebLimits(**limits)),
        services=AsyncioServices(log=records.append),
        clock=clock,
    )
    await server.start()
    try:
        yield Running(server, clock, records)
    finally:
        if stopped:
            server.hub.abort()
            await server.stop()
    await until(lambda: asyncio.all_tasks() == tasks)
    assert server.counts.open == 0
    assert server.counts.open_requests == 0
    assert server.counts.websockets == 0
    assert not server.hub.connections
    await until(lambda: open_sockets() <= sockets)


def open_sockets():
    """Return the sockets that this process has open; loops open other files when they like."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(file.readlink()))
    return {name for name in found if name.startswith("socket:")}


async def until(condition):
    """Let the loop run until something is true."""
    async with asyncio.timeout(UNTIL_S):
        while not condition():  # noqa: ASYNC110 - the condition is another side's affair
            await asyncio.sleep(0)


class Reply(msgspec.Struct):
    """A response as it was read."""

    status: int
    fields: dict
    body: bytes


class Raw:
    """A client that sends bytes as they are."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address, **more):
        """Return a client of an address."""
        if address.startswith("unix:"):
            return cls(*await asyncio.open_unix_connection(address[5:], **more))
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host.strip("[]"), int(port), **more))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *failure):
        await self.close()

    async def close(self):
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self):
        """Break the connection."""
        found = self.writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def send(self, data):
        """Send bytes."""
        self.writer.write(data)

    def get(self, target="/", *lines):
        """Send a GET."""
        head = [f"GET {target} HTTP/1.1", "Host: test", *lines]
        self.send("".join(f"{line}\r\n" for line in head).encode() + b"\r\n")

    async def reply(self, *, body=True):
        """Return the next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        fields = {}
        for line in lines:
            name, _, value = line.partition(": ")
            fields.setdefault(name, []).append(value)
        status = int(first.split(" ")[1])
        content = b""
        if not body or status < 200 or status in {204, 304}:
            pass
        elif "content-length" in fields:
            content = await self.reader.readexactly(int(fields["content-length"][0]))
        elif "transfer-encoding" in fields:
            content = await self._chunks()
        else:
            content = await self.reader.read()
        return Reply(status, fields, content)

    async def _chunks(self):
        found = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            found.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return b"".join(found)

    async def rest(self):
        """Return everything until the connection ends."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""
