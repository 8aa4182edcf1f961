"""Standard input and output as the channel of MCP, and nothing else's.

Owns the two descriptors while it speaks, and the orderly end. Invariants: what a tool, or a process
that it starts, prints is on standard error; what it reads is empty; each message is one line. The
end is when the client is gone or the process is told to stop, whatever runs then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.server.fastmcp import FastMCP

_STOPS: Final = (signal.SIGINT, signal.SIGTERM)
_STDIN, _STDOUT, _STDERR = 0, 1, 2


@contextlib.contextmanager
def own_stdio() -> Iterator[tuple[int, int]]:
    """Give standard input and output as descriptors, and let nobody else have them meanwhile."""
    sys.stdout.flush()
    source, target = os.dup(_STDIN), os.dup(_STDOUT)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, _STDIN)
    os.close(empty)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield source, target
    finally:
        sys.stdout.flush()
        os.dup2(target, _STDOUT)
        # The input stays open: a thread may be reading there still.
        os.close(target)


def speak(server: FastMCP, source: int, target: int) -> None:
    """Answer until the client is gone, or SIGINT or SIGTERM says to stop.

    Args:
        server: answers.
        source: descriptor of what the client says.
        target: descriptor of what it is told.
    """
    anyio.run(_speak, server, source, target)


async def _speak(server: FastMCP, source: int, target: int) -> None:
    loop = asyncio.get_running_loop()
    told, listening = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    telling, answers = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as group:
        for each in _STOPS:
            loop.add_signal_handler(each, group.cancel_scope.cancel)
        group.start_soon(_read, source, told)
        group.start_soon(_write, target, answers, group.cancel_scope)
        low = server._mcp_server
        await low.run(listening, telling, low.create_initialization_options())
        group.cancel_scope.cancel()


async def _read(source: int, told: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
    """Pass on what the client says; its end is the end of the stream."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)

    def read() -> None:
        # A thread of its own, which nobody waits for: no signal ends its reading.
        with (
            contextlib.suppress(RuntimeError, OSError),  # the loop is over
            open(source, "rb", closefd=False) as file,
        ):
            for line in file:
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(b""), loop).result()

    threading.Thread(target=read, name="cloche-mcp-input", daemon=True).start()
    async with told:
        while line := await lines.get():
            if line.strip():
                await told.send(_message(line))


def _message(line: bytes) -> SessionMessage | Exception:
    """Return what a line says, or what is wrong with it."""
    try:
        # The library's own reader refuses lone surrogates, with nothing that says which request:
        # read like this they come to the tool, which says so to whoever asked.
        return SessionMessage(JSONRPCMessage.model_validate(json.loads(line)))
    except (ValueError, RecursionError) as error:
        return ValueError(str(error))


async def _write(
    target: int, answers: MemoryObjectReceiveStream[SessionMessage], scope: anyio.CancelScope
) -> None:
    """Tell the client what is answered, until it is gone."""
    async with answers:
        async for answer in answers:
            document = answer.message.model_dump(mode="json", by_alias=True, exclude_none=True)
            # In ASCII, since what is quoted of a request may be no valid Unicode.
            line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
            try:
                await anyio.to_thread.run_sync(_write_all, target, line, abandon_on_cancel=True)
            except OSError:
                scope.cancel()  # nobody reads
                return


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
