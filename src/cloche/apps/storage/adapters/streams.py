"""Blobs that one process writes or reads in parts.

What is written waits in a temporary file without a name; what is read goes on where the part before
ended. Both are bounded, and dropped when nobody comes back: a run that ended in between leaves
nothing behind.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.storage.calls import NS_PER_MS
from cloche.apps.storage.errors import QuotaError, UploadUnknownError
from cloche.apps.storage.values import check_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.limits import Limits

_MEMORY_BYTES: Final = 1 << 20  # beyond it a content being written is on the disk
_COPY_BYTES: Final = 1 << 20
_READER_COUNT_MAX: Final = 64


@dataclass(slots=True)
class _Upload:
    file: Any
    touched_ns: int
    size_bytes: int = 0
    next_ordinal: int = 0


@dataclass(slots=True)
class _Reader:
    chunks: Iterator[bytes]
    rest: bytes = b""


class ProcessBlobStreams:
    """The port `BlobStreams`.

    Args:
        open_content: yields a content from its beginning, by its SHA-256.
        limits: the group `apps`.
    """

    def __init__(self, open_content: Callable[[str], Iterator[bytes]], limits: Limits) -> None:
        self._open_content = open_content
        self._limits = limits.apps
        self._lock = threading.Lock()
        self._uploads: dict[tuple[str, str], _Upload] = {}
        self._readers: dict[tuple[str, int], _Reader] = {}

    def begin(self, owner: str, upload: str, now_ns: int) -> None:
        """Take parts of a content from now on."""
        with self._lock:
            self._drop_idle(now_ns)
            of_app = owner.partition("\0")[0]
            used = sum(found.partition("\0")[0] == of_app for found, _ in self._uploads)
            if used >= self._limits.upload_count_max:
                raise QuotaError(
                    what="blobs being written",
                    used=used,
                    asked=1,
                    limit="apps.upload_count_max",
                    maximum=self._limits.upload_count_max,
                )
            file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - it stays
            self._uploads[owner, upload] = _Upload(file, now_ns)

    def write(self, owner: str, upload: str, ordinal: int, part: bytes, now_ns: int) -> int:
        """Add a part."""
        with self._lock:
            found = self._uploads.get((owner, upload))
            if found is None or ordinal not in (found.next_ordinal, found.next_ordinal - 1):
                raise UploadUnknownError(upload=upload[:40])
            found.touched_ns = now_ns
            if ordinal < found.next_ordinal:
                return found.size_bytes  # this part again
            size_bytes = found.size_bytes + len(part)
            most = self._limits.blob_limit_bytes
            if size_bytes > most:
                del self._uploads[owner, upload]
                found.file.close()
            check_size("the blob", size_bytes, "apps.blob_limit_bytes", most)
            found.file.write(part)
            found.size_bytes = size_bytes
            found.next_ordinal += 1
            return size_bytes

    def finish(self, owner: str, upload: str) -> Iterator[bytes]:
        """Yield what was written, and forget it."""
        with self._lock:
            found = self._uploads.pop((owner, upload), None)
        if found is None:
            raise UploadUnknownError(upload=upload[:40])
        return _drain(found.file)

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """Return a part of a content."""
        with self._lock:
            reader = self._readers.pop((sha256, offset), None)
        if reader is None:
            reader = _Reader(self._open_content(sha256))
            _take(reader, offset)
        part = _take(reader, length)
        if part:
            with self._lock:
                self._readers[sha256, offset + len(part)] = reader
                while len(self._readers) > _READER_COUNT_MAX:
                    self._readers.pop(next(iter(self._readers)))  # the oldest
        return part

    def _drop_idle(self, now_ns: int) -> None:
        before_ns = now_ns - self._limits.upload_idle_ms * NS_PER_MS
        idle = [key for key, found in self._uploads.items() if found.touched_ns < before_ns]
        for key in idle:
            self._uploads.pop(key).file.close()

    def close(self) -> None:
        """Drop everything."""
        with self._lock:
            for found in self._uploads.values():
                found.file.close()
            self._uploads.clear()
            self._readers.clear()


def _drain(file: Any) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_COPY_BYTES):
            yield chunk


def _take(reader: _Reader, count: int) -> bytes:
    """Return the next bytes of a content, fewer at its end."""
    parts: list[bytes] = []
    while count > 0:
        if not reader.rest:
            reader.rest = next(reader.chunks, b"")
            if not reader.rest:
                break
        part, reader.rest = reader.rest[:count], reader.rest[count:]
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
