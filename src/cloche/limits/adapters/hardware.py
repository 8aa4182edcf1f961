"""How much memory and how many cores this process may use (rules of seed 001).

Memory, the first that is known: cgroup v2, cgroup v1, /proc/meminfo, 512 MiB. Cores: those that
the process may be scheduled on, or fewer if its cgroup has a quota.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

from cloche.limits.groups import FALLBACK_RAM_BYTES
from cloche.limits.limits import Hardware

CGROUP_V1_UNLIMITED_BYTES: Final = 1 << 50  # a v1 group without a limit says a huge number
_DIGITS_MAX: Final = 20  # of a 64-bit number


def detect(root: Path = Path("/")) -> Hardware:
    """Read the machine below `root` (another one in tests). Never fails: what is unreadable or
    senseless counts as unknown.
    """  # noqa: D205 - one sentence
    return Hardware(total_ram_bytes=_ram(root), cpu_cores=_cores(root))


@cache
def detected() -> Hardware:
    """Return this machine, read once per process; `detected.cache_clear()` forgets it."""
    return detect()


def _ram(root: Path) -> int:
    for read in (_cgroup_v2, _cgroup_v1, _meminfo):
        size_bytes = read(root)
        if size_bytes is not None:
            return size_bytes
    return FALLBACK_RAM_BYTES


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _positive(text: str) -> int | None:
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS_MAX:
        return None
    return int(text) or None


def _cgroup_v2(root: Path) -> int | None:
    return _positive(_read(root / "sys/fs/cgroup/memory.max"))  # "max" is no number


def _cgroup_v1(root: Path) -> int | None:
    value = _positive(_read(root / "sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return None if value is None or value >= CGROUP_V1_UNLIMITED_BYTES else value


def _meminfo(root: Path) -> int | None:
    for line in _read(root / "proc/meminfo").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "MemTotal:":
            kib = _positive(words[1])
            return None if kib is None else kib * 1024
    return None


def _cores(root: Path) -> int:
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    count = affinity or os.cpu_count() or 1
    quota = _cpu_quota(root)
    return count if quota is None else min(count, quota)


def _cpu_quota(root: Path) -> int | None:
    """Return the whole cores of a cgroup's quota, at least one; None without a quota."""
    texts = _read(root / "sys/fs/cgroup/cpu.max").split()
    if not texts:
        folder = root / "sys/fs/cgroup/cpu"
        texts = [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
    values = [_positive(text) for text in texts]
    match values:
        case [int(allowed), int(period)]:
            return max(1, allowed // period)
        case _:
            return None
