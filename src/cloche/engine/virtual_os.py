"""The world as a guest sees it: a clock, a source of entropy, standard streams.

Owns the deterministic part of a run that is not memory or files. Pure: output goes to a callable.
Invariants:
- time moves only by reads (one microsecond each, so that a loop that waits for time ends), by
  virtual sleeps and by recorded advances; the host's clock is never read;
- entropy is a function of the seed and of how often some was taken before;
- output never exceeds its limit: the write that would cross it delivers what fits, then stops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

from cloche.engine.abi import GuestStopped, Stop

CLOCK_READ_ADVANCE_NS = 1000
CLOCK_LIMIT_NS = (1 << 63) - 1  # guests keep times in signed 64 bits

Stream = Literal["stdout", "stderr"]
OutputSink = Callable[[Stream, bytes], None]


class Clock:
    """The virtual clock: nanoseconds since the Unix epoch."""

    def __init__(self, now_ns: int) -> None:
        self.started_ns = now_ns
        self.now_ns = now_ns

    def read(self) -> int:
        """Return the time, and let it move."""
        self.now_ns = min(self.now_ns + CLOCK_READ_ADVANCE_NS, CLOCK_LIMIT_NS)
        return self.now_ns

    def monotonic(self) -> int:
        """Return nanoseconds since the start of the run, and let time move."""
        return self.read() - self.started_ns

    def sleep_until(self, time_ns: int) -> None:
        """Move forward to `time_ns`; a time in the past changes nothing."""
        self.now_ns = min(max(self.now_ns, time_ns), CLOCK_LIMIT_NS)

    def advance(self, duration_ns: int) -> None:
        """Move forward by a recorded amount."""
        self.sleep_until(self.now_ns + duration_ns)


class StillClock(Clock):
    """A clock that answers of the world do not move, for what must come out the same each time."""

    def advance(self, duration_ns: int) -> None:
        """Stay where it is."""


class Entropy:
    """Bytes from SHAKE-256 of the seed and a counter. Not secret: reproducible on purpose."""

    def __init__(self, seed: int, block_count: int = 0) -> None:
        self.seed = seed
        self.block_count = block_count

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        message = b"cloche entropy v1:%d:%d" % (self.seed, self.block_count)
        self.block_count += 1
        return hashlib.shake_256(message).digest(length)


class StandardStreams:
    """Input that was given, output that is counted and handed on.

    Args:
        stdin: all of it.
        sink: receives each piece of output at once.
        limit_bytes: for both outputs together.
    """

    def __init__(self, stdin: bytes, sink: OutputSink, limit_bytes: int) -> None:
        self._stdin = stdin
        self._offset = 0
        self._sink = sink
        self._limit_bytes = limit_bytes
        self.output_bytes = 0

    def read(self, length: int) -> bytes:
        """Return up to `length` bytes of input; empty at the end."""
        piece = self._stdin[self._offset : self._offset + length]
        self._offset += len(piece)
        return piece

    def write(self, stream: Stream, data: bytes) -> None:
        """Hand output on.

        Raises:
            GuestStopped: over the limit; what fits was delivered.
        """
        room = self._limit_bytes - self.output_bytes
        if len(data) > room:
            if room > 0:
                self.output_bytes += room
                self._sink(stream, data[:room])
            raise GuestStopped(
                Stop(
                    kind="output",
                    message=f"the guest wrote more than {self._limit_bytes} bytes of output",
                )
            )
        self.output_bytes += len(data)
        if data:
            self._sink(stream, data)
