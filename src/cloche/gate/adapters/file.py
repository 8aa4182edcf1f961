"""A journal in a file.

Owns the file of one journal: created here, never overwritten, readable by its owner only.
Invariants:
- no record is written before the header is;
- with `durable`, `append` returns when the records are on the disk;
- a crash leaves whole records, or a last one that readers report as truncated.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cloche.gate.errors import JournalExistsError
from cloche.gate.journal import HEADER, frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# One read of a journal: large against a call, small against memory.
CHUNK_BYTES = 1 << 18


class FileSink:
    """Appends records to a new file.

    Raises (on construction):
        JournalExistsError: the path exists; it is untouched.
        OSError: the file cannot be made; nothing is left behind.
    """

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self._durable = durable
        self._descriptor = _create(Path(path), durable=durable)

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records.

        Raises:
            ValueError: the sink is closed.
            OSError: the disk took a part or nothing of it; the sink is of no more use.
        """
        if self._descriptor < 0:
            raise ValueError("the journal sink is closed")
        if not records:
            return
        try:
            _write_all(self._descriptor, b"".join(frame(record) for record in records))
            if self._durable:
                os.fsync(self._descriptor)
        except OSError:
            # After a part of a record nothing may follow: the file ends here, truncated.
            self.close()
            raise

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def read_chunks(path: str | Path) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks, for `journal.read_records`."""
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _create(path: Path, *, durable: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise JournalExistsError(path=str(path)) from None
    try:
        _write_all(descriptor, HEADER)
        if durable:
            os.fsync(descriptor)
            _sync_directory(path.parent)
    except BaseException:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
