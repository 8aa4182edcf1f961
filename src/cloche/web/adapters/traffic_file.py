"""Files of recorded traffic (X7WT).

Invariants:
- a file that is begun here can be read by its owner alone: it has what clients sent;
- each entry is one write at the end of the file, so two workers can record into one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from cloche.errors import ClocheError
from cloche.web.encodings.cassette import decode_cassette
from cloche.web.encodings.traffic import HEADER, Exchange, decode_traffic

if TYPE_CHECKING:
    from pathlib import Path

FILE_LIMIT_BYTES: Final = 1 << 30
_SINGLE: Final = b"X7WC"


class TrafficFileError(ClocheError):
    """A file of traffic cannot be read or written. State: the file is as it was."""

    code = "WEB_TRAFFIC_FILE"
    blame = "environment"

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}", path=path, problem=problem)


def read_traffic(path: Path) -> tuple[Exchange, ...]:
    """Return the entries of a file; a file with one X7WC is one entry.

    Raises:
        TrafficFileError: it cannot be read, or is larger than 1 GiB.
        DecodeError: it is no traffic.
    """
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT_BYTES:
            raise TrafficFileError(path=str(path), problem=f"{size} bytes are too many")
        data = path.read_bytes()
    except OSError as failure:
        raise TrafficFileError(path=str(path), problem=str(failure.strerror)) from failure
    if data.startswith(_SINGLE):
        return (Exchange(pair=decode_cassette(data)),)
    return decode_traffic(data)


class TrafficFile:
    """A file that entries are added to. Use it as a context, or `close` it.

    Raises:
        TrafficFileError: on construction; it cannot be opened, or is no file of traffic.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
            start = os.pread(self._descriptor, len(HEADER), 0)
            if not start:
                os.write(self._descriptor, HEADER)
        except OSError as failure:
            raise TrafficFileError(path=str(path), problem=str(failure.strerror)) from failure
        if start not in {b"", HEADER}:
            self.close()
            raise TrafficFileError(path=str(path), problem="it is there, and no recorded traffic")

    def write(self, entry: bytes) -> None:
        """Add an entry.

        Raises:
            TrafficFileError: it cannot be written, as on a full disk.
        """
        try:
            written = os.write(self._descriptor, entry)
        except OSError as failure:
            raise TrafficFileError(path=str(self.path), problem=str(failure.strerror)) from failure
        if written < len(entry):
            raise TrafficFileError(path=str(self.path), problem="an entry was written in part")

    def close(self) -> None:
        """Close the file. Can be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
