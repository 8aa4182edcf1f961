"""A journal kept in memory: for tests, and for runs whose caller wants the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.gate.errors import GateMisuseError
from cloche.gate.journal import encode_file

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemorySink:
    """Keeps records in a list."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._closed = False

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records.

        Raises:
            GateMisuseError: the sink is closed.
        """
        if self._closed:
            raise GateMisuseError(call="JournalSink.append", problem="the sink is closed")
        self._records.extend(records)

    def close(self) -> None:
        """Take no more records; what was appended can still be read."""
        self._closed = True

    def to_bytes(self) -> bytes:
        """Return the journal file of all records appended."""
        return encode_file(self._records)
