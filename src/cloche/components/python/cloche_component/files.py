"""Files in memory: the tree that `open`, `os` and `pathlib` see when no folder is given.

Invariants: a path is absolute and normal before it is looked up, so nothing lies outside the tree;
one file, all files and their number have ceilings, and meeting one is an `OSError` that the program
can catch. It does not know symbolic links, permissions or descriptors.
"""

import errno
import io
import os
import posixpath
import stat
import time

FILE_LIMIT_BYTES = 32 * 1024 * 1024
FILES_LIMIT_BYTES = 128 * 1024 * 1024
FILE_COUNT_MAX = 10_000
PATH_LIMIT_BYTES = 4096


def failure(number, path):
    """Return the `OSError` of a number and a path."""
    return OSError(number, os.strerror(number), path)


class Node:
    """A file (`data`) or a folder (`children`)."""

    count = 0

    def __init__(self, folder):
        Node.count += 1
        self.number = Node.count
        self.children = {} if folder else None
        self.data = None if folder else bytearray()
        self.mtime_ns = time.time_ns()

    def stat(self):
        """Return what `os.stat` says."""
        folder = self.data is None
        mode = stat.S_IFDIR | 0o755 if folder else stat.S_IFREG | 0o644
        size = 0 if folder else len(self.data)
        ns, whole, exact = self.mtime_ns, self.mtime_ns // 10**9, self.mtime_ns / 10**9
        times = {f"st_{name}time": exact for name in "amc"}
        times_ns = {f"st_{name}time_ns": ns for name in "amc"}
        row = (mode, self.number, 1, 1, 0, 0, size, whole, whole, whole)
        return os.stat_result(row, times | times_ns)


class Tree:
    """The files of one sandbox and its working directory."""

    def __init__(self):
        self.root = Node(folder=True)
        self.cwd = "/"
        self.file_limit_bytes = FILE_LIMIT_BYTES
        self.size = 0
        self.count = 0

    def absolute(self, path):
        """Return a path from the root, without `.` and `..`.

        Raises:
            ValueError: it has a NUL.
            OSError: it is empty or too long.
        """
        path = os.fsdecode(path)
        if "\0" in path:
            raise ValueError("embedded null byte")
        if not path:
            raise failure(errno.ENOENT, path)
        if len(os.fsencode(path)) > PATH_LIMIT_BYTES:
            raise failure(errno.ENAMETOOLONG, path)
        # normpath keeps two leading slashes, as POSIX lets it.
        return "/" + posixpath.normpath(posixpath.join(self.cwd, path)).lstrip("/")

    def find(self, path):
        """Return the node of a path, or raise `FileNotFoundError` or `NotADirectoryError`."""
        node = self.root
        for name in self.absolute(path).split("/"):
            if not name:
                continue
            if node.children is None:
                raise failure(errno.ENOTDIR, path)
            if name not in node.children:
                raise failure(errno.ENOENT, path)
            node = node.children[name]
        if os.fsdecode(path).endswith("/") and node.children is None:
            raise failure(errno.ENOTDIR, path)
        return node

    def parent(self, path):
        """Return the folder that a path is in, and its name there."""
        folder, name = posixpath.split(self.absolute(path))
        node = self.find(folder)
        if node.children is None:
            raise failure(errno.ENOTDIR, path)
        return node, name

    def folder(self, path):
        """Return the node of a folder."""
        node = self.find(path)
        if node.children is None:
            raise failure(errno.ENOTDIR, path)
        return node

    def add(self, path, folder):
        """Make a file or a folder that is not there yet."""
        parent, name = self.parent(path)
        if not name or name in parent.children:
            raise failure(errno.EEXIST, path)
        if self.count >= FILE_COUNT_MAX:
            raise failure(errno.ENOSPC, path)
        node = parent.children[name] = Node(folder)
        self.count += 1
        return node

    def remove(self, path, folder):
        """Take a file or an empty folder away."""
        parent, name = self.parent(path)
        node = self.find(path)
        if folder and node.children is None:
            raise failure(errno.ENOTDIR, path)
        if not folder and node.children is not None:
            raise failure(errno.EISDIR, path)
        if node is self.root:
            raise failure(errno.EBUSY, path)
        if node.children:
            raise failure(errno.ENOTEMPTY, path)
        del parent.children[name]
        self.count -= 1
        self.size -= len(node.data or b"")

    def move(self, source, target):
        """Rename; a file takes the place of a file, a folder that of an empty folder."""
        node = self.find(source)
        old, old_name = self.parent(source)
        new, new_name = self.parent(target)
        if node is self.root or not new_name:
            raise failure(errno.EBUSY, source)
        if node.children is not None and self._inside(target, source):
            raise failure(errno.EINVAL, source)
        there = new.children.get(new_name)
        if there is node:
            return
        if there is not None:
            if there.children is None and node.children is not None:
                raise failure(errno.ENOTDIR, target)
            self.remove(target, folder=node.children is not None)
        del old.children[old_name]
        new.children[new_name] = node

    def _inside(self, path, folder):
        return (self.absolute(path) + "/").startswith(self.absolute(folder) + "/")

    def resize(self, node, size, path):
        """Check a new size of a file against the ceilings and count it."""
        if size > self.file_limit_bytes:
            raise failure(errno.EFBIG, path)
        if self.size + size - len(node.data) > FILES_LIMIT_BYTES:
            raise failure(errno.ENOSPC, path)
        self.size += size - len(node.data)
        node.mtime_ns = time.time_ns()


