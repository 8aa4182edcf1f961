"""Reads a folder of the host, and nothing outside of it.

Invariants:
- everything is opened by its name in a folder that is held open, links are never followed: whatever
  is renamed or replaced meanwhile, no path leads out of the folder;
- only regular files are read: nothing waits for a pipe, no device is touched;
- what is read is bounded by the limits of a guest's files before it is kept.

It does not lock the folder: who changes it meanwhile may find some files in the old state and some
in the new. It runs on POSIX systems.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from cloche.exec.errors import InvalidRunError
from cloche.exec.mounts import Pictured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.limits import Limits
    from cloche.limits.groups import GuestsLimits

_CHUNK_BYTES: Final = 1 << 20
_OPEN_ANY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# A link where something else was, or no link any more.
_REPLACED: Final = (errno.ELOOP, errno.EINVAL)
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def picture_of(folder: str, limits: Limits) -> tuple[Pictured, ...]:
    """Return what is in a folder, sorted by path.

    Links are kept as links: in the session they lead to where they say, below its own root.
    Sockets, pipes and devices are left out.

    Raises:
        InvalidRunError: it is no folder, cannot be read, holds more than `limits.guests` allows, or
            a name that is not UTF-8.
    """
    reader = _Reader(folder, limits.guests)
    try:
        descriptor = os.open(folder, _OPEN_FOLDER)
    except OSError as error:
        raise InvalidRunError(f"cannot mount {folder}: {error.strerror}") from error
    try:
        found = list(reader.read(descriptor, ""))
    finally:
        os.close(descriptor)
    return tuple(sorted(found, key=lambda entry: entry.path.encode()))


class _Reader:
    """Reads one folder, and counts."""

    def __init__(self, folder: str, limits: GuestsLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._count = 0
        self._size_bytes = 0

    def read(self, descriptor: int, prefix: str, depth: int = 1) -> Iterator[Pictured]:
        """Yield what is below an open folder."""
        if depth > self._limits.path_depth_max:
            raise self._refused(prefix, "it is nested deeper than guests.path_depth_max")
        for name in sorted(os.listdir(descriptor)):
            path = f"{prefix}{name}"
            self._check(path)
            yield from self._entry(descriptor, name, path, depth)

    def _entry(self, parent: int, name: str, path: str, depth: int) -> Iterator[Pictured]:
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                yield Pictured(
                    path, "symlink", self._target(os.readlink(name, dir_fd=parent), path)
                )
                return
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                return  # a pipe, a socket, a device
            descriptor = os.open(name, _OPEN_ANY, dir_fd=parent)
        except FileNotFoundError:
            return  # removed since it was listed
        except OSError as error:
            if error.errno in _REPLACED:
                return
            raise self._refused(path, error.strerror or "it cannot be read") from error
        try:
            yield from self._opened(descriptor, path, depth)
        finally:
            os.close(descriptor)

    def _opened(self, descriptor: int, path: str, depth: int) -> Iterator[Pictured]:
        # Asked of what was opened: what was looked at before may have been replaced.
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            yield Pictured(path, "directory")
            yield from self.read(descriptor, f"{path}/", depth + 1)
        elif stat.S_ISREG(mode):
            yield Pictured(path, "file", self._content(descriptor, path))

    def _target(self, target: str, path: str) -> bytes:
        try:
            encoded = target.encode()
        except UnicodeEncodeError:
            raise self._refused(path, "it is a link to a name that is not UTF-8") from None
        if len(encoded) > self._limits.path_limit_bytes:
            raise self._refused(path, "it is a link longer than guests.path_limit_bytes")
        return encoded

    def _content(self, descriptor: int, path: str) -> bytes:
        limit = self._limits.file_limit_bytes
        content = bytearray()
        while piece := os.read(descriptor, min(_CHUNK_BYTES, limit + 1 - len(content))):
            content += piece
            if len(content) > limit:
                raise self._refused(path, f"it is larger than guests.file_limit_bytes, {limit}")
        self._size_bytes += len(content)
        if self._size_bytes > self._limits.files_limit_bytes:
            raise self._refused(
                path, f"all files together exceed guests.files_limit_bytes with {path}"
            )
        return bytes(content)

    def _check(self, path: str) -> None:
        self._count += 1
        if self._count > self._limits.file_count_max:
            raise self._refused(path, "it holds more than guests.file_count_max")
        try:
            size = len(path.encode())
        except UnicodeEncodeError:
            raise self._refused(ascii(path), "its name is not UTF-8") from None
        if size > self._limits.path_limit_bytes:
            raise self._refused(path, "its path is longer than guests.path_limit_bytes")

    def _refused(self, path: str, problem: str) -> InvalidRunError:
        return InvalidRunError(f"cannot mount {self._folder}: {path}: {problem}")
