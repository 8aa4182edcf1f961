"""X7SL: a list of slices of some other bytes (docs/architecture/encodings/slice-list-v1.md).

Invariant of a list that exists: start and length fit 32 bits, and the slices ascend by start, then
by length. A list does not know the bytes that it points into; whoever passes it says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from cloche.web.encodings.codes import BY_NAME, Code
from cloche.web.encodings.errors import DecodeError, EncodeError
from cloche.web.encodings.wire import U32_MAX

MAGIC: Final = b"X7SL"
_HEAD_SIZE: Final = 12
_ROW_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class SliceList:
    """Slices as pairs of start and length, in bytes.

    Raises:
        EncodeError: on construction; a number out of range, or slices that do not ascend.
    """

    slices: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for pair in self.slices:
            if any(type(number) is not int or not 0 <= number <= U32_MAX for number in pair):
                raise _refused("a start or length is no integer of 32 bits")
        if list(self.slices) != sorted(self.slices):
            raise _refused("the slices do not ascend")

    def view(self, base: bytes, index: int) -> bytes:
        """Return the bytes of a slice. Total: outside of the list or of `base` there are none."""
        if not 0 <= index < len(self.slices):
            return b""
        start, size = self.slices[index]
        return base[start : start + size]


def encode_slices(value: SliceList) -> bytes:
    """Return the bytes of a list: 12 bytes, 8 for each slice."""
    numbers = [1, len(value.slices), *(number for pair in value.slices for number in pair)]
    return MAGIC + b"".join(number.to_bytes(4, "little") for number in numbers)


def decode_slices(data: bytes) -> SliceList:
    """Return the list of exactly these bytes.

    Checks in this order: size of the head, magic, version, length, order.

    Raises:
        DecodeError: the bytes are no list that `encode_slices` makes.
    """
    if len(data) < _HEAD_SIZE:
        _fail("TRUNCATED", len(data), "the head is not complete")
    if data[:4] != MAGIC:
        _fail("BAD_MAGIC", 0, "expected the magic X7SL")
    version, count = _number(data, 4), _number(data, 8)
    if version != 1:
        _fail("BAD_VERSION", 4, f"version {version}; only 1 is known")
    if len(data) != _HEAD_SIZE + _ROW_SIZE * count:
        _fail("BAD_LENGTH", 8, f"{count} slices are not {len(data)} bytes")
    offsets = range(_HEAD_SIZE, len(data), _ROW_SIZE)
    slices = tuple((_number(data, offset), _number(data, offset + 4)) for offset in offsets)
    if list(slices) != sorted(slices):
        _fail("NOT_CANONICAL", _HEAD_SIZE, "the slices do not ascend")
    return SliceList(slices)


def _number(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _code(failure: str) -> Code:
    return BY_NAME[f"SPEC_ERR_X7SL_{failure}"]


def _fail(failure: str, offset: int, problem: str) -> NoReturn:
    raise DecodeError(encoding="X7SL", reason=_code(failure), offset=offset, problem=problem)


def _refused(problem: str) -> EncodeError:
    return EncodeError(encoding="X7SL", reason=_code("NOT_CANONICAL"), problem=problem)
