"""The files of an app, from a folder or from an archive that somebody sent.

Invariants: what an archive says of itself is not trusted: sizes are counted while it is read, and a
link, a device or a path that leaves the folder is refused; nothing is written anywhere.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Final

from cloche.apps.bundle import bundle_of, is_kept
from cloche.apps.errors import BundleError, BundleTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloche.apps.bundle import Bundle
    from cloche.limits import Limits

_ZIP: Final = b"PK"
_GZIP: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 65_536
_ZIP_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_TAR_HEADS_BYTES: Final = 4096  # of one entry: its heads and what fills its last block
_UNIX: Final = 3  # `create_system` of archives whose entries have a mode
_BROKEN: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


def read_archive(data: bytes, limits: Limits, *, name: str = "archive") -> Bundle:
    """Return the files of an archive: ZIP (stored, deflated), tar, or tar with gzip.

    LZMA may ask for gigabytes before it says anything, so it is not taken.

    One folder around everything is left out, as tools make it.

    Args:
        data: the archive.
        limits: the groups `apps` and `storage`.
        name: what errors call it.

    Raises:
        BundleError: no archive, or it has what an app cannot have.
        BundleTooLargeError: more files or bytes than an app may have.
    """
    entries = _zip(data, limits) if data[:2] == _ZIP else _tar(data, limits)
    try:
        found = _collected(entries)
    except _BROKEN as error:
        problem = f"is no archive (ZIP, tar, tar.gz) that can be read: {error}"
        raise BundleError(path=name, problem=problem) from None
    return bundle_of(_without_folder(found), limits)


def read_folder(folder: Path, limits: Limits) -> Bundle:
    """Return the files below a folder, without hidden ones, `__pycache__` and `node_modules`.

    Raises:
        BundleError: it is not there, is no folder, or has a link or something that is no file.
        BundleTooLargeError: more files or bytes than an app may have.
    """
    if not folder.exists():
        raise BundleError(path=str(folder), problem="is not there")
    if not folder.is_dir():
        raise BundleError(path=str(folder), problem="is no folder")
    found: dict[str, bytes] = {}
    room = _Room(limits)
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if is_kept(name))
        for name in sorted(filter(is_kept, names)):
            path = os.path.join(root, name)  # noqa: PTH118 - many of them
            shown = os.path.relpath(path, folder).replace(os.sep, "/")
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise BundleError(path=shown, problem="is a link or no file; put the file itself")
            with open(path, "rb") as file:  # noqa: PTH123 - as above
                found[shown] = room.read(shown, file)
    return bundle_of(found, limits)


class _Room:
    """How much may still be read."""

    def __init__(self, limits: Limits) -> None:
        self._count_max = limits.apps.app_file_count_max
        self._storage = limits.storage
        self._count = 0
        self._total = 0
        heads_bytes = self._count_max * _TAR_HEADS_BYTES
        self.plain_limit_bytes = self._storage.max_site_size + heads_bytes

    def read(self, path: str, file: IO[bytes]) -> bytes:
        """Return the content of a file, read in pieces so that what is too large is not kept."""
        storage = self._storage
        self._count += 1
        if self._count > self._count_max:
            limit = self._count_max
            raise _too_large("files", self._count, "apps.app_file_count_max", limit)
        content = bytearray()
        while piece := file.read(_PIECE_BYTES):
            content += piece
            self._total += len(piece)
            if len(content) > storage.max_file_size:
                limit = storage.max_file_size
                raise _too_large(path, len(content), "storage.max_file_size", limit)
            if self._total > storage.max_site_size:
                limit = storage.max_site_size
                raise _too_large("all files", self._total, "storage.max_site_size", limit)
        return bytes(content)


class _Counted(io.RawIOBase):
    """Bytes up to a bound: heads of a tar, which are read whole, may claim any size, too."""

    def __init__(self, plain: gzip.GzipFile | io.BytesIO, room: _Room) -> None:
        self._plain = plain
        self._limit_bytes = self._left_bytes = room.plain_limit_bytes

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        found = self._plain.read(min(size, _PIECE_BYTES) if size >= 0 else _PIECE_BYTES)
        self._left_bytes -= len(found)
        if self._left_bytes < 0:
            count = self._limit_bytes - self._left_bytes
            raise _too_large("the archive", count, "storage.max_site_size", self._limit_bytes)
        return found


def _too_large(what: str, found: int, name: str, value: int) -> BundleTooLargeError:
    return BundleTooLargeError(what=what, found=found, limit=name, limit_value=value)


def _collected(entries: Iterator[tuple[str, bytes]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path, content in entries:
        clean = path.removeprefix("./")
        if clean in found:
            raise BundleError(path=clean, problem="is in the archive twice")
        found[clean] = content
    return found


def _zip(data: bytes, limits: Limits) -> Iterator[tuple[str, bytes]]:
    room = _Room(limits)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == _UNIX else 0
            if kind not in (0, stat.S_IFREG):
                raise BundleError(path=entry.filename, problem="is a link or no file")
            if entry.compress_type not in _ZIP_METHODS:
                raise BundleError(path=entry.filename, problem="is packed otherwise than deflated")
            with archive.open(entry) as file:
                yield entry.filename, room.read(entry.filename, file)


def _tar(data: bytes, limits: Limits) -> Iterator[tuple[str, bytes]]:
    room = _Room(limits)
    packed = io.BytesIO(data)
    plain = gzip.GzipFile(fileobj=packed) if data[:2] == _GZIP else packed
    # As a stream: an index that lies about places leads nowhere.
    with tarfile.open(fileobj=_Counted(plain, room), mode="r|") as archive:
        for entry in archive:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise BundleError(path=entry.name, problem="is a link or no file")
            file = archive.extractfile(entry)
            assert file is not None  # of a regular file
            yield entry.name, room.read(entry.name, file)


def _without_folder(found: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out a folder that everything lies in."""
    first = {path.partition("/")[0] for path in found}
    is_plain = not first & {"", ".", ".."}  # those are no folders: their paths are refused
    if len(first) != 1 or not is_plain or any("/" not in path for path in found):
        return found
    length = len(first.pop()) + 1
    return {path[length:]: content for path, content in found.items()}
