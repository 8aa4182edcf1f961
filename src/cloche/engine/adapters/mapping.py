"""Memory at plain addresses: mappings of files and copies, as the standard library has them not."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import Final

MAP_FIXED: Final = 0x10  # not in the mmap module

_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]

_munmap = ctypes.CDLL(None, use_errno=True).munmap
_munmap.restype = ctypes.c_int
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_move = ctypes.PyDLL(None).memmove  # lets no other thread run meanwhile: it takes less than asking
_move.restype = None
_move.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_SMALL_BYTES: Final = 1 << 18


def copy_bytes(to: int, source: int | bytes, count: int) -> None:
    """Copy memory; the caller knows that both are there."""
    (_move if count <= _SMALL_BYTES else ctypes.memmove)(to, source, count)


def map_to_read(descriptor: int, size: int) -> int:
    """Map the beginning of a file, shared and read-only, for as long as the process lives.

    Returns:
        the address.

    Raises:
        OSError: the kernel refuses.
    """
    return _map(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor)


class ReadView:
    """A private, read-only view of the beginning of a file, until nobody holds it any more.

    Private: older kernels refuse to share what is sealed, even to read it.

    Raises:
        OSError: the kernel refuses.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self.base = _map(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, descriptor)
        weakref.finalize(self, _munmap, self.base, size)


def map_to_write(address: int, descriptor: int, size: int) -> None:
    """Put a private, writable view of a file over memory that the caller owns.

    Raises:
        OSError: the kernel refuses; what was there may be gone.
    """
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    _map(address, size, protection, mmap.MAP_PRIVATE | MAP_FIXED, descriptor)


def _map(address: int | None, size: int, protection: int, flags: int, descriptor: int) -> int:
    found: int | None = _mmap(address, size, protection, flags, descriptor, 0)
    if found is None or found == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found
