"""Folders on disk, and folders in memory, as `Files`.

Invariants of `Folder`:
- each name is opened inside of the folder that was opened before it, so nobody who renames or links
  something meanwhile can lead the search out of the root;
- symbolic links are not followed, or only (`links=True`) where the place they lead to is inside of
  the root, checked again while it is opened;
- pipes, devices and sockets are never opened for reading, and nothing waits for one.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.web.errors import SettingError
from cloche.web.ports import FileInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

# Shorter reads are done at once: they come from memory nearly always, and a thread costs more.
_DIRECT_SIZE: Final = 65_536
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Folder:
    """A folder of the file system.

    Args:
        root: the folder.
        links: whether symbolic links that stay inside of the root are followed.

    Raises:
        SettingError: on construction; the root is no folder.
    """

    def __init__(self, root: str | Path, *, links: bool = False) -> None:
        self._root = Path(root).resolve()
        self._links = links
        if not self._root.is_dir():
            raise SettingError(setting="root", problem=f"{root} is no folder")

    async def open(self, parts: tuple[str, ...]) -> _DiskFile | None:
        """Return the file at this path, or None."""
        try:
            if self._links:
                place = self._root.joinpath(*parts).resolve(strict=True)
                parts = place.relative_to(self._root).parts
            return self._walk(parts) if parts else None
        except (OSError, ValueError):
            # Not there, not a file, not inside, no permission, a name too long: all the same 404.
            return None

    def _walk(self, parts: tuple[str, ...]) -> _DiskFile | None:
        descriptor = os.open(self._root, _FLAGS | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            found = os.open(parts[-1], _FLAGS, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            os.close(found)
            return None
        return _DiskFile(found, FileInfo(status.st_size, status.st_mtime_ns))


class _DiskFile:
    """A file of a folder."""

    def __init__(self, descriptor: int, info: FileInfo) -> None:
        self._descriptor = descriptor
        self.info = info

    async def read(self, offset: int, size: int) -> bytes:
        if size <= _DIRECT_SIZE:
            return os.pread(self._descriptor, size, offset)
        return await asyncio.to_thread(os.pread, self._descriptor, size, offset)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class MemoryFiles:
    """Files in memory, by path without a slash in front; all changed at the same time."""

    def __init__(self, contents: Mapping[str, bytes], *, mtime_ns: int = 0) -> None:
        self._contents = dict(contents)
        self._mtime_ns = mtime_ns

    async def open(self, parts: tuple[str, ...]) -> _MemoryFile | None:
        """Return the file at this path, or None."""
        content = self._contents.get("/".join(parts))
        return None if content is None else _MemoryFile(content, self._mtime_ns)


class _MemoryFile:
    """A file of `MemoryFiles`."""

    def __init__(self, content: bytes, mtime_ns: int) -> None:
        self._content = content
        self.info = FileInfo(len(content), mtime_ns)

    async def read(self, offset: int, size: int) -> bytes:
        return self._content[offset : offset + size]

    def close(self) -> None:
        """Nothing is held."""
