"""How much memory and how many cores this process may use (seed 001, section on detection)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

from cloche.limits.groups import FALLBACK_RAM_BYTES
from cloche.limits.limits import Hardware

CGROUP_V1_UNLIMITED_BYTES: Final = 1 << 50  # a v1 group without a limit says a huge number


def detect(root: Path = Path("/")) -> Hardware:
    """Read the machine below `root` (another one in tests)."""
    return Hardware(total_ram_bytes=_ram(root), cpu_cores=_cores(root))


@cache
def detected() -> Hardware:
    """Return this machine, read once; `detected.cache_clear()` forgets it."""
    return detect()


def _ram(root: Path) -> int:
    for candidate in (_cgroup_v2(root), _cgroup_v1(root), _meminfo(root)):
        if candidate is not None:
            return candidate
    return FALLBACK_RAM_BYTES


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _positive(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and int(text) > 0 else None


def _cgroup_v2(root: Path) -> int | None:
    return _positive(_read(root / "sys/fs/cgroup/memory.max"))  # "max" is no number


def _cgroup_v1(root: Path) -> int | None:
    value = _positive(_read(root / "sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return None if value is None or value >= CGROUP_V1_UNLIMITED_BYTES else value


def _meminfo(root: Path) -> int | None:
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            kib = _positive(line.split()[1])
            return None if kib is None else kib * 1024
    return None


def _cores(root: Path) -> int:
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    count = affinity or os.cpu_count() or 1
    quota = (_read(root / "sys/fs/cgroup/cpu.max") or "").split()
    if len(quota) == 2:  # noqa: PLR2004 - "quota period"
        allowed, period = _positive(quota[0]), _positive(quota[1])
        if allowed and period:
            count = min(count, max(1, allowed // period))
    return count
