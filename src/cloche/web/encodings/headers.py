"""X7HT: a table of header fields (docs/architecture/encodings/headers-table-v1.md).

Owns the one form in which header fields cross a boundary, and the rules for joining them.
Invariants of a table that exists:
- names are lowercase tokens; values have no CR, LF, NUL or other control character except HTAB, and
  no white space around them;
- `lines` keeps the order of arrival; `rows` is the same sorted by name, stable.

Decoding accepts exactly what encoding makes: the payload holds name and value of each line in the
order of arrival without gaps, so the order survives although the rows are sorted.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from cloche.web.encodings.slices import SliceList
from cloche.web.encodings.wire import U16_MAX, U32_MAX, Format, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

Line = tuple[bytes, bytes]

FORMAT: Final = Format(name="X7HT", magic=b"X7HT", block="HEADERS")
NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
SET_COOKIE: Final = b"set-cookie"
JOINER: Final = b", "

_ROW: Final = struct.Struct("<IIII")
_HEAD_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class HeaderTable:
    """Header fields in order of arrival: `((b"host", b"a"), ...)`.

    Raises:
        EncodeError: on construction; a name or value that no table can hold, or too many lines.
    """

    lines: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        if len(self.lines) > U16_MAX:
            FORMAT.refuse(f"more than {U16_MAX} lines", failure="LIMIT_EXCEEDED")
        for index, (name, value) in enumerate(self.lines):
            if NAME.fullmatch(name) is None:
                FORMAT.refuse(f"the name of line {index} is no lowercase token")
            if VALUE.fullmatch(value) is None:
                FORMAT.refuse(f"the value of line {index} is no field value")
        if sum(len(name) + len(value) for name, value in self.lines) > U32_MAX:
            FORMAT.refuse("the payload is larger than 4 GiB", failure="OVERFLOW")

    @property
    def rows(self) -> tuple[Line, ...]:
        """The lines sorted by name; lines of one name stay in order of arrival."""
        return tuple(sorted(self.lines, key=_name_of))

    @property
    def payload(self) -> bytes:
        """Names and values in order of arrival: what offsets and slices point into."""
        return b"".join(part for line in self.lines for part in line)

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Return all values of a name, in order of arrival."""
        wanted = name.lower()
        return tuple(value for found, value in self.lines if found == wanted)

    def get(self, name: bytes) -> bytes | None:
        """Return the values of a name joined with `, `; of set-cookie only the first."""
        values = self.values(name)
        if not values:
            return None
        return values[0] if name.lower() == SET_COOKIE else join(values)

    def value_slices(self, name: bytes) -> SliceList:
        """Return where the values of a name are in `payload`."""
        wanted, offset, slices = name.lower(), 0, []
        for found, value in self.lines:
            start = offset + len(found)
            offset = start + len(value)
            if found == wanted:
                slices.append((start, len(value)))
        return SliceList(tuple(slices))

    def canonical(self) -> HeaderTable:
        """Return the merged form: sorted, one row for each name, except set-cookie.

        Source: RFC 9110 section 5.3: values of one name may be joined in order; set-cookie never.
        """
        merged: list[Line] = []
        for name, group in groupby(self.rows, key=_name_of):
            values = [value for _, value in group]
            if name != SET_COOKIE:
                values = [join(values)]
            merged.extend((name, value) for value in values)
        return HeaderTable(tuple(merged))


def join(values: Iterable[bytes]) -> bytes:
    """Return values of one name as one value. Never for set-cookie."""
    # An empty value at either end would leave the joiner's space there.
    return JOINER.join(values).strip(b" \t")


NO_HEADERS: Final = HeaderTable()


def encode_headers(table: HeaderTable) -> bytes:
    """Return the bytes of a table: 8 bytes, 16 for each row, payload."""
    placed = []
    offset = 0
    for name, value in table.lines:
        middle = offset + len(name)
        placed.append((name, _ROW.pack(offset, len(name), middle, len(value))))
        offset = middle + len(value)
    placed.sort(key=lambda item: item[0])
    head = FORMAT.magic + FORMAT.u16(1, "version") + FORMAT.u16(len(placed), "count")
    return head + b"".join(row for _, row in placed) + table.payload


def decode_headers(data: bytes) -> HeaderTable:
    """Return the table of exactly these bytes.

    Raises:
        DecodeError: the bytes are no table that `encode_headers` makes.
    """
    reader = Reader(FORMAT, data)
    reader.magic()
    reader.version(reader.u16("version"))
    count = reader.u16("count")
    rows = [_ROW.unpack(reader.take(16, f"row {index}")) for index in range(count)]
    payload = data[reader.offset :]
    by_arrival = sorted(range(count), key=lambda index: rows[index][0])
    end = 0
    lines: list[Line] = []
    place: list[tuple[bytes, int]] = [(b"", 0)] * count
    for index in by_arrival:
        name_offset, name_size, value_offset, value_size = rows[index]
        at = _HEAD_SIZE + 16 * index
        if name_offset != end or value_offset != end + name_size:
            reader.fail("NOT_CANONICAL", f"row {index} leaves a gap or overlaps", offset=at)
        end = value_offset + value_size
        if end > len(payload):
            reader.fail("TRUNCATED", f"row {index} ends behind the payload", offset=at)
        name = payload[name_offset:value_offset]
        value = payload[value_offset:end]
        if NAME.fullmatch(name) is None:
            reader.fail("BAD_VALUE", f"the name of row {index} is no lowercase token", offset=at)
        if VALUE.fullmatch(value) is None:
            reader.fail("BAD_VALUE", f"the value of row {index} is no field value", offset=at)
        lines.append((name, value))
        place[index] = (name, name_offset)
    if place != sorted(place):
        reader.fail("NOT_CANONICAL", "the rows are not sorted by name and arrival")
    reader.offset += end
    reader.finish()
    return HeaderTable(tuple(lines))


def _name_of(line: Line) -> bytes:
    return line[0]
