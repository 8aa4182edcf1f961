"""Archives of a session's files: those that somebody sends, and one that is made for them.

Invariants:
- what an archive says of itself is not trusted: sizes are counted while it is read, and a link, a
  device or a path that leaves the directory is refused; nothing is written anywhere;
- an archive is read whole before anything of it is used;
- the same files give the same archive.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Final

from cloche.server.errors import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloche.limits import Limits

# What a body may be said to be: ZIP (stored, deflated), tar, tar with gzip. LZMA may ask for
# gigabytes before it says anything, so it is not taken.
MEDIA_TYPES: Final = (
    "application/zip",
    "application/x-tar",
    "application/gzip",
    "application/x-gzip",
)

_ZIP: Final = b"PK"
_GZIP: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 65_536
_UNIX: Final = 3  # `create_system` of archives whose entries have a mode
_ZIP_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_TAR_HEADS_BYTES: Final = 4096  # of one entry: its heads and what fills its last block
_FIRST_DAY: Final = (1980, 1, 1, 0, 0, 0)
_FILE_MODE: Final = (stat.S_IFREG | 0o644) << 16
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


def unpack(content: bytes, limits: Limits) -> list[tuple[str, bytes]]:
    """Return the files of an archive, by relative path, in its order.

    Directories without files are left out.

    Raises:
        InvalidFieldError: it is no archive, has a link or a path that leaves it, a path twice, or
            more files or bytes than a session may have.
    """
    found: dict[str, bytes] = {}
    room = _Room(limits)
    entries = _zip(content, room) if content[:2] == _ZIP else _tar(content, room)
    try:
        for name, data in entries:
            path = _path(name)
            if path in found:
                raise _refused(f"{path} is in it twice")
            found[path] = data
    except _BROKEN as error:
        raise _refused(f"it is no ZIP and no tar that can be read: {error}") from None
    if not found:
        raise _refused("there is no file in it")
    return list(found.items())


def pack(files: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Return a ZIP of files by relative path; None is the content of a directory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files:
            name = path if content is not None else f"{path}/"
            entry = zipfile.ZipInfo(name, _FIRST_DAY)
            entry.create_system = _UNIX
            entry.external_attr = _FILE_MODE
            if content is None:
                entry.external_attr = (stat.S_IFDIR | 0o755) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content or b"")
    return out.getvalue()


class _Room:
    """How much may still be read."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits.guests
        self._count = 0
        self._total = 0
        heads_bytes = self._limits.file_count_max * _TAR_HEADS_BYTES
        self.plain_limit_bytes = self._limits.files_limit_bytes + heads_bytes

    def read(self, name: str, file: IO[bytes]) -> bytes:
        """Return the content of a file, read in pieces so that what is too large is not kept."""
        limits = self._limits
        self._count += 1
        if self._count > limits.file_count_max:
            raise _refused(
                f"it has more than guests.file_count_max ({limits.file_count_max}) files"
            )
        content = bytearray()
        while piece := file.read(_PIECE_BYTES):
            content += piece
            self._total += len(piece)
            if len(content) > limits.file_limit_bytes:
                most = limits.file_limit_bytes
                raise _refused(f"{name} has more than guests.file_limit_bytes ({most}) bytes")
            if self._total > limits.files_limit_bytes:
                most = limits.files_limit_bytes
                raise _refused(f"its files have more than guests.files_limit_bytes ({most}) bytes")
        return bytes(content)


def _zip(content: bytes, room: _Room) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == _UNIX else 0
            if kind not in (0, stat.S_IFREG):
                raise _refused(f"{entry.filename} is a link or no file")
            if entry.compress_type not in _ZIP_METHODS:
                raise _refused(f"{entry.filename} is packed in another way than deflate")
            with archive.open(entry) as file:
                yield entry.filename, room.read(entry.filename, file)


def _tar(content: bytes, room: _Room) -> Iterator[tuple[str, bytes]]:
    packed = io.BytesIO(content)
    plain = gzip.GzipFile(fileobj=packed) if content[:2] == _GZIP else packed
    # As a stream: an index that lies about places leads nowhere.
    with tarfile.open(fileobj=_Counted(plain, room.plain_limit_bytes), mode="r|") as archive:
        for entry in archive:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise _refused(f"{entry.name} is a link or no file")
            file = archive.extractfile(entry)
            assert file is not None  # of a regular file
            yield entry.name, room.read(entry.name, file)


class _Counted(io.RawIOBase):
    """Bytes up to a bound: heads of a tar, which are read whole, may claim any size, too."""

    def __init__(self, plain: gzip.GzipFile | io.BytesIO, limit_bytes: int) -> None:
        self._plain = plain
        self._left_bytes = limit_bytes

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        found = self._plain.read(min(size, _PIECE_BYTES) if size >= 0 else _PIECE_BYTES)
        self._left_bytes -= len(found)
        if self._left_bytes < 0:
            raise _refused("it has more bytes than a session may have in files")
        return found


def _path(name: str) -> str:
    """Return the path of an entry, which leads nowhere but below the archive's directory."""
    path = name.removeprefix("./")
    is_text = "\0" not in path and path == path.encode(errors="replace").decode()
    if not is_text or any(part in ("", ".", "..") for part in path.split("/")):
        raise _refused(f"{name!r} is no path below the directory of the archive")
    return path


def _refused(problem: str) -> InvalidFieldError:
    return InvalidFieldError(field="archive", problem=problem)
