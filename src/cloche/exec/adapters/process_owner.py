"""Names processes, so that others on the machine can tell when the one behind a name is gone.

An owner is `BOOT.NAMESPACE.PID.START.RANDOM`: the boot of the machine, the namespace that the
process id belongs to, the id, when the process began, and what tells two owners in it apart.
Invariants:
- `is_gone` says True of a process that certainly has ended: on this boot, in this namespace, nobody
  has its id, or somebody who began at another time;
- of any other name, such as one of another machine, it says False: nothing is known of that one.
"""

from __future__ import annotations

import functools
import os
import secrets
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_SEPARATOR: Final = "."
_RANDOM_BYTES: Final = 8
_START_FIELD: Final = 19  # of /proc/PID/stat, behind the name; the 22nd of all (proc(5))
_PART_COUNT: Final = 5


def owner_name() -> str:
    """Return a name for an owner in this process; no other owner has it."""
    unique = secrets.token_hex(_RANDOM_BYTES)
    place, start = _place(), _start_of(os.getpid())
    if not place or not start:
        return unique  # of a system that does not say: nobody will tell that it is gone
    return _SEPARATOR.join((*place, str(os.getpid()), start, unique))


def is_gone(owner: str) -> bool:
    """Whether the process of an owner certainly has ended."""
    parts = owner.split(_SEPARATOR)
    if len(parts) != _PART_COUNT or tuple(parts[:2]) != _place() or not parts[2].isdecimal():
        return False
    number = int(parts[2])
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    start = _start_of(number)
    return start not in ("", parts[3])  # its id was given to another one


@functools.cache
def _place() -> tuple[str, ...]:
    """Return what tells this machine, and its ids of processes, from others; empty if unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = (_PROC / "self/ns/pid").readlink().name
    except OSError:
        return ()
    return boot, "".join(filter(str.isdigit, namespace))


def _start_of(number: int) -> str:
    """Return when a process began, as its system says it; empty where it does not."""
    try:
        text = (_PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return fields[_START_FIELD] if len(fields) > _START_FIELD else ""
