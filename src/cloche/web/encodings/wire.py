"""Reading and writing of little-endian fields, the same rules for every encoding.

Owns the strictness: a reader never reads past the end, and `finish` refuses what is left over.
Invariants:
- every failure is a `DecodeError` with the encoding's own code and the offset where it was found;
- a writer refuses a number that its field cannot hold (`EncodeError`), it never wraps.
"""

from __future__ import annotations

import struct
from typing import Final, NoReturn

from cloche.web.encodings.codes import Code, spec_code
from cloche.web.encodings.errors import DecodeError, EncodeError

U8_MAX: Final = 0xFF
U16_MAX: Final = 0xFFFF
U32_MAX: Final = 0xFFFF_FFFF

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")


class Format:
    """Name, magic and error block of an encoding."""

    __slots__ = ("block", "magic", "name")

    def __init__(self, *, name: str, magic: bytes, block: str) -> None:
        self.name = name
        self.magic = magic
        self.block = block

    def code(self, failure: str) -> Code:
        """Return the code of a failure in this encoding."""
        return spec_code(self.block, failure)

    def refuse(self, problem: str, *, failure: str = "BAD_VALUE") -> NoReturn:
        """Refuse a value that is being built.

        Raises:
            EncodeError: always.
        """
        raise EncodeError(encoding=self.name, reason=self.code(failure), problem=problem)

    def u8(self, value: int, field: str) -> bytes:
        """Return one byte."""
        return bytes((self._within(value, U8_MAX, field),))

    def u16(self, value: int, field: str) -> bytes:
        """Return two bytes, little-endian."""
        return _U16.pack(self._within(value, U16_MAX, field))

    def u32(self, value: int, field: str) -> bytes:
        """Return four bytes, little-endian."""
        return _U32.pack(self._within(value, U32_MAX, field))

    def sized(self, data: bytes, field: str) -> bytes:
        """Return bytes behind their u32 length."""
        size = len(data)
        if size > U32_MAX:
            self.refuse(f"length of {field} is more than {U32_MAX}", failure="OVERFLOW")
        return _U32.pack(size) + data

    def _within(self, value: int, maximum: int, field: str) -> int:
        if type(value) is not int or not 0 <= value <= maximum:
            self.refuse(f"{field} is not an integer from 0 to {maximum}", failure="OVERFLOW")
        return value


class Reader:
    """Reads one blob from front to back."""

    __slots__ = ("data", "format", "offset")

    def __init__(self, format_: Format, data: bytes) -> None:
        self.format = format_
        self.data = data
        self.offset = 0

    def fail(self, failure: str, problem: str, *, offset: int | None = None) -> NoReturn:
        """Refuse the blob.

        Raises:
            DecodeError: always, at `offset` or where the reader stands.
        """
        raise DecodeError(
            encoding=self.format.name,
            reason=self.format.code(failure),
            offset=self.offset if offset is None else offset,
            problem=problem,
        )

    def magic(self) -> None:
        """Read the first four bytes."""
        start = self.data[: len(self.format.magic)]
        if len(start) < len(self.format.magic):
            self.fail("TRUNCATED", "the magic is not complete")
        if start != self.format.magic:
            self.fail("BAD_MAGIC", f"expected the magic {self.format.magic.decode()}")
        self.offset = len(self.format.magic)

    def version(self, found: int, expected: int = 1) -> None:
        """Refuse any other version. The field was just read."""
        if found != expected:
            self.fail("BAD_VERSION", f"version {found}; only {expected} is known")

    def take(self, count: int, field: str) -> bytes:
        """Read so many bytes."""
        end = self.offset + count
        if end > len(self.data):
            left = len(self.data) - self.offset
            self.fail("TRUNCATED", f"{field} needs {count} bytes, {left} are left")
        part = self.data[self.offset : end]
        self.offset = end
        return part

    def u8(self, field: str) -> int:
        """Read one byte."""
        return self.take(1, field)[0]

    def u16(self, field: str) -> int:
        """Read two bytes, little-endian."""
        return int.from_bytes(self.take(2, field), "little")

    def u32(self, field: str) -> int:
        """Read four bytes, little-endian."""
        return int.from_bytes(self.take(4, field), "little")

    def sized(self, field: str) -> bytes:
        """Read bytes behind their u32 length."""
        return self.take(self.u32(f"length of {field}"), field)

    def zero(self, count: int, field: str) -> None:
        """Read bytes that must be zero."""
        start = self.offset
        if self.take(count, field).count(0) != count:
            self.fail("BAD_VALUE", f"{field} must be zero", offset=start)

    def finish(self) -> None:
        """Refuse bytes that are left over."""
        left = len(self.data) - self.offset
        if left:
            self.fail("BAD_LENGTH", f"{left} bytes are left over")
