"""Puts a picture of a host's folder into a session's files.

Invariants: all of it or nothing; nothing is written outside of the mount, whatever a program put
there before; a read-only mount cannot be changed by programs, neither its files nor its folders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.engine.nodes import Directory, Errno, File, FileSystemError, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloche.engine.nodes import Node
    from cloche.engine.vfs import FileSystem
    from cloche.exec.mounts import Pictured
    from cloche.limits import Limits


def put_picture(
    files: FileSystem, path: str, picture: Sequence[Pictured], limits: Limits, *, writable: bool
) -> None:
    """Make a directory hold what a picture shows, and nothing else.

    Args:
        files: of the session.
        path: absolute and normal; not the root.
        picture: sorted by path, folders before what is in them.
        limits: of files.
        writable: whether programs may change it.

    Raises:
        FileSystemError: NOSPC or FBIG over a quota, NOTDIR, NAMETOOLONG; nothing changed.
    """
    before = _directory_there(files, path)
    for entry in picture:
        parts = files.split(f"{path}/{entry.path}")
        if len(parts) > limits.guests.path_depth_max:
            raise FileSystemError(Errno.NAMETOOLONG)
    _check_room(files, before, picture, limits)
    if before is None:
        files.make_directories(path)
    root = files.directory(path)
    root.read_only = False
    _empty(files, root, path)
    for entry in picture:
        _put(files, root, entry, writable=writable)
    if not writable:
        for node in _nodes(root):
            node.read_only = True


def _directory_there(files: FileSystem, path: str) -> Directory | None:
    try:
        node = files.lookup(path, follow=False)
    except FileSystemError as error:
        if error.errno is Errno.NOENT:
            return None
        raise
    if not isinstance(node, Directory):
        raise FileSystemError(Errno.NOTDIR)
    return node


def _check_room(
    files: FileSystem, before: Directory | None, picture: Sequence[Pictured], limits: Limits
) -> None:
    sizes = [len(entry.content) for entry in picture if entry.kind == "file"]
    if any(size > limits.guests.file_limit_bytes for size in sizes):
        raise FileSystemError(Errno.FBIG)
    old = list(_nodes(before)) if before is not None else []
    old_bytes = sum(node.size for node in old if isinstance(node, File))
    if files.used_bytes - old_bytes + sum(sizes) > limits.guests.files_limit_bytes:
        raise FileSystemError(Errno.NOSPC)
    # The directories above may be missing as well.
    most = limits.guests.file_count_max - limits.guests.path_depth_max
    if files.file_count - len(old) + len(picture) > most:
        raise FileSystemError(Errno.NOSPC)


def _empty(files: FileSystem, directory: Directory, path: str) -> None:
    for name in directory.names():
        node = directory.entries[name]
        node.read_only = False
        if isinstance(node, Directory):
            _empty(files, node, f"{path}/{name}")
            files.remove_directory(name, start=directory)
        else:
            files.unlink(name, start=directory)


def _put(files: FileSystem, root: Directory, entry: Pictured, *, writable: bool) -> None:
    # Links come with the picture, so a name below one is none of its own: nothing is followed.
    if entry.kind == "directory":
        files.make_directory(entry.path, start=root)
    elif entry.kind == "symlink":
        files.symlink(entry.content.decode(), entry.path, start=root)
    else:
        node = files.open_file(entry.path, start=root, create=True, exclusive=True, write=True)
        assert isinstance(node, File)
        files.write(node, 0, entry.content)
        node.read_only = not writable


def _nodes(directory: Directory) -> Iterable[Node]:
    yield directory
    for node in directory.entries.values():
        if isinstance(node, Directory):
            yield from _nodes(node)
        elif isinstance(node, File | Symlink):
            yield node
