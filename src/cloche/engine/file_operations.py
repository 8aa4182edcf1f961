"""File operations of guests without WASI: one JSON header, raw bytes for content.

Pure. The header names the operation (`f`) and its path (`p`); content to write follows a NUL byte.
Replies are raw bytes for `read`, JSON for the rest, or a negative errno.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.engine.abi import DURATION_LIMIT_NS, MALFORMED, GuestStopped, Stop, encode
from cloche.engine.nodes import Directory, Errno, File, FileSystemError, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.vfs import FileSystem

DIRECTORY_MODE: Final = 0o40755
FILE_MODE: Final = 0o100644
READ_ONLY_MODE: Final = 0o100444
SYMLINK_MODE: Final = 0o120777


class FileOperation(msgspec.Struct, frozen=True, kw_only=True):
    """The header of one operation. Numbers are bytes, except `mtime_ns`."""

    f: str
    p: str
    to: str = ""
    target: str = ""
    offset: int | None = None
    length: int | None = None
    size: int = 0
    mtime_ns: int = 0
    append: bool = False
    exclusive: bool = False
    recursive: bool = False
    follow: bool = True


_decoder = msgspec.json.Decoder(FileOperation)
_NOTHING: Final = b"null"


def perform(files: FileSystem, body: bytes) -> bytes | int:
    """Perform one operation.

    Returns:
        the reply, or the negative errno of a failure.

    Raises:
        GuestStopped: the header is not what the ABI says.
    """
    header, _, content = body.partition(b"\0")
    try:
        request = _decoder.decode(header)
    except MALFORMED as error:
        raise GuestStopped(
            Stop(kind="protocol", message=f"the guest sent a malformed file operation: {error}")
        ) from None
    operation = _OPERATIONS.get(request.f)
    if operation is None:
        return -Errno.NOSYS
    if (request.offset or 0) < 0 or (request.length or 0) < 0 or request.size < 0:
        return -Errno.INVAL
    try:
        return operation(files, request, content)
    except FileSystemError as error:
        return -error.errno


def _file(node: Node) -> File:
    if isinstance(node, Directory):
        raise FileSystemError(Errno.ISDIR)
    if not isinstance(node, File):
        raise FileSystemError(Errno.INVAL)
    return node


def _read(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    file = _file(files.lookup(request.p))
    offset = request.offset or 0
    length = file.size if request.length is None else request.length
    return files.read(file, offset, length)


def _write(files: FileSystem, request: FileOperation, content: bytes) -> bytes:
    replace = not request.append and request.offset is None
    file = _file(
        files.open_file(
            request.p, create=True, exclusive=request.exclusive, truncate=replace, write=True
        )
    )
    offset = file.size if request.append else (request.offset or 0)
    files.write(file, offset, content)
    return _NOTHING


def _type(node: Node) -> str:
    if isinstance(node, Directory):
        return "directory"
    return "symlink" if isinstance(node, Symlink) else "file"


def _stat(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    node = files.lookup(request.p, follow=request.follow)
    size, mode = 0, DIRECTORY_MODE
    if isinstance(node, File):
        size, mode = node.size, READ_ONLY_MODE if node.read_only else FILE_MODE
    elif isinstance(node, Symlink):
        size, mode = len(node.target.encode()), SYMLINK_MODE
    return encode(
        {
            "type": _type(node),
            "size": size,
            "mtime_ns": node.mtime_ns,
            "ino": node.inode,
            "mode": mode,
        }
    )


def _readdir(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    directory = files.directory(request.p)
    entries: list[dict[str, Any]] = [
        {"name": name, "type": _type(directory.entries[name])} for name in directory.names()
    ]
    return encode(entries)


def _mkdir(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    if request.recursive:
        files.make_directories(request.p)
    else:
        files.make_directory(request.p)
    return _NOTHING


def _unlink(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    files.unlink(request.p)
    return _NOTHING


def _rmdir(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    files.remove_directory(request.p)
    return _NOTHING


def _rename(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    files.rename(request.p, request.to)
    return _NOTHING


def _truncate(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    files.resize(_file(files.lookup(request.p)), request.size)
    return _NOTHING


def _symlink(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    files.symlink(request.target, request.p)
    return _NOTHING


def _readlink(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    return encode(files.read_link(request.p))


def _utimes(files: FileSystem, request: FileOperation, _content: bytes) -> bytes:
    node = files.lookup(request.p)
    if node.read_only:
        raise FileSystemError(Errno.PERM)
    if abs(request.mtime_ns) > DURATION_LIMIT_NS:
        raise FileSystemError(Errno.INVAL)
    node.mtime_ns = request.mtime_ns
    return _NOTHING


_OPERATIONS: Final[dict[str, Callable[[FileSystem, FileOperation, bytes], bytes]]] = {
    "read": _read,
    "write": _write,
    "stat": _stat,
    "readdir": _readdir,
    "mkdir": _mkdir,
    "unlink": _unlink,
    "rmdir": _rmdir,
    "rename": _rename,
    "truncate": _truncate,
    "symlink": _symlink,
    "readlink": _readlink,
    "utimes": _utimes,
}
