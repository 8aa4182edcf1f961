"""What is written down of outbound calls.

Owns the record of one decision and the buffer that waits to be stored.
Invariants:
- a record holds no query, no header and no body, and its path is cut at a fixed length;
- every call has exactly one record for each of its hops, whatever became of it;
- the buffer never grows and never blocks: a full one drops its oldest record and counts that.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import msgspec

PATH_LENGTH_MAX: Final = 512
_HTTP_ERROR: Final = 400

Outcome = Literal["allowed", "denied", "cached", "failed"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. `status` is None without a response, `code` None without an error.

    `at_ns` is wall time; `scope` the list that decided, empty where none did; `tenant` whose run it
    was, empty without tenants.
    """

    at_ns: int
    run_id: str
    scope: str
    outcome: Outcome
    method: str
    host: str
    path: str
    status: int | None = None
    code: str | None = None
    reason: str | None = None
    duration_ms: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    tenant: str = ""

    @property
    def is_error(self) -> bool:
        """Whether it shall be stored at once."""
        return self.code is not None or (self.status or 0) >= _HTTP_ERROR


def shown_path(path: str) -> str:
    """Return a path as a record holds it: without query, of bounded length."""
    path = path.partition("?")[0]
    return path if len(path) <= PATH_LENGTH_MAX else path[: PATH_LENGTH_MAX - 1] + "…"


class LogBuffer:
    """Records that wait to be stored."""

    __slots__ = ("_dropped", "_records", "_size_max")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._records: deque[Record] = deque()
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> bool:
        """Add a record; return whether the buffer should be stored now, not later."""
        if len(self._records) >= self._size_max:
            self._records.popleft()
            self._dropped += 1
        self._records.append(record)
        return record.is_error or len(self._records) >= self._size_max

    def take(self) -> tuple[list[Record], int]:
        """Return all records, oldest first, and how many were dropped since the last time."""
        records, self._records = list(self._records), deque()
        dropped, self._dropped = self._dropped, 0
        return records, dropped

    def put_back(self, records: list[Record], dropped: int) -> None:
        """Take records again that could not be stored; the oldest give way where room is short."""
        self._dropped += dropped
        self._records.extendleft(reversed(records))
        while len(self._records) > self._size_max:
            self._records.popleft()
            self._dropped += 1