class MemoryFile(io.RawIOBase):
    """An open file of a tree."""

    def __init__(self, tree, path, mode):
        super().__init__()
        kinds = [kind for kind in "rwax" if kind in mode]
        if len(kinds) != 1:
            raise ValueError(f"invalid mode: {mode!r}")
        self.name, self.mode = path, mode
        self._tree, self._kind = tree, kinds[0]
        self._can_read = self._kind == "r" or "+" in mode
        self._can_write = self._kind != "r" or "+" in mode
        self._node = self._open(path)
        self._position = len(self._node.data) if self._kind == "a" else 0

    def _open(self, path):
        try:
            node = self._tree.find(path)
        except FileNotFoundError:
            if self._kind == "r" or os.fsdecode(path).endswith("/"):
                raise
            return self._tree.add(path, folder=False)
        if self._kind == "x":
            raise failure(errno.EEXIST, path)
        if node.children is not None:
            raise failure(errno.EISDIR, path)
        if self._kind == "w":
            self._tree.resize(node, 0, path)
            node.data = bytearray()
        return node

    def readable(self):
        return self._can_read

    def writable(self):
        return self._can_write

    def seekable(self):
        return True

    def readinto(self, buffer):
        if not self._can_read:
            raise io.UnsupportedOperation("not readable")
        data = self._node.data[self._position : self._position + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data):
        if not self._can_write:
            raise io.UnsupportedOperation("not writable")
        data = bytes(data)
        node = self._node
        if self._kind == "a":
            self._position = len(node.data)
        end = self._position + len(data)
        self._tree.resize(node, max(end, len(node.data)), self.name)
        if self._position > len(node.data):
            node.data.extend(bytes(self._position - len(node.data)))
        node.data[self._position : end] = data
        self._position = end
        return len(data)

    def seek(self, offset, whence=0):
        base = (0, self._position, len(self._node.data))[whence]
        if base + offset < 0:
            raise failure(errno.EINVAL, self.name)
        self._position = base + offset
        return self._position

    def tell(self):
        return self._position

    def truncate(self, size=None):
        if not self._can_write:
            raise io.UnsupportedOperation("not writable")
        size = self._position if size is None else size
        resize(self._tree, self._node, size, self.name)
        return size


def resize(tree, node, size, path):
    """Cut a file, or fill it with zeros."""
    if size < 0:
        raise failure(errno.EINVAL, path)
    tree.resize(node, size, path)
    node.data = node.data[:size] + bytes(max(0, size - len(node.data)))


def open_file(tree, path, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
    """Open a file of a tree; arguments as those of `open`."""
    binary = "b" in mode
    if binary and "t" in mode or set(mode) - set("rwaxbt+"):
        raise ValueError(f"invalid mode: {mode!r}")
    if binary and (encoding, errors, newline) != (None, None, None):
        raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
    raw = MemoryFile(tree, path, mode)
    if buffering == 0:
        if not binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
    if raw.readable() and raw.writable():
        buffer = io.BufferedRandom(raw, size)
    else:
        buffer = (io.BufferedReader if raw.readable() else io.BufferedWriter)(raw, size)
    if binary:
        return buffer
    if encoding in {None, "locale"}:
        encoding = "utf-8"
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode
    return text
