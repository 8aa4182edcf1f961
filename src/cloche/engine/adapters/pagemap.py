"""Which pages of a private mapping were written: the kernel knows, so nobody needs to compare.

A page of a private file mapping that was written is anonymous; one that was only read belongs to
the file. `/proc/self/pagemap` tells (Documentation/admin-guide/mm/pagemap.rst, bits 61 to 63).
"""

from __future__ import annotations

import os
import re
import sys
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


def written_ranges(address: int, size: int) -> list[tuple[int, int]] | None:
    """Return the written pages from `address` on as ranges (first page, count), ascending.

    Returns:
        None where the kernel does not tell; the caller then compares every page.
    """
    if os.sysconf("SC_PAGESIZE") != PAGE_BYTES or sys.byteorder != "little":
        return None
    length = size // PAGE_BYTES * _ENTRY_BYTES
    try:
        descriptor = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        body = os.pread(descriptor, length, address // PAGE_BYTES * _ENTRY_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)
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
