"""WASI preview 1 for guests that need it, on the virtual OS: no function here touches the host.

Each function gets the running machine and raw arguments, and returns an errno; the layouts are
those of the WASI preview 1 witx files. What a sandbox has no use for (sockets) answers NOTSUP.
Pointers are checked by `Memory`; lengths that a guest gives are bounded before anything is copied.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, Protocol

from cloche.engine.abi import GuestStopped, Stop
from cloche.engine.descriptors import FLAG_APPEND, ROOT_DESCRIPTOR, Descriptors, OpenFile
from cloche.engine.nodes import Directory, Errno, File, FileSystemError, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.adapters.wasm import Linker, Memory
    from cloche.engine.vfs import FileSystem
    from cloche.engine.virtual_os import Clock, Entropy, StandardStreams

MODULE: Final = "wasi_snapshot_preview1"

ALL_RIGHTS: Final = (1 << 30) - 1
RIGHT_READ: Final = 1 << 1
RIGHT_WRITE: Final = 1 << 6
LOOKUP_FOLLOW: Final = 1
OPEN_CREATE, OPEN_DIRECTORY, OPEN_EXCLUSIVE, OPEN_TRUNCATE = 1, 2, 4, 8
TIME_ATIM, TIME_ATIM_NOW, TIME_MTIM, TIME_MTIM_NOW = 1, 2, 4, 8
CLOCK_REALTIME: Final = 0
EVENT_CLOCK: Final = 0
CLOCK_ABSTIME: Final = 1
IOVEC_COUNT_MAX: Final = 1024  # as Linux IOV_MAX
GATHER_LIMIT_BYTES: Final = 64 << 20  # of one write; the rest is for the next, as POSIX allows
SUBSCRIPTION_COUNT_MAX: Final = 1024
RANDOM_LIMIT_BYTES: Final = 1 << 20
TYPE_CHARACTER, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK = 2, 3, 4, 7

_FILESTAT: Final = struct.Struct("<QQB7xQQQQQ")
_FDSTAT: Final = struct.Struct("<BxH4xQQ")
_DIRENT: Final = struct.Struct("<QQIB3x")
_SUBSCRIPTION: Final = struct.Struct("<QB7xI4xQQH6x")
_EVENT: Final = struct.Struct("<QHB5xQH6x")


class Machine(Protocol):
    """What these functions need of a running instance."""

    memory: Memory
    files: FileSystem
    descriptors: Descriptors
    clock: Clock
    sleep_until: Callable[[int], None]
    entropy: Entropy
    streams: StandardStreams
    argv: list[bytes]
    environ: list[bytes]


def define(linker: Linker) -> None:
    """Define every function of the module."""
    for name, (parameters, function) in _FUNCTIONS.items():
        linker.define(MODULE, name, parameters, _guarded(function))
    linker.define(MODULE, "proc_exit", "i", _proc_exit, returns=False)


def _guarded(function: Callable[..., int | None]) -> Callable[..., int]:
    def call(machine: Machine, *arguments: int) -> int:
        try:
            return function(machine, *arguments) or 0
        except FileSystemError as error:
            return error.errno

    return call


# --- process, clock, entropy ---


def _proc_exit(_machine: Machine, code: int) -> int:
    raise GuestStopped(Stop(kind="exit", exit_code=code & 0xFF))


def _strings_sizes(m: Machine, strings: list[bytes], count: int, size: int) -> None:
    m.memory.write_u32(count, len(strings))
    m.memory.write_u32(size, sum(len(s) + 1 for s in strings))


def _strings_get(m: Machine, strings: list[bytes], pointers: int, buffer: int) -> None:
    for index, string in enumerate(strings):
        m.memory.write_u32(pointers + 4 * index, buffer)
        m.memory.write(buffer, string + b"\0")
        buffer += len(string) + 1


def _args_sizes_get(m: Machine, count: int, size: int) -> None:
    _strings_sizes(m, m.argv, count, size)


def _args_get(m: Machine, pointers: int, buffer: int) -> None:
    _strings_get(m, m.argv, pointers, buffer)


def _environ_sizes_get(m: Machine, count: int, size: int) -> None:
    _strings_sizes(m, m.environ, count, size)


def _environ_get(m: Machine, pointers: int, buffer: int) -> None:
    _strings_get(m, m.environ, pointers, buffer)


def _clock_res_get(m: Machine, _clock: int, pointer: int) -> None:
    m.memory.write_u64(pointer, 1000)


def _clock_time_get(m: Machine, clock: int, _precision: int, pointer: int) -> None:
    m.memory.write_u64(pointer, m.clock.read() if clock == CLOCK_REALTIME else m.clock.monotonic())


def _random_get(m: Machine, pointer: int, length: int) -> int:
    if length > RANDOM_LIMIT_BYTES:
        return Errno.INVAL
    m.memory.write(pointer, m.entropy.take(length))
    return 0


def _poll_oneoff(m: Machine, subscriptions: int, events: int, count: int, ready: int) -> int:
    """Sleep virtually until the earliest clock; files and streams are always ready."""
    if not 0 < count <= SUBSCRIPTION_COUNT_MAX:
        return Errno.INVAL
    body = m.memory.read(subscriptions, _SUBSCRIPTION.size * count)
    clocks: list[tuple[int, int]] = []
    answers: list[bytes] = []
    for userdata, tag, clock, timeout, _precision, flags in _SUBSCRIPTION.iter_unpack(body):
        if tag == EVENT_CLOCK:
            start = 0 if clock == CLOCK_REALTIME else m.clock.started_ns
            due = timeout + start if flags & CLOCK_ABSTIME else m.clock.now_ns + timeout
            clocks.append((due, userdata))
        else:
            answers.append(_EVENT.pack(userdata, 0, tag, 1, 0))
    if not answers:
        due = min(clocks)[0]
        m.sleep_until(due)
        answers = [_EVENT.pack(u, 0, EVENT_CLOCK, 0, 0) for d, u in clocks if d <= due]
    m.memory.write(events, b"".join(answers))
    m.memory.write_u32(ready, len(answers))
    return 0


def _sched_yield(_machine: Machine) -> int:
    return 0


# --- descriptors ---


def _fd_advise(m: Machine, fd: int, _offset: int, _length: int, _advice: int) -> None:
    m.descriptors.get(fd)


def _fd_sync(m: Machine, fd: int) -> None:
    m.descriptors.get(fd)


def _fd_close(m: Machine, fd: int) -> None:
    m.descriptors.close(fd)


def _fd_fdstat_get(m: Machine, fd: int, pointer: int) -> None:
    opened = m.descriptors.get(fd)
    rights = ALL_RIGHTS
    if opened.stream:
        kind = TYPE_CHARACTER
        # Without the seek and tell rights a C library takes a character device for a terminal;
        # guests have none, so they see a plain pipe-like stream and buffer as such.
    elif isinstance(opened.node, Directory):
        kind = TYPE_DIRECTORY
    else:
        kind = TYPE_FILE
    m.memory.write(pointer, _FDSTAT.pack(kind, opened.flags, rights, ALL_RIGHTS))


def _fd_fdstat_set_flags(m: Machine, fd: int, flags: int) -> None:
    m.descriptors.get(fd).flags = flags & 0xFFFF


def _stat(node: Node | None) -> bytes:
    size = 0
    if isinstance(node, File):
        kind, size = TYPE_FILE, node.size
    elif isinstance(node, Directory):
        kind = TYPE_DIRECTORY
    elif isinstance(node, Symlink):
        kind, size = TYPE_SYMLINK, len(node.target.encode())
    else:
        return _FILESTAT.pack(0, 0, TYPE_CHARACTER, 1, 0, 0, 0, 0)
    time_ns = node.mtime_ns
    return _FILESTAT.pack(1, node.inode, kind, node.link_count, size, time_ns, time_ns, time_ns)


def _fd_filestat_get(m: Machine, fd: int, pointer: int) -> None:
    m.memory.write(pointer, _stat(m.descriptors.get(fd).node))


def _fd_filestat_set_size(m: Machine, fd: int, size: int) -> int:
    opened, file = m.descriptors.file(fd)
    if not opened.writable:
        return Errno.BADF
    m.files.resize(file, size)
    return 0


def _set_times(m: Machine, node: Node, mtime_ns: int, flags: int) -> int:
    if node.read_only:
        return Errno.PERM
    if flags & TIME_MTIM_NOW:
        node.mtime_ns = m.clock.now_ns
    elif flags & TIME_MTIM:
        node.mtime_ns = mtime_ns
    return 0


def _fd_filestat_set_times(m: Machine, fd: int, _atim: int, mtim: int, flags: int) -> int:
    node = m.descriptors.get(fd).node
    return Errno.BADF if node is None else _set_times(m, node, mtim, flags)


def _iovecs(m: Machine, pointer: int, count: int) -> list[tuple[int, int]]:
    if count > IOVEC_COUNT_MAX:
        raise FileSystemError(Errno.INVAL)
    return list(struct.iter_unpack("<II", m.memory.read(pointer, 8 * count)))


def _scatter(m: Machine, iovecs: list[tuple[int, int]], take: Callable[[int], bytes]) -> int:
    total = 0
    for pointer, length in iovecs:
        piece = take(length)
        m.memory.write(pointer, piece)
        total += len(piece)
        if len(piece) < length:
            break
    return total


def _fd_read(m: Machine, fd: int, iovs: int, count: int, read: int) -> int:
    opened = m.descriptors.get(fd)
    if not opened.readable:
        return Errno.BADF
    iovecs = _iovecs(m, iovs, count)
    if opened.stream:
        m.memory.write_u32(read, _scatter(m, iovecs, m.streams.read))
        return 0
    opened, file = m.descriptors.file(fd)

    def take(length: int) -> bytes:
        piece = m.files.read(file, opened.offset, length)
        opened.offset += len(piece)
        return piece

    m.memory.write_u32(read, _scatter(m, iovecs, take))
    return 0


def _fd_pread(m: Machine, fd: int, iovs: int, count: int, offset: int, read: int) -> int:
    opened, file = m.descriptors.file(fd)
    if not opened.readable:
        return Errno.BADF
    at = offset

    def take(length: int) -> bytes:
        nonlocal at
        piece = m.files.read(file, at, length)
        at += len(piece)
        return piece

    m.memory.write_u32(read, _scatter(m, _iovecs(m, iovs, count), take))
    return 0


def _gather(m: Machine, iovs: int, count: int) -> bytes:
    # A thousand vectors may name the same hundred megabytes, so the sum is bounded.
    pieces: list[bytes] = []
    room = GATHER_LIMIT_BYTES
    for pointer, length in _iovecs(m, iovs, count):
        pieces.append(m.memory.read(pointer, min(length, room)))
        room -= len(pieces[-1])
        if not room:
            break
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _fd_write(m: Machine, fd: int, iovs: int, count: int, written: int) -> int:
    opened = m.descriptors.get(fd)
    if not opened.writable:
        return Errno.BADF
    data = _gather(m, iovs, count)
    if opened.stream:
        m.streams.write("stderr" if opened.stream == "stderr" else "stdout", data)
    else:
        opened, file = m.descriptors.file(fd)
        offset = file.size if opened.flags & FLAG_APPEND else opened.offset
        m.files.write(file, offset, data)
        opened.offset = offset + len(data)
    m.memory.write_u32(written, len(data))
    return 0


def _fd_pwrite(m: Machine, fd: int, iovs: int, count: int, offset: int, written: int) -> int:
    opened, file = m.descriptors.file(fd)
    if not opened.writable:
        return Errno.BADF
    m.memory.write_u32(written, m.files.write(file, offset, _gather(m, iovs, count)))
    return 0


def _fd_seek(m: Machine, fd: int, delta: int, whence: int, pointer: int) -> int:
    opened, file = m.descriptors.file(fd)
    delta = delta - (1 << 64) if delta >= 1 << 63 else delta
    start = {0: 0, 1: opened.offset, 2: file.size}.get(whence)
    if start is None or not 0 <= start + delta < 1 << 63:
        return Errno.INVAL
    opened.offset = start + delta
    m.memory.write_u64(pointer, opened.offset)
    return 0


def _fd_tell(m: Machine, fd: int, pointer: int) -> int:
    opened, _ = m.descriptors.file(fd)
    m.memory.write_u64(pointer, opened.offset)
    return 0


def _fd_readdir(m: Machine, fd: int, buffer: int, length: int, cookie: int, used: int) -> int:
    directory = m.descriptors.directory(fd)
    names = [".", "..", *directory.names()]
    out = bytearray()
    for index in range(min(cookie, len(names)), len(names)):
        name = names[index]
        node = directory if name in {".", ".."} else directory.entries[name]
        kind = _FILE_TYPES.get(type(node), TYPE_FILE)
        encoded = name.encode()
        out += _DIRENT.pack(index + 1, node.inode, len(encoded), kind) + encoded
        if len(out) >= length:
            break
    piece = bytes(out[:length])
    m.memory.write(buffer, piece)
    m.memory.write_u32(used, len(piece))
    return 0


_FILE_TYPES: Final[dict[type[Node], int]] = {
    File: TYPE_FILE,
    Directory: TYPE_DIRECTORY,
    Symlink: TYPE_SYMLINK,
}


def _fd_prestat_get(m: Machine, fd: int, pointer: int) -> int:
    if fd != ROOT_DESCRIPTOR:
        return Errno.BADF
    m.memory.write(pointer, struct.pack("<II", 0, 1))
    return 0


def _fd_prestat_dir_name(m: Machine, fd: int, pointer: int, length: int) -> int:
    if fd != ROOT_DESCRIPTOR:
        return Errno.BADF
    if length < 1:
        return Errno.NAMETOOLONG
    m.memory.write(pointer, b"/")
    return 0


# --- paths ---


def _path(m: Machine, pointer: int, length: int) -> str:
    if length > 1 << 16:
        raise FileSystemError(Errno.NAMETOOLONG)
    try:
        path = m.memory.read(pointer, length).decode()
    except UnicodeDecodeError:
        raise FileSystemError(Errno.ILSEQ) from None
    # WASI paths are relative to their descriptor; ours is the root, so an absolute one means it.
    return path or "."


def _path_open(
    m: Machine,
    fd: int,
    lookup: int,
    pointer: int,
    length: int,
    flags: int,
    rights: int,
    _inheriting: int,
    fd_flags: int,
    out: int,
) -> int:
    start = m.descriptors.directory(fd)
    write = bool(rights & RIGHT_WRITE)
    node = m.files.open_file(
        _path(m, pointer, length),
        start=start,
        create=bool(flags & OPEN_CREATE),
        exclusive=bool(flags & OPEN_EXCLUSIVE),
        truncate=bool(flags & OPEN_TRUNCATE),
        write=write and not flags & OPEN_DIRECTORY,
        follow=bool(lookup & LOOKUP_FOLLOW),
    )
    if flags & OPEN_DIRECTORY and not isinstance(node, Directory):
        return Errno.NOTDIR
    opened = OpenFile(
        node=node,
        flags=fd_flags & 0xFFFF,
        readable=bool(rights & RIGHT_READ) or not write,
        writable=write,
    )
    m.memory.write_u32(out, m.descriptors.open(opened))
    return 0


def _path_filestat_get(
    m: Machine, fd: int, lookup: int, pointer: int, length: int, out: int
) -> None:
    node = m.files.lookup(
        _path(m, pointer, length),
        start=m.descriptors.directory(fd),
        follow=bool(lookup & LOOKUP_FOLLOW),
    )
    m.memory.write(out, _stat(node))


def _path_filestat_set_times(
    m: Machine,
    fd: int,
    lookup: int,
    pointer: int,
    length: int,
    _atim: int,
    mtim: int,
    flags: int,
) -> int:
    node = m.files.lookup(
        _path(m, pointer, length),
        start=m.descriptors.directory(fd),
        follow=bool(lookup & LOOKUP_FOLLOW),
    )
    return _set_times(m, node, mtim, flags)


def _path_create_directory(m: Machine, fd: int, pointer: int, length: int) -> None:
    m.files.make_directory(_path(m, pointer, length), start=m.descriptors.directory(fd))


def _path_remove_directory(m: Machine, fd: int, pointer: int, length: int) -> None:
    m.files.remove_directory(_path(m, pointer, length), start=m.descriptors.directory(fd))


def _path_unlink_file(m: Machine, fd: int, pointer: int, length: int) -> None:
    m.files.unlink(_path(m, pointer, length), start=m.descriptors.directory(fd))


def _path_rename(
    m: Machine, fd: int, pointer: int, length: int, to_fd: int, to: int, to_length: int
) -> None:
    m.files.rename(
        _path(m, pointer, length),
        _path(m, to, to_length),
        start=m.descriptors.directory(fd),
        to_start=m.descriptors.directory(to_fd),
    )


def _path_link(
    m: Machine, fd: int, lookup: int, pointer: int, length: int, to_fd: int, to: int, to_length: int
) -> None:
    m.files.link(
        _path(m, pointer, length),
        _path(m, to, to_length),
        start=m.descriptors.directory(fd),
        to_start=m.descriptors.directory(to_fd),
        follow=bool(lookup & LOOKUP_FOLLOW),
    )


def _path_symlink(
    m: Machine, target: int, target_length: int, fd: int, pointer: int, length: int
) -> None:
    m.files.symlink(
        _path(m, target, target_length),
        _path(m, pointer, length),
        start=m.descriptors.directory(fd),
    )


def _path_readlink(
    m: Machine, fd: int, pointer: int, length: int, buffer: int, size: int, used: int
) -> None:
    target = m.files.read_link(_path(m, pointer, length), start=m.descriptors.directory(fd))
    piece = target.encode()[:size]
    m.memory.write(buffer, piece)
    m.memory.write_u32(used, len(piece))


def _unsupported(_machine: Machine, *_arguments: int) -> int:
    return Errno.NOTSUP


_FUNCTIONS: Final[dict[str, tuple[str, Callable[..., Any]]]] = {
    "args_get": ("ii", _args_get),
    "args_sizes_get": ("ii", _args_sizes_get),
    "environ_get": ("ii", _environ_get),
    "environ_sizes_get": ("ii", _environ_sizes_get),
    "clock_res_get": ("ii", _clock_res_get),
    "clock_time_get": ("iIi", _clock_time_get),
    "fd_advise": ("iIIi", _fd_advise),
    "fd_close": ("i", _fd_close),
    "fd_datasync": ("i", _fd_sync),
    "fd_fdstat_get": ("ii", _fd_fdstat_get),
    "fd_fdstat_set_flags": ("ii", _fd_fdstat_set_flags),
    "fd_filestat_get": ("ii", _fd_filestat_get),
    "fd_filestat_set_size": ("iI", _fd_filestat_set_size),
    "fd_filestat_set_times": ("iIIi", _fd_filestat_set_times),
    "fd_pread": ("iiiIi", _fd_pread),
    "fd_prestat_get": ("ii", _fd_prestat_get),
    "fd_prestat_dir_name": ("iii", _fd_prestat_dir_name),
    "fd_pwrite": ("iiiIi", _fd_pwrite),
    "fd_read": ("iiii", _fd_read),
    "fd_readdir": ("iiiIi", _fd_readdir),
    "fd_seek": ("iIii", _fd_seek),
    "fd_sync": ("i", _fd_sync),
    "fd_tell": ("ii", _fd_tell),
    "fd_write": ("iiii", _fd_write),
    "path_create_directory": ("iii", _path_create_directory),
    "path_filestat_get": ("iiiii", _path_filestat_get),
    "path_filestat_set_times": ("iiiiIIi", _path_filestat_set_times),
    "path_link": ("iiiiiii", _path_link),
    "path_open": ("iiiiiIIii", _path_open),
    "path_readlink": ("iiiiii", _path_readlink),
    "path_remove_directory": ("iii", _path_remove_directory),
    "path_rename": ("iiiiii", _path_rename),
    "path_symlink": ("iiiii", _path_symlink),
    "path_unlink_file": ("iii", _path_unlink_file),
    "poll_oneoff": ("iiii", _poll_oneoff),
    "random_get": ("ii", _random_get),
    "sched_yield": ("", _sched_yield),
    "sock_accept": ("iii", _unsupported),
    "sock_recv": ("iiiiii", _unsupported),
    "sock_send": ("iiiii", _unsupported),
    "sock_shutdown": ("ii", _unsupported),
}
