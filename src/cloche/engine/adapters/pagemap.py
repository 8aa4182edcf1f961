"""Which pages of a private mapping were written: the kernel knows, so nobody needs to compare.

A page of a private file mapping that was written is anonymous; one that was only read belongs to
the file. `/proc/self/pagemap` tells (Documentation/admin-guide/mm/pagemap.rst, bits 61 to 63).
"""

from __future__ import annotations

import os
import struct
from typing import Final

from cloche.engine.pages import PAGE_BYTES

_ENTRY_BYTES: Final = 8
_PRESENT: Final = 1 << 63
_SWAPPED: Final = 1 << 62
_FILE: Final = 1 << 61


def written_pages(address: int, size: int) -> list[int] | None:
    """Return the numbers of the written pages from `address` on, ascending.

    Returns:
        None where the kernel does not tell; the caller then compares every page.
    """
    if os.sysconf("SC_PAGESIZE") != PAGE_BYTES:
        return None
    count = size // PAGE_BYTES
    try:
        descriptor = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        body = os.pread(descriptor, count * _ENTRY_BYTES, address // PAGE_BYTES * _ENTRY_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(body) != count * _ENTRY_BYTES:
        return None
    return [
        page
        for page, (entry,) in enumerate(struct.iter_unpack("<Q", body))
        if entry & (_PRESENT | _SWAPPED) and not entry & _FILE
    ]
