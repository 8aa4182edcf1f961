"""What a guest's file tree is made of: files, directories, links, and how an operation fails.

Owns the data alone; what may be done to it is decided in `vfs.py`. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum


class Errno(IntEnum):
    """WASI preview 1 error numbers that this file system and its callers use."""

    SUCCESS = 0
    ACCES = 2
    BADF = 8
    EXIST = 20
    FAULT = 21
    FBIG = 22
    ILSEQ = 25
    INVAL = 28
    IO = 29
    ISDIR = 31
    LOOP = 32
    MFILE = 33
    NAMETOOLONG = 37
    NOENT = 44
    NOSPC = 51
    NOSYS = 52
    NOTDIR = 54
    NOTEMPTY = 55
    NOTSOCK = 57
    NOTSUP = 58
    PERM = 63
    ROFS = 69
    SPIPE = 70


class FileSystemError(Exception):
    """A file operation that failed: control flow between the file system and its WASI front."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """What files, directories and links have in common."""

    inode: int
    mtime_ns: int
    read_only: bool = False
    link_count: int = 1


@dataclass(slots=True, kw_only=True, eq=False)
class File(Node):
    """A regular file. `data` is a bytearray, or a read-only view for a file of the host's image."""

    data: bytearray | memoryview = field(default_factory=bytearray)
    digest: str | None = None  # of the content, once asked for; forgotten when it changes
    open_count: int = 0
    beneath: Directory | None = None  # an archive of the image that can also be walked into

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    def sha256(self) -> str:
        """Return the digest of the content, 64 hexadecimal digits."""
        if self.digest is None:
            self.digest = hashlib.sha256(self.data).hexdigest()
        return self.digest


@dataclass(slots=True, kw_only=True, eq=False)
class Directory(Node):
    """A directory. Hidden entries are reachable by name and never listed nor exported."""

    parent: Directory | None = None
    ghost: bool = False  # leads somewhere and is itself not there
    entries: dict[str, Node] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Return the visible names, sorted by their UTF-8 bytes."""
        return sorted((n for n in self.entries if n not in self.hidden), key=str.encode)


@dataclass(slots=True, kw_only=True, eq=False)
class Symlink(Node):
    """A symbolic link; `target` is resolved inside the root."""

    target: str
