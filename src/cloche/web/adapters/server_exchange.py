"""One request and its response: the application is asked, what it says is written.

Invariants:
- nothing is written for a request that is not the connection's any more;
- a response that breaks a rule of HTTP is answered with 500 before a byte of it is written;
- one that breaks off, or is not as long as it said, ends the connection in the middle, so that the
  client cannot take it for the whole;
- whatever a stream holds is given back, however it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

from cloche.web.adapters.server_errors import ServerStateError
from cloche.web.adapters.websocket import run_socket
from cloche.web.app import answer_failure
from cloche.web.http1.serializer import LAST_CHUNK, write_chunk
from cloche.web.response import Response, Upgrade
from cloche.web.sendable import UNSENDABLE, check_end, check_pieces, close_pieces

if TYPE_CHECKING:
    from cloche.web.adapters.server_connection import Connection
    from cloche.web.request import Request

_TURN_BYTES: Final = 256 * 1024  # of a stream that never waits, before others have their turn
_PIECE_BYTES: Final = 512  # what a piece counts for at least, as small ones take time too


async def serve_request(connection: Connection, request: Request) -> None:
    """Answer a request. Ends the connection where that fails in the middle."""
    hub = connection.hub
    head = connection.head
    try:
        response = await hub.handle(request)
        if connection.is_lost or connection.head is not head:
            await close_pieces(response.body)
        elif type(response.body) is bytes:
            write_whole(connection, request, response)
            connection.finish()
        elif isinstance(response.body, Upgrade):
            await run_socket(connection, request, response)
        elif await _write_stream(connection, request, response):
            connection.finish()
    except Exception as raised:  # noqa: BLE001 - nothing can be answered any more; the log says why
        answer_failure(request, raised)
        connection.abort()
    finally:
        hub.counts.open_requests -= 1


def write_whole(connection: Connection, request: Request, response: Response) -> None:
    """Write a response whose body is bytes, or 500 where it cannot be written."""
    close = connection.closes_behind()
    heads = connection.hub.heads
    try:
        check_end(response)
        data = heads.whole(response, request.method, close=close)
    except UNSENDABLE as refused:
        data = heads.whole(answer_failure(request, refused), request.method, close=close)
    connection.write(data)


async def _write_stream(connection: Connection, request: Request, response: Response) -> bool:
    """Write a response that comes in pieces; return whether the connection can go on."""
    version = connection.head.version if connection.head is not None else "1.1"
    close = connection.closes_behind()
    method = request.method
    try:
        check_end(response)
        check_pieces(response.body)
        head = connection.hub.heads.stream(response, method, version, close=close)
    except UNSENDABLE as refused:
        await close_pieces(response.body)
        write_whole(connection, request, answer_failure(request, refused))
        return True
    connection.write(head)
    try:
        if method != "HEAD":
            await _write_pieces(connection, response, chunked=version == "1.1")
    except Exception as raised:  # noqa: BLE001 - the response is broken off; the log says why
        answer_failure(request, raised)
        connection.abort()
        return False
    finally:
        await close_pieces(response.body)
    return True


async def _write_pieces(connection: Connection, response: Response, *, chunked: bool) -> None:
    length = response.length
    chunked = chunked and length is None
    written = turn = 0
    async for piece in _each(response.body):
        if connection.is_lost:
            return
        size = len(piece)
        written += size
        turn += max(size, _PIECE_BYTES)
        if length is not None and written > length:
            raise ServerStateError(problem=f"was given more than the {length} bytes of a stream")
        if chunked:
            piece = write_chunk(piece)  # noqa: PLW2901 - the same piece, framed
        connection.write(piece)
        if connection.is_paused:
            await connection.wait_for_room()
        if turn >= _TURN_BYTES:
            turn = 0
            await asyncio.sleep(0)
    if length is not None and written != length:
        raise ServerStateError(problem=f"was given {written} of the {length} bytes of a stream")
    if chunked:
        connection.write(LAST_CHUNK)


async def _each(pieces: Any) -> Any:
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece
