"""What a worker process may not ask of the kernel: a filter of system calls, as its bytes.

Owns the list and a small assembler for it. Invariants:
- a call of another architecture ends the process; a call on the list is refused with EPERM and the
  process goes on, so that a library that only tries is not killed for it;
- no file is opened for writing, made, renamed, or removed; no socket is made; no program is run; no
  process is made, only threads; no signal leaves the process;
- what is not on the list is let through: guests are held by WebAssembly, this is the second wall,
  and a list of everything that Python and the engine need would break with each of their versions.

Source: seccomp(2), linux/filter.h, and the tables of system calls of x86_64 and aarch64. Pure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

EPERM: Final = 1
ENOSYS: Final = 38

_RETURN_ALLOW: Final = 0x7FFF0000
_RETURN_ERRNO: Final = 0x00050000
_RETURN_KILL: Final = 0x80000000  # the whole process

# Offsets in struct seccomp_data; of an argument the low half, both machines being little-endian.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_CLONE_THREAD: Final = 0x10000
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND: the same numbers on both machines.
_WRITING: Final = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000
# Types into the terminal that the server may have been started from: TIOCSTI, TIOCLINUX.
_TERMINAL_CALLS: Final = (0x5412, 0x541C)
_X32: Final = 0x40000000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One architecture: its number, and numbers of its system calls by name."""

    audit: int
    numbers: dict[str, int]


# Name, number on x86_64, number on aarch64; None where there is no such call.
_TABLE: Final[tuple[tuple[str, int | None, int | None], ...]] = (
    # Other programs and processes.
    ("execve", 59, 221), ("execveat", 322, 281), ("fork", 57, None), ("vfork", 58, None),
    ("ptrace", 101, 117), ("process_vm_readv", 310, 270), ("process_vm_writev", 311, 271),
    ("process_madvise", 440, 440), ("kcmp", 312, 272), ("pidfd_open", 434, 434),
    ("pidfd_getfd", 438, 438), ("pidfd_send_signal", 424, 424), ("tkill", 200, 130),
    ("rt_sigqueueinfo", 129, 138), ("rt_tgsigqueueinfo", 297, 240),
    ("process_mrelease", 448, 448), ("migrate_pages", 256, 238), ("move_pages", 279, 239),
    ("setpriority", 141, 140), ("ioprio_set", 251, 30), ("sched_setparam", 142, 118),
    ("sched_setscheduler", 144, 119), ("sched_setaffinity", 203, 122), ("sched_setattr", 314, 274),
    # Memory, messages and semaphores that processes of a user share.
    ("shmget", 29, 194), ("shmat", 30, 196), ("shmctl", 31, 195), ("semget", 64, 190),
    ("msgget", 68, 186), ("mq_open", 240, 180),
    # Sockets.
    ("socket", 41, 198), ("socketpair", 53, 199), ("connect", 42, 203), ("bind", 49, 200),
    ("listen", 50, 201), ("accept", 43, 202), ("accept4", 288, 242),
    # The tree of files, and changes in it.
    ("mount", 165, 40), ("umount2", 166, 39), ("pivot_root", 155, 41), ("chroot", 161, 51),
    ("open_tree", 428, 428), ("move_mount", 429, 429), ("fsopen", 430, 430),
    ("fsconfig", 431, 431), ("fsmount", 432, 432), ("fspick", 433, 433),
    ("mount_setattr", 442, 442), ("name_to_handle_at", 303, 264), ("open_by_handle_at", 304, 265),
    ("creat", 85, None), ("truncate", 76, 45), ("unlink", 87, None), ("unlinkat", 263, 35),
    ("rename", 82, None), ("renameat", 264, 38), ("renameat2", 316, 276), ("mkdir", 83, None),
    ("mkdirat", 258, 34), ("rmdir", 84, None), ("link", 86, None), ("linkat", 265, 37),
    ("symlink", 88, None), ("symlinkat", 266, 36), ("mknod", 133, None), ("mknodat", 259, 33),
    ("chmod", 90, None), ("fchmod", 91, 52), ("fchmodat", 268, 53), ("fchmodat2", 452, 452),
    ("chown", 92, None), ("lchown", 94, None), ("fchown", 93, 55), ("fchownat", 260, 54),
    ("setxattr", 188, 5), ("lsetxattr", 189, 6), ("fsetxattr", 190, 7),
    # The kernel itself.
    ("bpf", 321, 280), ("perf_event_open", 298, 241), ("userfaultfd", 323, 282),
    ("io_uring_setup", 425, 425), ("io_uring_enter", 426, 426), ("io_uring_register", 427, 427),
    ("kexec_load", 246, 104), ("kexec_file_load", 320, 294), ("init_module", 175, 105),
    ("finit_module", 313, 273), ("delete_module", 176, 106), ("keyctl", 250, 219),
    ("add_key", 248, 217), ("request_key", 249, 218), ("reboot", 169, 142), ("swapon", 167, 224),
    ("swapoff", 168, 225), ("acct", 163, 89), ("quotactl", 179, 60), ("quotactl_fd", 443, 443),
    ("syslog", 103, 116), ("settimeofday", 164, 170), ("clock_settime", 227, 112),
    ("clock_adjtime", 305, 266), ("adjtimex", 159, 171), ("sethostname", 170, 161),
    ("setdomainname", 171, 162), ("iopl", 172, None), ("ioperm", 173, None),
    ("modify_ldt", 154, None), ("vhangup", 153, 58), ("personality", 135, 92),
    ("lookup_dcookie", 212, 18),
    # Who the process is.
    ("unshare", 272, 97), ("setns", 308, 268), ("setuid", 105, 146), ("setgid", 106, 144),
    ("setreuid", 113, 145), ("setregid", 114, 143), ("setresuid", 117, 147),
    ("setresgid", 119, 149), ("setfsuid", 122, 151), ("setfsgid", 123, 152),
    ("setgroups", 116, 159), ("capset", 126, 91),
)  # fmt: skip

# Calls that are looked at more closely; those without an entry in the table above.
_SPECIAL: Final[tuple[tuple[str, int | None, int | None], ...]] = (
    ("open", 2, None),
    ("openat", 257, 56),
    ("openat2", 437, 437),
    ("clone", 56, 220),
    ("clone3", 435, 435),
    ("kill", 62, 129),
    ("tgkill", 234, 131),
    ("prlimit64", 302, 261),
    ("ioctl", 16, 29),
)

REFUSED: Final = tuple(name for name, _, _ in _TABLE)


def _numbers(column: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in (*_TABLE, *_SPECIAL):
        number = row[1 + column]
        if isinstance(number, int):
            found[str(row[0])] = number
    return found


MACHINES: Final = {
    "x86_64": Machine(audit=0xC000003E, numbers=_numbers(0)),
    "aarch64": Machine(audit=0xC00000B7, numbers=_numbers(1)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction; the jumps count instructions from the next one."""

    code: int
    k: int
    if_true: int = 0
    if_false: int = 0

    def encode(self) -> bytes:
        """Return the eight bytes of a struct sock_filter."""
        return struct.pack("<HBBI", self.code, self.if_true, self.if_false, self.k)


def program_for(machine: str, pid: int) -> list[Instruction] | None:
    """Return the filter of a process, None for a machine whose numbers are not known.

    Args:
        machine: as `platform.machine()` says.
        pid: of the process: it may signal itself.
    """
    known = MACHINES.get(machine)
    if known is None:
        return None
    numbers = known.numbers
    found = [
        _load(_ARCHITECTURE),
        Instruction(code=_EQUAL, k=known.audit, if_true=1),
        Instruction(code=_RETURN, k=_RETURN_KILL),
        _load(_NUMBER),
    ]
    if machine == "x86_64":
        found += _refuse(Instruction(code=_AT_LEAST, k=_X32, if_false=1), EPERM)
    for name in REFUSED:
        if name in numbers:
            found += _refuse(_equal(numbers[name]), EPERM)
    # The library falls back to calls whose arguments can be looked at.
    for name in ("openat2", "clone3"):
        found += _refuse(_equal(numbers[name]), ENOSYS)
    for name, place in (("open", 1), ("openat", 2)):
        if name in numbers:
            found += _looked_at(numbers[name], place, _ANY_BIT, (_WRITING,), refused_if=True)
    found += _looked_at(numbers["clone"], 0, _ANY_BIT, (_CLONE_THREAD,), refused_if=False)
    for name in ("kill", "tgkill"):
        found += _looked_at(numbers[name], 0, _EQUAL, (pid,), refused_if=False)
    # 0 is the process itself.
    found += _looked_at(numbers["prlimit64"], 0, _EQUAL, (0, pid), refused_if=False)
    found += _looked_at(numbers["ioctl"], 1, _EQUAL, _TERMINAL_CALLS, refused_if=True)
    found.append(Instruction(code=_RETURN, k=_RETURN_ALLOW))
    return found


def encode(program: list[Instruction]) -> bytes:
    """Return the bytes of a program."""
    return b"".join(instruction.encode() for instruction in program)


def _load(offset: int) -> Instruction:
    return Instruction(code=_LOAD, k=offset)


def _equal(number: int) -> Instruction:
    return Instruction(code=_EQUAL, k=number, if_false=1)


def _refuse(condition: Instruction, errno: int) -> list[Instruction]:
    """Refuse where a condition holds; it jumps over one instruction where it does not."""
    return [condition, Instruction(code=_RETURN, k=_RETURN_ERRNO | errno)]


def _looked_at(
    number: int, place: int, test: int, values: tuple[int, ...], *, refused_if: bool
) -> list[Instruction]:
    """Let a call through, or not, by one of its arguments. It ends the program either way."""
    refuse = Instruction(code=_RETURN, k=_RETURN_ERRNO | EPERM)
    allow = Instruction(code=_RETURN, k=_RETURN_ALLOW)
    first, second = (refuse, allow) if refused_if else (allow, refuse)
    tests = [
        instruction
        for value in values
        for instruction in (Instruction(code=test, k=value, if_false=1), first)
    ]
    return [
        Instruction(code=_EQUAL, k=number, if_false=len(tests) + 2),
        _load(_ARGUMENTS + 8 * place),
        *tests,
        second,
    ]
