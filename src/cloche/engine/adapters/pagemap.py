"""Which pages of a private mapping were written: the kernel knows, so nobody needs to compare.

A page of a private file mapping that was written is anonymous; one that was only read belongs to
the file. `/proc/self/pagemap` tells (Documentation/admin-guide/mm/pagemap.rst, bits 61 to 63); a
kernel from 6.7 on finds the ranges itself, in a tenth of the time (PAGEMAP_SCAN, same page).
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import struct
import sys
import threading
from typing import Final

from cloche.engine.pages import PAGE_BYTES

_ENTRY_BYTES: Final = 8
# In the highest byte of an entry: present, swapped out, of a file.
_PRESENT: Final = 0x80
_SWAPPED: Final = 0x40
_FILE: Final = 0x20
_WRITTEN: Final = bytes(
    byte & (_PRESENT | _SWAPPED) != 0 and not byte & _FILE for byte in range(256)
)
_RUN: Final = re.compile(rb"\x01+")

_SCAN: Final = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
# size, flags, start, end, walk_end, vec, vec_len, max_pages, then masks: inverted, all of, any of,
# told.
_SCAN_ARGUMENT: Final = struct.Struct("<12Q")
_WALK_END: Final = 4
_IS_FILE: Final = 1 << 2
_IS_PRESENT: Final = 1 << 3
_IS_SWAPPED: Final = 1 << 4
_REGION_COUNT: Final = 512
_REGION_FIELDS: Final = 3  # start, end, categories


class _Scan:
    """Whether this kernel finds the ranges itself: not known before it was asked."""

    works = True


class _File:
    """The open pagemap of this process; a child that it forks has another one."""

    descriptor: int | None = None
    lock = threading.Lock()

    @classmethod
    def opened(cls) -> int:
        """Return its descriptor.

        Raises:
            OSError: the kernel has none for us.
        """
        with cls.lock:
            if cls.descriptor is None:
                cls.descriptor = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            return cls.descriptor

    @classmethod
    def forget(cls) -> None:
        """Close that of the parent."""
        cls.lock = threading.Lock()
        if cls.descriptor is not None:
            os.close(cls.descriptor)
            cls.descriptor = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_File.forget)


class _Answer(threading.local):
    """Where the kernel writes what it finds, for each thread."""

    def __init__(self) -> None:
        self.regions = array.array("Q", bytes(_REGION_COUNT * _REGION_FIELDS * _ENTRY_BYTES))


_answer: Final = _Answer()


def written_ranges(address: int, size: int) -> list[tuple[int, int]] | None:
    """Return the written pages from `address` on as ranges (first page, count), ascending.

    Returns:
        None where the kernel does not tell; the caller then compares every page.
    """
    if os.sysconf("SC_PAGESIZE") != PAGE_BYTES or sys.byteorder != "little":
        return None
    try:
        descriptor = _File.descriptor or _File.opened()
    except OSError:
        return None
    found = _scanned(descriptor, address, size) if _Scan.works else None
    return _read(descriptor, address, size) if found is None else found


def _scanned(descriptor: int, address: int, size: int) -> list[tuple[int, int]] | None:
    """Return the written pages as the kernel finds them; None where it does not."""
    regions = _answer.regions
    place, _ = regions.buffer_info()
    end = address + size // PAGE_BYTES * PAGE_BYTES
    found: list[tuple[int, int]] = []
    start = address
    while start < end:
        argument = bytearray(
            _SCAN_ARGUMENT.pack(
                _SCAN_ARGUMENT.size, 0, start, end, 0, place, _REGION_COUNT, 0,
                _IS_FILE, _IS_FILE, _IS_PRESENT | _IS_SWAPPED, _IS_FILE,
            )
        )  # fmt: skip
        try:
            count = fcntl.ioctl(descriptor, _SCAN, argument, True)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EINVAL, errno.EPERM, errno.EACCES):
                _Scan.works = False
            return None
        fields = regions[: count * _REGION_FIELDS].tolist()
        found += [
            ((first - address) // PAGE_BYTES, (last - first) // PAGE_BYTES)
            for first, last in zip(fields[::_REGION_FIELDS], fields[1::_REGION_FIELDS], strict=True)
        ]
        start = _SCAN_ARGUMENT.unpack(argument)[_WALK_END]
    return found


def _read(descriptor: int, address: int, size: int) -> list[tuple[int, int]] | None:
    """Return the written pages, found in an entry for each page."""
    length = size // PAGE_BYTES * _ENTRY_BYTES
    try:
        body = os.pread(descriptor, length, address // PAGE_BYTES * _ENTRY_BYTES)
    except OSError:
        return None
    if len(body) != length:
        return None
    flags = body[_ENTRY_BYTES - 1 :: _ENTRY_BYTES].translate(_WRITTEN)
    return [(found.start(), found.end() - found.start()) for found in _RUN.finditer(flags)]


def written_pages(address: int, size: int) -> list[int] | None:
    """Return the numbers of the written pages, ascending; None as `written_ranges`."""
    ranges = written_ranges(address, size)
    if ranges is None:
        return None
    return [page for first, count in ranges for page in range(first, first + count)]
