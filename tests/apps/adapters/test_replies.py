"""Between the loop and an app's thread: bodies that come in pieces, stall, and are too large."""

from __future__ import annotations

import asyncio

import pytest

from cloche.apps.adapters.replies import LargeBody
from cloche.apps.errors import AppRequestTooLargeError
from cloche.apps.ports import ClientGoneError
from cloche.web.errors import BadRequestError, ContentTooLargeError


class Source:
    """A body of these pieces; an error is raised, and behind the last one nothing comes."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.waiting_count = 0

    async def read(self):
        """Return the next piece."""
        if not self.pieces:
            self.waiting_count += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.waiting_count -= 1
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


def read(source, *sizes, first=b"", limit_bytes=100, stall_ms=60_000):
    """Return what reads of these sizes give, on a thread beside the loop."""

    async def main():
        body = LargeBody(source, first, limit_bytes=limit_bytes, stall_ms=stall_ms)
        found = [await asyncio.to_thread(body.read, size) for size in sizes]
        await asyncio.sleep(0)
        return found

    return asyncio.run(main())


def test_pieces():
    """What was read before comes first; pieces are cut to the size that is asked for."""
    found = read(Source(b"cdef", b"g", b""), 2, 3, 3, 3, 3, first=b"ab")
    assert found == [b"ab", b"cde", b"f", b"g", b""]


def test_too_large():
    """Counted as it comes, with what came before; or by who reads it from the connection."""
    for source in (Source(b"x" * 99), Source(ContentTooLargeError(limit_bytes=1))):
        with pytest.raises(AppRequestTooLargeError):
            read(source, 10, first=b"", limit_bytes=98)


def test_a_client_that_stalls():
    """Who sends nothing for so long has left, and nobody waits for it any more."""
    source = Source(b"a")

    async def main():
        body = LargeBody(source, b"", limit_bytes=100, stall_ms=20)

        def read_all():
            while body.read(5):
                pass

        with pytest.raises(ClientGoneError):
            await asyncio.to_thread(read_all)
        for _ in range(5):  # before the loop ends all that is left on it
            await asyncio.sleep(0)
        return source.waiting_count

    assert asyncio.run(main()) == 0


def test_a_client_that_breaks_off():
    """It has left."""
    with pytest.raises(ClientGoneError):
        read(Source(BadRequestError(where="body", problem="ended")), 5)
