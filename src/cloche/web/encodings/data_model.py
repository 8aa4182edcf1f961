"""DataModel: JSON values as bytes with one spelling (docs/architecture/encodings/data-model-v1.md).

Owns the value, the document around it (a value, or a number with a message), and the way from and
to JSON text.
Invariants:
- a value has one encoding: maps are sorted by the UTF-8 bytes of their keys, without duplicates;
- a number keeps the decimal text that it was written with, so nothing is lost between languages;
- nesting is at most 64 levels, in both directions.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from cloche.web.encodings.errors import DecodeError, EncodeError
from cloche.web.encodings.wire import U32_MAX, Format, Reader

DEPTH_MAX: Final = 64
FORMAT: Final = Format(name="DataModel", magic=b"", block="DATA_MODEL")

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_NESTING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_NULL, _BOOL, _TEXT_NUMBER, _STRING, _SEQUENCE, _MAP = range(6)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as its decimal text, spelled as in JSON.

    Raises:
        EncodeError: on construction; the text is no JSON number.
    """

    text: str

    def __post_init__(self) -> None:
        if _NUMBER.fullmatch(self.text) is None:
            FORMAT.refuse("the text of a number is none of JSON")


Value = None | bool | Number | str | tuple["Value", ...] | dict[str, "Value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The document of a failure: its number and a message for people.

    Raises:
        EncodeError: on construction; the number does not fit 32 bits.
    """

    number: int
    message: str = ""

    def __post_init__(self) -> None:
        if type(self.number) is not int or not 0 <= self.number <= U32_MAX:
            FORMAT.refuse("the number of a failure does not fit 32 bits", failure="OVERFLOW")
        _utf8(self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """The document of a value."""

    value: Value


def encode_value(value: Value) -> bytes:
    """Return the bytes of a value.

    Raises:
        EncodeError: not a value, nested too deeply, or text with a lone surrogate.
    """
    parts: list[bytes] = []
    _write(value, parts, 0)
    return b"".join(parts)


def decode_value(data: bytes) -> Value:
    """Return the value of exactly these bytes.

    Raises:
        DecodeError: the bytes are none.
    """
    reader = Reader(FORMAT, data)
    value = _read(reader, 0)
    reader.finish()
    return value


def encode_document(document: Success | Failure) -> bytes:
    """Return the bytes of a document.

    Raises:
        EncodeError: as `encode_value`.
    """
    if isinstance(document, Success):
        return b"\x01" + encode_value(document.value)
    message = FORMAT.sized(_utf8(document.message), "message")
    return b"\x00" + FORMAT.u32(document.number, "number") + message


def decode_document(data: bytes) -> Success | Failure:
    """Return the document of exactly these bytes.

    Raises:
        DecodeError: the bytes are none.
    """
    reader = Reader(FORMAT, data)
    tag = reader.u8("tag of the document")
    if tag > 1:
        reader.fail("BAD_VALUE", f"tag {tag}; 1 is a value, 0 a failure", offset=0)
    if tag == 1:
        found: Success | Failure = Success(value=_read(reader, 0))
    else:
        number = reader.u32("number")
        found = Failure(number=number, message=_text(reader, "message"))
    reader.finish()
    return found


def from_json(text: str) -> Value:
    """Return the value of a JSON text (RFC 8259, without duplicate keys).

    Raises:
        DecodeError: no JSON, a duplicate key, a lone surrogate, or nested too deeply.
    """
    _check_nesting(text)
    try:
        found: object = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise _no_json("BAD_VALUE", error.pos, error.msg) from None
    value = _frozen(found)
    try:
        encode_value(value)
    except EncodeError as error:
        raise _no_json("BAD_VALUE", 0, error.fields["problem"]) from None
    return value


def to_json(value: Value) -> str:
    """Return the canonical JSON text: keys sorted, no white space, numbers as they were written.

    Raises:
        EncodeError: as `encode_value`.
    """
    parts: list[str] = []
    _spell(decode_value(encode_value(value)), parts)
    return "".join(parts)


def _write(value: object, parts: list[bytes], depth: int) -> None:
    if depth == DEPTH_MAX and isinstance(value, tuple | dict):
        FORMAT.refuse(f"nested more than {DEPTH_MAX} levels", failure="LIMIT_EXCEEDED")
    if value is None:
        parts.append(b"\x00")
    elif isinstance(value, bool):
        parts.append(b"\x01\x01" if value else b"\x01\x00")
    elif isinstance(value, Number):
        parts.append(b"\x02" + FORMAT.sized(value.text.encode(), "number"))
    elif isinstance(value, str):
        parts.append(b"\x03" + FORMAT.sized(_utf8(value), "string"))
    elif isinstance(value, tuple):
        parts.append(b"\x04" + FORMAT.u32(len(value), "count"))
        for item in value:
            _write(item, parts, depth + 1)
    elif isinstance(value, dict):
        parts.append(b"\x05" + FORMAT.u32(len(value), "count"))
        for key, item in sorted((_utf8(key), item) for key, item in _items(value)):
            parts.append(FORMAT.sized(key, "key"))
            _write(item, parts, depth + 1)
    else:
        FORMAT.refuse(f"{type(value).__name__} is no value")


def _items(value: dict[str, Value]) -> list[tuple[str, Value]]:
    if not all(isinstance(key, str) for key in value):
        FORMAT.refuse("a key of a map is no text")
    return list(value.items())


def _read(reader: Reader, depth: int) -> Value:
    start = reader.offset
    tag = reader.u8("tag")
    if tag in {_SEQUENCE, _MAP}:
        if depth == DEPTH_MAX:
            reader.fail("LIMIT_EXCEEDED", f"nested more than {DEPTH_MAX} levels", offset=start)
        if tag == _MAP:
            return _read_map(reader, depth + 1)
        return tuple(_read(reader, depth + 1) for _ in range(_count(reader, 1)))
    if tag == _STRING:
        return _text(reader, "string")
    if tag == _TEXT_NUMBER:
        return _read_number(reader, start)
    flag = reader.u8("boolean") if tag == _BOOL else 0
    if tag > _MAP:
        reader.fail("BAD_VALUE", f"tag {tag} is not from 0 to {_MAP}", offset=start)
    if flag > 1:
        reader.fail("BAD_VALUE", "a boolean is neither 0 nor 1", offset=start)
    return None if tag == _NULL else flag == 1


def _read_number(reader: Reader, start: int) -> Number:
    text = reader.sized("number").decode("latin-1")
    if _NUMBER.fullmatch(text) is None:
        reader.fail("BAD_VALUE", "the text of a number is none of JSON", offset=start)
    return Number(text)


def _read_map(reader: Reader, depth: int) -> dict[str, Value]:
    found: dict[str, Value] = {}
    before: bytes | None = None
    for _ in range(_count(reader, 5)):
        start = reader.offset
        key = _text(reader, "key")
        raw = reader.data[start + 4 : reader.offset]
        if before is not None and raw <= before:
            reader.fail("NOT_CANONICAL", "the keys of a map do not ascend", offset=start)
        before = raw
        found[key] = _read(reader, depth)
    return found


def _count(reader: Reader, size: int) -> int:
    count = reader.u32("count")
    # Each item has at least so many bytes, so a count that cannot be true costs nothing.
    if count * size > len(reader.data) - reader.offset:
        reader.fail("TRUNCATED", f"{count} items do not fit in what is left")
    return count


def _text(reader: Reader, field: str) -> str:
    start = reader.offset
    try:
        return reader.sized(field).decode()
    except UnicodeDecodeError:
        reader.fail("BAD_VALUE", f"the {field} is no UTF-8", offset=start)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        FORMAT.refuse("text with a lone surrogate")


def _check_nesting(text: str) -> None:
    depth = 0
    for match in _NESTING.finditer(text):
        mark = match.group()
        depth += (mark in "[{") - (mark in "]}")
        if depth > DEPTH_MAX:
            problem = f"nested more than {DEPTH_MAX} levels"
            raise _no_json("LIMIT_EXCEEDED", match.start(), problem)


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _no_json("BAD_VALUE", 0, "a key of an object stands there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _no_json("BAD_VALUE", 0, f"{name} is no number of JSON")


def _no_json(failure: str, offset: int, problem: str) -> DecodeError:
    return DecodeError(encoding="JSON", reason=FORMAT.code(failure), offset=offset, problem=problem)


def _frozen(value: object) -> Value:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    assert value is None or isinstance(value, bool | Number | str)
    return value


def _spell(value: Value, parts: list[str]) -> None:
    if isinstance(value, Number):
        parts.append(value.text)
    elif isinstance(value, tuple):
        parts.append("[")
        for index, item in enumerate(value):
            parts.append("," if index else "")
            _spell(item, parts)
        parts.append("]")
    elif isinstance(value, dict):
        parts.append("{")
        for index, (key, item) in enumerate(value.items()):
            parts.append(("," if index else "") + json.dumps(key, ensure_ascii=False) + ":")
            _spell(item, parts)
        parts.append("}")
    else:
        parts.append(json.dumps(value, ensure_ascii=False))
