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

from cloche.gate.errors import GateMisuseError, JournalExistsError, JournalStorageError
from cloche.gate.journal import HEADER, Journal, frame, load_journal
from cloche.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# One read of a journal: large against a call, small against memory.
CHUNK_BYTES = 1 << 18


class FileSink:
    """Appends records to a new file.

    Raises (on construction):
        JournalExistsError: the path exists; it is untouched.
        JournalStorageError: the file cannot be made; nothing is left behind.
    """

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self._path = Path(path)
        self._durable = durable
        self._descriptor = -1
        try:
            self._descriptor = _create(self._path, durable=durable)
        except FileExistsError:
            raise JournalExistsError(path=str(path)) from None
        except OSError as error:
            raise _storage_error("create", self._path, error) from error

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records.

        Raises:
            GateMisuseError: the sink is closed.
            JournalStorageError: the disk took a part or nothing; the sink takes no more.
        """
        if self._descriptor < 0:
            raise GateMisuseError(call="JournalSink.append", problem="the sink is closed")
        if not records:
            return
        try:
            _write_all(self._descriptor, b"".join(frame(record) for record in records))
            if self._durable:
                os.fsync(self._descriptor)
        except OSError as error:
            # After a part of a record nothing may follow: the file ends here, truncated.
            self.close()
            raise _storage_error("write", self._path, error) from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def read_journal(path: str | Path, limits: Limits | None = None) -> Journal:
    """Return the journal in a file, read under these limits or the defaults.

    Raises:
        JournalStorageError: the file cannot be read.
        JournalError: it is no valid journal, or over a limit.
    """
    return load_journal(read_chunks(path), limits or Limits())


def read_chunks(path: str | Path) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks, for `journal.read_records`.

    Raises:
        JournalStorageError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise _storage_error("read", Path(path), error) from error


def _create(path: Path, *, durable: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
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


def _storage_error(action: str, path: Path, error: OSError) -> JournalStorageError:
    reason = error.strerror or type(error).__name__
    return JournalStorageError(action=action, path=str(path), reason=reason)
