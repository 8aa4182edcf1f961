"""JSON values as the storage of apps compares, orders, measures and names them.

Rules:
- a value is plain JSON: None, bool, int, float, str, list, dict with text keys;
- `true` is not 1; 1 is 1.0;
- values of different types are ordered by type: null, boolean, number, text, list, object;
- text is ordered by its UTF-8 bytes, as every store does.

Pure. What is checked here is checked nowhere else.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import msgspec

from cloche.apps.storage.errors import StorageArgumentsError, StorageTooLargeError

# What an entry of an index holds of a text; the documents themselves are compared afterwards.
INDEX_TEXT_BYTES: Final = 128

_NULL, _BOOLEAN, _NUMBER, _TEXT, _LIST, _OBJECT = range(6)
_encode = msgspec.json.Encoder(order="deterministic").encode
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_CONTROLS_END: Final = 0x20
_DELETE: Final = 0x7F


def type_rank(value: Any) -> int:
    """Return where the type of a value stands in the order of types."""
    if value is None:
        return _NULL
    if value is True or value is False:
        return _BOOLEAN
    if isinstance(value, (int, float)):
        return _NUMBER
    if isinstance(value, str):
        return _TEXT
    return _LIST if isinstance(value, list) else _OBJECT


def is_equal(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON, numbers by what they are worth."""
    rank = type_rank(one)
    if rank != type_rank(other):
        return False
    if rank == _LIST:
        return len(one) == len(other) and all(map(is_equal, one, other))
    if rank == _OBJECT:
        return one.keys() == other.keys() and all(is_equal(one[key], other[key]) for key in one)
    return bool(one == other)


def order_key(value: Any) -> tuple[int, Any]:
    """Return what orders values of any types."""
    rank = type_rank(value)
    if rank == _NULL:
        return (rank, 0)
    if rank in {_BOOLEAN, _NUMBER}:
        return (rank, value)
    if rank == _TEXT:
        return (rank, value.encode("utf-8", "surrogatepass"))
    return (rank, _encode(value))


def index_key(value: Any) -> bytes | None:
    """Return bytes that are ordered as the values are; None for what no index holds.

    Different values may have the same bytes; a greater value never has lesser ones.
    """
    rank = type_rank(value)
    start = bytes([rank + 1])
    if rank == _NULL:
        return start
    if rank == _BOOLEAN:
        return start + (b"\1" if value else b"\0")
    if rank == _NUMBER:
        return start + _number_key(value)
    if rank == _TEXT:
        text: bytes = value.encode("utf-8", "surrogatepass")
        return start + text[:INDEX_TEXT_BYTES]
    return None


def _number_key(value: float) -> bytes:
    try:
        as_double = float(value)
    except OverflowError:
        as_double = math.copysign(math.inf, value)
    if as_double == 0:
        as_double = 0.0  # -0.0 has other bits
    bits: int = struct.unpack(">Q", struct.pack(">d", as_double))[0]
    ordered = bits ^ _ALL if bits & _SIGN else bits | _SIGN
    return ordered.to_bytes(8, "big")


def encode(value: Any) -> bytes:
    """Return the JSON text of a value.

    Raises:
        StorageArgumentsError: it holds what JSON has no text for.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, msgspec.EncodeError, RecursionError) as error:
        raise StorageArgumentsError(where="value", problem=f"is no JSON: {error}") from error


decode = msgspec.json.decode


def depth_of(value: Any) -> int:
    """Return how deep a value is nested: 0 for what is no list and no object."""
    depth = 0
    level = [value]
    while level := [
        inner
        for outer in level
        if isinstance(outer, (dict, list))
        for inner in (outer.values() if isinstance(outer, dict) else outer)
    ] or ([None] if any(isinstance(outer, (dict, list)) for outer in level) else []):
        depth += 1
    return depth


def check_size(what: str, size: int, limit: str, maximum: int) -> None:
    """Raise StorageTooLargeError when something is over its limit."""
    if size > maximum:
        raise StorageTooLargeError(what=what, size=size, limit=limit, maximum=maximum)


def check_name(where: str, name: str, limit_bytes: int) -> str:
    """Return a name that can be kept in every store.

    Raises:
        StorageArgumentsError: empty, too long, with control characters or half surrogate pairs.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise StorageArgumentsError(where=where, problem="is no text in UTF-8") from None
    if not 0 < size <= limit_bytes:
        raise StorageArgumentsError(
            where=where, problem=f"has {size} bytes; it must have 1 to {limit_bytes}"
        )
    if any(ord(character) < _CONTROLS_END or ord(character) == _DELETE for character in name):
        raise StorageArgumentsError(where=where, problem="has a control character")
    return name
