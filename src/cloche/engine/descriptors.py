"""Open files of one guest: the table behind WASI file descriptors.

Pure. Invariants: descriptors 0, 1, 2 are the standard streams and 3 is the root directory, as the
images were made with; the lowest free number is given next, as POSIX asks; what is open is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cloche.engine.nodes import Directory, Errno, File, FileSystemError, Node

if TYPE_CHECKING:
    from cloche.engine.vfs import FileSystem

ROOT_DESCRIPTOR: Final = 3

FLAG_APPEND: Final = 1
FLAG_DSYNC: Final = 2
FLAG_NONBLOCK: Final = 4

StreamName = Literal["stdin", "stdout", "stderr"]


@dataclass(slots=True, kw_only=True)
class OpenFile:
    """One descriptor: a stream, a file or a directory."""

    stream: StreamName | None = None
    node: Node | None = None
    offset: int = 0
    flags: int = 0
    readable: bool = True
    writable: bool = False


class Descriptors:
    """The table.

    Args:
        files: whose nodes are opened.
        open_file_count_max: how many may be open, standard ones included.
    """

    def __init__(self, files: FileSystem, open_file_count_max: int) -> None:
        self._files = files
        self._count_max = open_file_count_max
        self._table: dict[int, OpenFile] = {
            0: OpenFile(stream="stdin"),
            1: OpenFile(stream="stdout", readable=False, writable=True),
            2: OpenFile(stream="stderr", readable=False, writable=True),
            ROOT_DESCRIPTOR: OpenFile(node=files.root),
        }

    def set_limit(self, open_file_count_max: int) -> None:
        """Bound how many may be open from here on; what is open stays open."""
        self._count_max = open_file_count_max

    def get(self, descriptor: int) -> OpenFile:
        """Return an open descriptor, else raise BADF."""
        opened = self._table.get(descriptor)
        if opened is None:
            raise FileSystemError(Errno.BADF)
        return opened

    def file(self, descriptor: int) -> tuple[OpenFile, File]:
        """Return an open regular file, else raise BADF, ISDIR or (for a stream) SPIPE."""
        opened = self.get(descriptor)
        if isinstance(opened.node, File):
            return opened, opened.node
        raise FileSystemError(Errno.SPIPE if opened.stream else Errno.ISDIR)

    def directory(self, descriptor: int) -> Directory:
        """Return an open directory, else raise BADF or NOTDIR."""
        opened = self.get(descriptor)
        if not isinstance(opened.node, Directory):
            raise FileSystemError(Errno.NOTDIR)
        return opened.node

    def open(self, opened: OpenFile) -> int:
        """Give the lowest free number to `opened`, else raise MFILE."""
        if len(self._table) >= self._count_max:
            raise FileSystemError(Errno.MFILE)
        descriptor = next(n for n in range(len(self._table) + 1) if n not in self._table)
        self._table[descriptor] = opened
        if isinstance(opened.node, File):
            self._files.opened(opened.node)
        return descriptor

    def put(self, descriptor: int, opened: OpenFile) -> None:
        """Open under a given number, for what an image had open when it was made."""
        self._table[descriptor] = opened
        if isinstance(opened.node, File):
            self._files.opened(opened.node)

    def close(self, descriptor: int) -> None:
        """Close a descriptor, else raise BADF. Standard streams close too."""
        opened = self.get(descriptor)
        del self._table[descriptor]
        if isinstance(opened.node, File):
            self._files.closed(opened.node)

    def items(self) -> list[tuple[int, OpenFile]]:
        """Return what is open, by number."""
        return sorted(self._table.items())

    def adopt(self, table: dict[int, OpenFile]) -> None:
        """Replace the table by a restored one."""
        self._table = table
        for opened in table.values():
            if isinstance(opened.node, File):
                self._files.opened(opened.node)
