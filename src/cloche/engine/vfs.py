"""The in-memory file system of a guest: inodes, paths, quotas.

Owns every file that a guest sees. Pure: bytes in, bytes out, no host file is ever touched.
Invariants:
- a path never leaves the root: `..` at the root stays there, symbolic links resolve inside;
- what is stored never exceeds the quotas, however it is written (append, seek and write, truncate);
  a file counts once for each of its names, because each is a whole file to whoever exports it;
- listings are sorted by UTF-8 bytes, inode numbers and times come from counters and the virtual
  clock, so that two runs with the same inputs see the same file system.

Failures are `FileSystemError` with a WASI errno: the guest sees them as its own OSError.
What a tree is made of is in `nodes.py`. This module does not know file descriptors (see
`descriptors.py`) nor who calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cloche.engine.nodes import Directory, Errno, File, FileSystemError, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.limits import Limits

SYMLINK_HOPS_MAX: Final = 40  # as Linux (path_resolution(7))
NAME_LIMIT_BYTES: Final = 255  # as every common file system


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file as it goes in and out of a run: absolute path, content, whether writable."""

    path: str
    content: bytes
    read_only: bool = False


class FileSystem:
    """One guest's file tree.

    Args:
        limits: the `guests` group gives the quotas.
        now_ns: reads the virtual clock, for modification times.

    Attributes:
        quota_hit: the limit that refused a write last; empty if none did.
    """

    def __init__(self, limits: Limits, now_ns: Callable[[], int]) -> None:
        self._limits = limits.guests
        self._now_ns = now_ns
        self._next_inode = 1
        self.used_bytes = 0
        self.file_count = 0
        self.quota_hit = ""
        self.root = self._directory(None)

    # --- nodes and quotas ---

    def _inode(self) -> int:
        inode = self._next_inode
        self._next_inode += 1
        return inode

    def _directory(self, parent: Directory | None) -> Directory:
        return Directory(inode=self._inode(), mtime_ns=self._now_ns(), parent=parent)

    def _charge_node(self) -> None:
        if self.file_count >= self._limits.file_count_max:
            self.quota_hit = "file_count_max"
            raise FileSystemError(Errno.NOSPC)
        self.file_count += 1

    def _charge_bytes(self, file: File, size: int) -> None:
        if size > file.size and size > self._limits.file_limit_bytes:
            self.quota_hit = "file_limit_bytes"
            raise FileSystemError(Errno.FBIG)
        self._charge_growth((size - file.size) * max(1, file.link_count))

    def _charge_growth(self, growth: int) -> None:
        if growth > 0 and self.used_bytes + growth > self._limits.files_limit_bytes:
            self.quota_hit = "files_limit_bytes"
            raise FileSystemError(Errno.NOSPC)
        self.used_bytes += growth

    def _unlinked(self, node: Node) -> None:
        node.link_count -= 1
        if isinstance(node, Directory):
            node.parent = None  # whoever still holds it finds nothing above it, snapshot or not
        if node.link_count:
            self._discharge(node)
        else:
            self._reclaim(node)

    def _reclaim(self, node: Node) -> None:
        # A removed file that is still open keeps its bytes, so it keeps its charge too: else
        # open, write, unlink in a loop would take memory that no quota sees.
        if node.link_count or (isinstance(node, File) and node.open_count):
            return
        self._discharge(node)

    def _discharge(self, node: Node) -> None:
        self.file_count -= 1
        if isinstance(node, File) and isinstance(node.data, bytearray):
            self.used_bytes -= node.size

    def opened(self, file: File) -> None:
        """Note that a descriptor holds `file`."""
        file.open_count += 1

    def closed(self, file: File) -> None:
        """Note that a descriptor let go of `file`; a removed file gives its bytes back."""
        file.open_count -= 1
        if not file.link_count:
            self._reclaim(file)

    # --- paths ---

    def split(self, path: str) -> list[str]:
        """Return the components of a path, refusing what no file system would take.

        Raises:
            FileSystemError: ILSEQ for NUL or bytes that are not UTF-8, NAMETOOLONG, NOENT if empty.
        """
        if not path:
            raise FileSystemError(Errno.NOENT)
        try:
            encoded = path.encode()
        except UnicodeEncodeError:
            raise FileSystemError(Errno.ILSEQ) from None
        if b"\0" in encoded:
            raise FileSystemError(Errno.ILSEQ)
        if len(encoded) > self._limits.path_limit_bytes:
            raise FileSystemError(Errno.NAMETOOLONG)
        parts = [part for part in path.split("/") if part and part != "."]
        if any(len(part.encode()) > NAME_LIMIT_BYTES for part in parts):
            raise FileSystemError(Errno.NAMETOOLONG)
        return parts

    def _walk(
        self, start: Directory, path: str, *, follow: bool
    ) -> tuple[Directory, str, Node | None]:
        """Resolve to (directory, last name, node or None). The name is "" for the root itself."""
        hops = 0
        directory = self.root if path.startswith("/") else start
        parts = self.split(path)
        must_be_directory = _wants_directory(path)
        parts.reverse()
        name, node = "", directory  # type: tuple[str, Node | None]
        while parts:
            part = parts.pop()
            if isinstance(node, File) and node.beneath is not None:
                node = node.beneath
            if not isinstance(node, Directory):
                raise FileSystemError(Errno.NOENT if node is None else Errno.NOTDIR)
            directory = node
            if part == "..":
                node = self._above(directory)
                name, directory = "", node
                continue
            name, node = part, directory.entries.get(part)
            if isinstance(node, Symlink) and (parts or follow or must_be_directory):
                hops += 1
                if hops > SYMLINK_HOPS_MAX:
                    raise FileSystemError(Errno.LOOP)
                parts.extend(reversed(self.split(node.target)))
                node = self.root if node.target.startswith("/") else directory
                name = ""
        _check_end(path, node)
        if name == "" and isinstance(node, Directory):
            directory = self._above(node)
        return directory, name, node

    def _above(self, directory: Directory) -> Directory:
        """Return the parent; the root of what is mounted is this file system's own."""
        parent = directory.parent
        if parent is None:
            return directory
        return self.root if parent.parent is None else parent

    def lookup(self, path: str, *, start: Directory | None = None, follow: bool = True) -> Node:
        """Return the node at `path`.

        Raises:
            FileSystemError: NOENT, NOTDIR, LOOP or a malformed path.
        """
        _, _, node = self._walk(start or self.root, path, follow=follow)
        if node is None:
            raise FileSystemError(Errno.NOENT)
        return node

    def directory(self, path: str, *, start: Directory | None = None) -> Directory:
        """Return the directory at `path`, else raise NOTDIR or NOENT."""
        node = self.lookup(path, start=start)
        if not isinstance(node, Directory):
            raise FileSystemError(Errno.NOTDIR)
        return node

    def _place(
        self, start: Directory | None, path: str, *, unnamed: Errno = Errno.EXIST
    ) -> tuple[Directory, str, Node | None]:
        """Resolve a name that an operation is about to create or remove.

        A path that ends in a dot or leads to the root is none: it fails with `unnamed`. A slash at
        the end follows no link here (as in Linux); what it asks for else is up to the operation.
        """
        path = path.rstrip("/") or path
        directory, name, node = self._walk(start or self.root, path, follow=False)
        if not name or _ends_in_dot(path):
            raise FileSystemError(unnamed)
        return directory, name, node

    def _place_new(self, start: Directory | None, path: str) -> tuple[Directory, str]:
        """Resolve the new name of something that is no directory."""
        directory, name, node = self._place(start, path)
        if node is not None or path.endswith("/"):
            raise FileSystemError(Errno.NOENT if node is None else Errno.EXIST)
        return directory, name

    def _depth(self, directory: Directory) -> int:
        """Return how many directories lead to this one, the root and itself included."""
        depth = 0
        current: Directory | None = directory
        while current is not None:
            depth, current = depth + 1, current.parent
        return depth

    # --- operations ---

    def open_file(
        self,
        path: str,
        *,
        start: Directory | None = None,
        create: bool = False,
        exclusive: bool = False,
        truncate: bool = False,
        write: bool = False,
        follow: bool = True,
    ) -> Node:
        """Find or create what `open` names; directories are returned as they are.

        Raises:
            FileSystemError: EXIST (exclusive, a link that leads nowhere too), NOENT, ISDIR (write
                to a directory), LOOP (a link that may not be followed), PERM (a read-only file),
                NOSPC (quota).
        """
        if create and path.endswith("/"):
            self._place(start, path, unnamed=Errno.EXIST if exclusive else Errno.ISDIR)
            raise FileSystemError(Errno.ISDIR)
        follow = follow and not (create and exclusive)
        directory, name, node = self._walk(start or self.root, path, follow=follow)
        if node is None:
            if not create:
                raise FileSystemError(Errno.NOENT)
            self._writable(directory)
            self._charge_node()
            node = File(inode=self._inode(), mtime_ns=self._now_ns())
            self._attach(directory, name, node)
            return node
        if create and exclusive:
            raise FileSystemError(Errno.EXIST)
        if isinstance(node, Symlink):
            raise FileSystemError(Errno.LOOP)
        if isinstance(node, Directory):
            if write or truncate or create:
                raise FileSystemError(Errno.ISDIR)
            return node
        if write or truncate:
            self._writable(node)
        if truncate and isinstance(node, File):
            self.resize(node, 0)
        return node

    def _writable(self, node: Node) -> None:
        if isinstance(node, Directory) and not node.link_count:
            raise FileSystemError(Errno.NOENT)  # removed: what is put there nobody would find
        if node.read_only:
            raise FileSystemError(Errno.PERM)

    def _attach(self, directory: Directory, name: str, node: Node) -> None:
        directory.entries[name] = node
        directory.mtime_ns = self._now_ns()

    def _detach(self, directory: Directory, name: str) -> Node:
        node = directory.entries.pop(name)
        directory.mtime_ns = self._now_ns()
        return node

    def read(self, file: File, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; empty at or past the end."""
        return bytes(file.data[offset : offset + length])

    def write(self, file: File, offset: int, data: bytes) -> int:
        """Write `data` at `offset`, filling a gap with zeros; return the count.

        Nothing to write changes nothing, as POSIX asks.

        Raises:
            FileSystemError: FBIG or NOSPC; the file is then unchanged. PERM for a read-only file.
        """
        self._writable(file)
        assert isinstance(file.data, bytearray)
        if not data:
            return 0
        end = offset + len(data)
        if end > file.size:
            self._charge_bytes(file, end)
            if offset > file.size:
                file.data.extend(bytes(offset - file.size))
        file.data[offset:end] = data
        file.digest = None
        file.mtime_ns = self._now_ns()
        return len(data)

    def resize(self, file: File, size: int) -> None:
        """Cut or zero-extend to `size` bytes; errors as `write`."""
        self._writable(file)
        assert isinstance(file.data, bytearray)
        self._charge_bytes(file, size)
        if size < file.size:
            del file.data[size:]
        else:
            file.data.extend(bytes(size - file.size))
        file.digest = None
        file.mtime_ns = self._now_ns()

    def make_directory(self, path: str, *, start: Directory | None = None) -> None:
        """Create one directory: EXIST, NOENT (no parent), NAMETOOLONG (too deep), NOSPC."""
        directory, name, node = self._place(start, path)
        if node is not None:
            raise FileSystemError(Errno.EXIST)
        self._writable(directory)
        if self._depth(directory) >= self._limits.path_depth_max:
            raise FileSystemError(Errno.NAMETOOLONG)
        self._charge_node()
        self._attach(directory, name, self._directory(directory))

    def make_directories(self, path: str, *, start: Directory | None = None) -> None:
        """Create a directory and its parents; those that exist are fine."""
        if self._has_directory(path, start):
            return
        prefix = "/" if path.startswith("/") else ""
        for part in self.split(path):
            prefix += part + "/"
            try:
                self.make_directory(prefix.rstrip("/"), start=start)
            except FileSystemError as error:
                if error.errno is not Errno.EXIST:
                    raise
        self.directory(path, start=start)

    def _has_directory(self, path: str, start: Directory | None) -> bool:
        try:
            return isinstance(self.lookup(path, start=start), Directory)
        except FileSystemError:
            return False

    def unlink(self, path: str, *, start: Directory | None = None) -> None:
        """Remove a file or link: NOENT, ISDIR, PERM for a read-only one."""
        directory, name, node = self._place(start, path, unnamed=Errno.ISDIR)
        if node is None:
            raise FileSystemError(Errno.NOENT)
        if isinstance(node, Directory):
            raise FileSystemError(Errno.ISDIR)
        if path.endswith("/"):
            raise FileSystemError(Errno.NOTDIR)
        self._writable(node)
        self._writable(directory)
        self._unlinked(self._detach(directory, name))

    def remove_directory(self, path: str, *, start: Directory | None = None) -> None:
        """Remove an empty directory: NOENT, NOTDIR, NOTEMPTY, PERM, EXIST for a dot or the root."""
        directory, name, node = self._place(start, path)
        if node is None:
            raise FileSystemError(Errno.NOENT)
        if not isinstance(node, Directory):
            raise FileSystemError(Errno.NOTDIR)
        if node.entries:
            raise FileSystemError(Errno.NOTEMPTY)
        self._writable(node)
        self._writable(directory)
        if name in directory.hidden:
            raise FileSystemError(Errno.PERM)
        self._unlinked(self._detach(directory, name))

    def rename(
        self,
        path: str,
        to: str,
        *,
        start: Directory | None = None,
        to_start: Directory | None = None,
    ) -> None:
        """Rename as POSIX does, replacing a file or an empty directory; INVAL for the root."""
        source_directory, source_name, node = self._place(start, path, unnamed=Errno.INVAL)
        target_directory, target_name, target = self._place(to_start, to, unnamed=Errno.INVAL)
        if node is None:
            raise FileSystemError(Errno.NOENT)
        for touched in (node, source_directory, target_directory):
            self._writable(touched)
        if source_name in source_directory.hidden or target_name in target_directory.hidden:
            raise FileSystemError(Errno.PERM)
        if not isinstance(node, Directory) and (path.endswith("/") or to.endswith("/")):
            raise FileSystemError(Errno.NOTDIR)
        if target is node:
            return
        if isinstance(node, Directory):
            self._check_directory_move(node, target_directory)
        if target is not None:
            self._check_replace(node, target)
            self._unlinked(self._detach(target_directory, target_name))
        self._detach(source_directory, source_name)
        self._attach(target_directory, target_name, node)
        if isinstance(node, Directory):
            node.parent = target_directory

    def _check_directory_move(self, node: Directory, target: Directory) -> None:
        above: Directory | None = target
        while above is not None:
            if above is node:
                raise FileSystemError(Errno.INVAL)
            above = above.parent
        if self._depth(target) + self._height(node) > self._limits.path_depth_max:
            raise FileSystemError(Errno.NAMETOOLONG)

    def _height(self, node: Directory) -> int:
        # The tree is never deeper than path_depth_max, so recursion is bounded.
        below = [self._height(n) for n in node.entries.values() if isinstance(n, Directory)]
        return 1 + max(below, default=0)

    def _check_replace(self, node: Node, target: Node) -> None:
        self._writable(target)
        if isinstance(target, Directory):
            if not isinstance(node, Directory):
                raise FileSystemError(Errno.ISDIR)
            if target.entries:
                raise FileSystemError(Errno.NOTEMPTY)
        elif isinstance(node, Directory):
            raise FileSystemError(Errno.NOTDIR)

    def symlink(self, target: str, path: str, *, start: Directory | None = None) -> None:
        """Create a symbolic link at `path`."""
        self.split(target)
        directory, name = self._place_new(start, path)
        self._writable(directory)
        self._charge_node()
        self._attach(
            directory,
            name,
            Symlink(inode=self._inode(), mtime_ns=self._now_ns(), target=target),
        )

    def link(
        self,
        path: str,
        to: str,
        *,
        start: Directory | None = None,
        to_start: Directory | None = None,
        follow: bool = False,
    ) -> None:
        """Create a hard link to a file.

        Raises:
            FileSystemError: PERM for a directory or a read-only file, EXIST, NOSPC (quota).
        """
        _, _, node = self._walk(start or self.root, path, follow=follow)
        if node is None:
            raise FileSystemError(Errno.NOENT)
        directory, name = self._place_new(to_start, to)
        if isinstance(node, Directory):
            raise FileSystemError(Errno.PERM)
        self._writable(directory)
        self._writable(node)  # the image's files are shared by instances: nothing counts on them
        self._charge_node()
        try:
            self._charge_growth(node.size if isinstance(node, File) else 0)
        except FileSystemError:
            self.file_count -= 1
            raise
        node.link_count += 1
        self._attach(directory, name, node)

    def read_link(self, path: str, *, start: Directory | None = None) -> str:
        """Return a link's target; INVAL when the path is no link."""
        node = self.lookup(path, start=start, follow=False)
        if not isinstance(node, Symlink):
            raise FileSystemError(Errno.INVAL)
        return node.target

    # --- in and out of a run ---

    def add(self, file: StoredFile) -> None:
        """Put a file in place with its parents, for the host; quotas hold here too."""
        parts = self.split(file.path)
        if not parts:
            raise FileSystemError(Errno.ISDIR)
        if len(parts) > 1:
            self.make_directories("/" + "/".join(parts[:-1]))
        node = self.open_file("/" + "/".join(parts), create=True, truncate=True, write=True)
        assert isinstance(node, File)
        self.write(node, 0, file.content)
        node.read_only = file.read_only

    def mount(self, tree: Directory) -> None:
        """Show a tree of the image, read-only, hidden from listings and free of quota."""
        for name, node in tree.entries.items():
            self.root.entries[name] = node
        self.root.hidden |= tree.entries.keys()

    def make_hidden_directory(self, name: str) -> None:
        """Create a writable directory that listings and exports leave out (`/tmp`)."""
        self._charge_node()  # the host makes it, so it is there however shallow a tree may be
        self._attach(self.root, name, self._directory(self.root))
        self.root.hidden |= {name}

    @property
    def next_inode(self) -> int:
        """The number that the next new file gets."""
        return self._next_inode

    def adopt(self, nodes: dict[int, Node], *, next_inode: int) -> None:
        """Replace the tree by restored nodes; the lowest numbered directory is the root."""
        root = nodes[min(nodes)]
        assert isinstance(root, Directory)
        root.link_count = 1
        self.root, self._next_inode = root, next_inode
        # A file that only a descriptor holds counts, a directory does not (see `_reclaim`).
        self.file_count = -1 + sum(
            node.link_count if isinstance(node, Directory) else max(1, node.link_count)
            for node in nodes.values()
        )
        self.used_bytes = sum(
            node.size * max(1, node.link_count) for node in nodes.values() if isinstance(node, File)
        )

    def visible_files(self) -> list[tuple[str, File]]:
        """Return every visible file with its path, sorted by the UTF-8 bytes of the path."""
        pending: list[tuple[str, Directory]] = [("", self.root)]
        found: list[tuple[str, File]] = []
        while pending:
            prefix, directory = pending.pop()
            for name in directory.names():
                node = directory.entries[name]
                path = f"{prefix}/{name}"
                if isinstance(node, Directory):
                    pending.append((path, node))
                elif isinstance(node, File):
                    found.append((path, node))
        return sorted(found, key=lambda pair: pair[0].encode())

    def files(self) -> Iterator[StoredFile]:
        """Yield every visible file with its content, sorted by path."""
        for path, node in self.visible_files():
            yield StoredFile(path=path, content=bytes(node.data), read_only=node.read_only)

    def set_limits(self, limits: Limits) -> None:
        """Hold what is written from here on against other quotas."""
        self._limits = limits.guests
        self.quota_hit = ""

    def clear(self) -> None:
        """Let go of every file: nothing may be asked of this file system afterwards.

        Directories know their parents, so that a dropped tree would stay in memory until Python's
        collector comes.
        """
        pending = [self.root]
        while pending:
            directory = pending.pop()
            below = [n for n in directory.entries.values() if isinstance(n, Directory)]
            pending += [child for child in below if child.inode < MOUNTED_INODE]
            directory.entries = {}


def _ends_in_dot(path: str) -> bool:
    return path.rstrip("/").endswith("/.")


def _wants_directory(path: str) -> bool:
    return path.endswith("/") or _ends_in_dot(path)


def _check_end(path: str, node: Node | None) -> None:
    """Refuse what the end of a path does not allow: a dot needs a directory that is there."""
    if node is None:
        if _ends_in_dot(path):
            raise FileSystemError(Errno.NOENT)
        return
    is_directory = isinstance(node, Directory) and not node.ghost
    if not is_directory and (isinstance(node, Directory) or _wants_directory(path)):
        raise FileSystemError(Errno.NOTDIR)


MOUNTED_INODE: Final = 1 << 32  # numbers from here on belong to the image
