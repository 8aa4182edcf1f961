"""Takes from a process what it does not need: files, sockets, programs, capabilities, resources.

Owns the order and the calls to the kernel. Invariants:
- what the kernel does not know is left out and not said to be there; what it knows and refuses is
  an error, since a worker that believes to be held and is not would be worse than none;
- nothing here can be taken back by the process;
- files are closed to a process before it has threads: Landlock holds the thread that asks and those
  that it starts. The filter of system calls holds all threads.

`RLIMIT_AS` is of no use: a guest reserves gigabytes of addresses that it never touches.
`RLIMIT_CPU` counts from the start of a process that lives for days; runs have deadlines instead.
`RLIMIT_NPROC` counts all processes of the user. So data, files and core dumps are what is limited.

Source: prctl(2), landlock(7), seccomp(2), capabilities(7), getrlimit(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import stat
import struct
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.errors import ClocheError
from cloche.server.worker_rules import encode, program_for

if TYPE_CHECKING:
    from collections.abc import Iterable

_IS_LINUX: Final = sys.platform.startswith("linux")
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAPBSET_DROP: Final = 24
_CAPABILITY_VERSION: Final = 0x20080522
_CAPABILITY_COUNT: Final = 64
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_TSYNC: Final = 1
_SYSCALLS: Final = {
    "x86_64": {"seccomp": 317, "capset": 126},
    "aarch64": {"seccomp": 277, "capset": 91},
}
_LANDLOCK_CREATE: Final = 444
_LANDLOCK_ADD: Final = 445
_LANDLOCK_RESTRICT: Final = 446
_LANDLOCK_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
# How many rights over files each version knows.
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_SINCE: Final = 4
_SCOPE_SINCE: Final = 6
_ALL_TCP: Final = 0b11
_ALL_SCOPES: Final = 0b11

_SYSTEM_PLACES: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime",
    "/usr/share/zoneinfo", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm",
    "/sys/devices/system/cpu", "/sys/kernel/mm", "/dev/null", "/dev/urandom",
)  # fmt: skip


class HardeningError(ClocheError):
    """The kernel knows a protection and refused to give it. The process must not go on."""

    code = "WORKER_HARDENING"
    blame = "environment"

    def __init__(self, *, what: str, number: int) -> None:
        name = errno.errorcode.get(number, str(number))
        super().__init__(
            f"{what} could not be switched on ({name}); runs would not be held as they should be; "
            "serve with --workers 0 to run guests in the process of the server instead",
            what=what,
            errno=name,
        )


def limit_resources(*, data_limit_bytes: int, file_limit_bytes: int, open_file_max: int) -> None:
    """Limit what the process takes of memory, files and descriptors; no core dumps."""
    wanted = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, data_limit_bytes),
        (resource.RLIMIT_FSIZE, file_limit_bytes),
        (resource.RLIMIT_NOFILE, open_file_max),
    )
    for kind, value in wanted:
        _, most = resource.getrlimit(kind)
        allowed = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (allowed, allowed))


def die_with_parent() -> bool:
    """Let the kernel end the process when the one that started it ends; False elsewhere.

    Without it a worker ends when it next reads or writes.
    """
    if not _IS_LINUX:
        return False
    parent = os.getppid()
    _checked("parent_death", _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(0)  # it had ended before the kernel knew
    return True


def drop_privileges() -> bool:
    """Gain no rights by running anything, and give up those of root; False elsewhere."""
    if not _IS_LINUX:
        return False
    libc = _libc()
    _checked("no_new_privs", libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for capability in range(_CAPABILITY_COUNT):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # not root, or the last one
    number = _SYSCALLS.get(platform.machine(), {}).get("capset")
    if number is not None:
        header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
        _checked("capabilities", libc.syscall(number, header, bytes(24)))
    return True


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has, 0 for none."""
    if not _IS_LINUX:
        return 0
    found = _libc().syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    return max(0, int(found))


def close_files(readable: Iterable[Path]) -> bool:
    """Leave the process files to read, and none to write; False where there is no Landlock.

    Args:
        readable: files and folders; those that are not there are passed over.

    Raises:
        HardeningError: the kernel refused.
    """
    version = landlock_version()
    if version == 0:
        return False
    rights = (1 << _FILE_RIGHTS.get(version, _FILE_RIGHTS[max(_FILE_RIGHTS)])) - 1
    attributes = struct.pack("<Q", rights)
    if version >= _NET_SINCE:
        attributes += struct.pack("<Q", _ALL_TCP)
    if version >= _SCOPE_SINCE:
        attributes += struct.pack("<Q", _ALL_SCOPES)
    libc = _libc()
    ruleset = libc.syscall(
        _LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)
    )
    _checked("landlock", ruleset)
    try:
        for path in readable:
            _allow_reading(libc, ruleset, path)
        _checked("landlock", libc.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint(0)))
    finally:
        os.close(ruleset)
    return True


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there
    try:
        is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rights = _READ_FILE | _EXECUTE | (_READ_DIR if is_folder else 0)
        rule = struct.pack("<Qi", rights, place)
        done = libc.syscall(_LANDLOCK_ADD, ruleset, _PATH_BENEATH, rule, ctypes.c_uint(0))
        _checked("landlock", done)
    finally:
        os.close(place)


def python_places() -> list[Path]:
    """Return what Python, its packages and the machine's libraries are read from."""
    names = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *_SYSTEM_PLACES}
    names |= {path for path in sysconfig.get_paths().values() if path}
    return [Path(name) for name in sorted(names) if name]


def filter_calls() -> bool:
    """Refuse system calls that the process does not need, in all its threads; False if unknown.

    Raises:
        HardeningError: the kernel refused.
    """
    machine = platform.machine()
    program = program_for(machine, os.getpid())
    if program is None or not has_seccomp():
        return False
    instructions = ctypes.create_string_buffer(encode(program))
    filter_ = struct.pack("@HP", len(program), ctypes.addressof(instructions))
    done = _libc().syscall(
        _SYSCALLS[machine]["seccomp"],
        ctypes.c_uint(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint(_SECCOMP_TSYNC),
        filter_,
    )
    if done > 0:
        raise HardeningError(what="seccomp", number=errno.EBUSY)  # the thread that has another
    _checked("seccomp", done)
    return True


def has_seccomp() -> bool:
    """Return whether the kernel filters system calls."""
    number = _SYSCALLS.get(platform.machine(), {}).get("seccomp")
    if number is None or not _IS_LINUX:
        return False
    # A filter at address 0 cannot be read: EFAULT, from a kernel that has filters.
    done = _libc().syscall(number, ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), None)
    return bool(done == -1 and ctypes.get_errno() == errno.EFAULT)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(what: str, result: int) -> None:
    if result < 0:
        raise HardeningError(what=what, number=ctypes.get_errno())
