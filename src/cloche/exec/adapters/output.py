"""What a run prints.

Invariants:
- the journal's digests are of what the program wrote, so that a replay needs no secrets to compare;
- what people get, as a whole or piece by piece, holds no value of the run's secrets;
- nothing of a secret is kept back for longer than the run: the last piece comes at its end.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from cloche.engine.abi import Report, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.egress.secrets import Scrubber
    from cloche.engine.virtual_os import Stream


class Output:
    """Both streams of one run.

    Args:
        listener: gets each piece, None if nobody does.
        scrubber: takes secrets out; None where the run has none.
    """

    def __init__(
        self,
        listener: Callable[[Stream, bytes], None] | None,
        scrubber: Scrubber | None,
    ) -> None:
        self._written: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._scrubber = scrubber
        self._listener = listener
        if listener is not None and scrubber is not None:
            from cloche.egress.secrets import StreamScrubber  # noqa: PLC0415 - with secrets only

            self._streams = {stream: StreamScrubber(scrubber) for stream in self._written}

    def write(self, stream: Stream, data: bytes) -> None:
        """Take a piece of output."""
        self._written[stream] += data
        if self._listener is not None:
            if self._scrubber is not None:
                data = self._streams[stream].feed(data)
            if data:
                self._listener(stream, data)

    def end(self) -> None:
        """Hand on what was held back since it could have been the beginning of a secret."""
        if self._listener is None or self._scrubber is None:
            return
        for stream, scrubbed in self._streams.items():
            rest = scrubbed.end()
            if rest:
                self._listener(stream, rest)

    def shown(self, stream: Stream) -> bytes:
        """Return all of a stream, for people."""
        written = bytes(self._written[stream])
        return written if self._scrubber is None else self._scrubber.bytes(written)

    def sha256(self, stream: Stream) -> str:
        """Return the digest of all that was written, in hexadecimal."""
        return hashlib.sha256(self._written[stream]).hexdigest()

    def scrubbed(self, outcome: Report | Stop) -> Report | Stop:
        """Return how a guest ended, with no secret in what it says of its error."""
        if self._scrubber is None or isinstance(outcome, Stop) or outcome.error is None:
            return outcome
        said = msgspec.structs.asdict(outcome.error)
        error = type(outcome.error)(**self._scrubber.document(said))
        return msgspec.structs.replace(outcome, error=error)
