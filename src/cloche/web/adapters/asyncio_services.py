"""The services of a running event loop: real clocks and randomness, deadlines, a log of JSON lines.

Invariants:
- writing a record neither blocks nor raises: a thread writes them, and when it is too slow records
  are dropped, counted, and the count is a record of its own;
- a heartbeat never loses a piece: the wait for it goes on while beats are sent.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping

    Log = Callable[[Mapping[str, object]], None]

RECORD_COUNT_MAX: Final = 10_000  # that wait for the writer, a few megabytes
_MS_PER_S: Final = 1000
_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode


class JsonLines:
    """A log: one object of JSON per line, with the time of day in `time_ns`.

    `close` writes what is left. The stream is binary and stays open.
    """

    def __init__(self, stream: IO[bytes], *, record_count_max: int = RECORD_COUNT_MAX) -> None:
        self._stream = stream
        self._record_count_max = record_count_max
        self._waiting: deque[dict[str, object]] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._writer = threading.Thread(target=self._write, name="cloche-log", daemon=True)
        self._writer.start()

    def __call__(self, record: Mapping[str, object]) -> None:
        """Take a record to be written."""
        with self._changed:
            if len(self._waiting) >= self._record_count_max or self._is_closed:
                self._dropped += 1
                return
            if self._dropped:
                self._waiting.append(self._drops())
            self._waiting.append({"time_ns": time.time_ns(), **record})
            self._changed.notify()

    def close(self) -> None:
        """Write what is left, and no more afterwards."""
        with self._changed:
            if self._dropped:
                self._waiting.append(self._drops())
            self._is_closed = True
            self._changed.notify()
        self._writer.join()

    def _drops(self) -> dict[str, object]:
        count, self._dropped = self._dropped, 0
        return {"time_ns": time.time_ns(), "event": "records_dropped", "count": count}

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                records = list(self._waiting)
                self._waiting.clear()
            if not records:
                return
            # A full disk or a closed pipe must not end the server that reports it.
            with suppress(OSError, ValueError):
                self._stream.write(b"".join(map(_line, records)))
                self._stream.flush()


class AsyncioServices:
    """What requests get on an event loop of asyncio, or one that behaves like it."""

    def __init__(self, log: Log | None = None) -> None:
        self._log = log

    def now_ns(self) -> int:
        """Return the time of day."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return a time that never goes back."""
        return time.monotonic_ns()

    def random_bytes(self, count: int) -> bytes:
        """Return bytes of the system's generator."""
        return os.urandom(count)

    async def within(self, work: Awaitable[Any], timeout_ms: int) -> Any:
        """Return the result of some work, or raise TimeoutError and cancel it."""
        async with asyncio.timeout(timeout_ms / _MS_PER_S):
            return await work

    def heartbeat(
        self, pieces: AsyncIterable[bytes], interval_ms: int, beat: bytes
    ) -> AsyncIterable[bytes]:
        """Return the pieces, and a beat wherever none has come for so long."""
        return _with_beats(pieces, interval_ms / _MS_PER_S, beat)

    def log(self, record: Mapping[str, object]) -> None:
        """Give a record to the log."""
        if self._log is not None:
            self._log(record)


async def _with_beats(
    pieces: AsyncIterable[bytes], interval_s: float, beat: bytes
) -> AsyncIterator[bytes]:
    source = aiter(pieces)
    waiting: asyncio.Task[bytes | None] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(_next(source))
            done, _ = await asyncio.wait({waiting}, timeout=interval_s)
            if not done:
                yield beat
                continue
            piece = waiting.result()
            waiting = None
            if piece is None:
                return
            yield piece
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


async def _next(source: AsyncIterator[bytes]) -> bytes | None:
    return await anext(source, None)


def _line(record: Mapping[str, object]) -> bytes:
    try:
        return _encode(record) + b"\n"
    except (TypeError, ValueError, RecursionError):
        return _encode({"event": "record_unwritable", "record": repr(record)[:1000]}) + b"\n"
