r"""JSON text with one spelling: what digests and journals are made of.

Owns the encoding of every value that crosses the gate.
Invariants:
- the same value gives the same bytes on every host Python and library version: keys sorted by
  code point (canonical form), no white space, UTF-8 unescaped except `"`, `\\` and control
  characters, integers exact, floats in Python's shortest round-trip form, always with a point or
  an exponent, so that 1 and 1.0 stay different;
- only plain JSON passes: None, bool, int, float, str, list, tuple, dict with str keys, exactly
  these types; NaN, infinities and lone surrogates do not;
- depth and size are bounded before anything is built, so a value with shared parts cannot explode.

It is not RFC 8785: that one gives 1 and 1.0 the same text and loses large integers.
"""

from __future__ import annotations

import hashlib
import json
from math import isfinite
from typing import Any

import msgspec

from cloche.gate.errors import ValueInvalidError

# The deepest and largest values the limits can be set to; for callers without a run's limits.
DEPTH_CEILING = 256
SIZE_CEILING_BYTES = 1 << 30

# Python reads and writes decimal integers of up to 4300 digits by default; this many bits fit.
INTEGER_BITS_MAX = 14_000

# msgspec spells everything as the standard library does except floats, and is ten times faster.
# Its float spelling may change between versions, so texts with floats use the slower encoder.
_sorted_fast = msgspec.json.Encoder(order="deterministic").encode
_plain_fast = msgspec.json.Encoder().encode
_sorted_slow = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True, check_circular=False
).encode
_plain_slow = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
).encode


def encode_canonical(
    value: Any, *, limit_bytes: int = SIZE_CEILING_BYTES, depth_max: int = DEPTH_CEILING
) -> bytes:
    """Return the canonical JSON text of a value, keys sorted.

    Raises:
        ValueInvalidError: not plain JSON (`reason` "type"), too deep ("depth"), too large ("size").
    """
    if _check(value, limit_bytes=limit_bytes, depth_max=depth_max):
        return _sized(_sorted_slow(value).encode(), limit_bytes)
    return _sized(_sorted_fast(value), limit_bytes)


def encode_plain(
    value: Any, *, limit_bytes: int = SIZE_CEILING_BYTES, depth_max: int = DEPTH_CEILING
) -> bytes:
    """Return the JSON text of a value with keys in their own order, else as `encode_canonical`.

    A guest can see the order of keys, so values that a guest receives keep it.

    Raises:
        ValueInvalidError: as `encode_canonical`.
    """
    if _check(value, limit_bytes=limit_bytes, depth_max=depth_max):
        return _sized(_plain_slow(value).encode(), limit_bytes)
    return _sized(_plain_fast(value), limit_bytes)


def decode(text: bytes) -> Any:
    """Return the value of a JSON text made by this module."""
    return msgspec.json.decode(text)


def digest(text: bytes) -> str:
    """Return the SHA-256 of a canonical text, 64 hexadecimal digits."""
    return hashlib.sha256(text).hexdigest()


class _InvalidError(Exception):
    """Carries the problem up while each level adds its part of the path."""

    def __init__(self, problem: str, reason: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.reason = reason
        self.path: list[str] = []


class _Walk:
    """What one walk over a value may still use, and whether it met a float."""

    __slots__ = ("left_bytes", "limit_bytes", "met_float")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.left_bytes = limit_bytes
        self.met_float = False


def _check(value: Any, *, limit_bytes: int, depth_max: int) -> bool:
    """Refuse what is not plain JSON or out of bounds; return whether the value holds a float."""
    walk = _Walk(limit_bytes)
    try:
        _visit(value, walk, depth_max)
    except _InvalidError as invalid:
        raise ValueInvalidError(
            path="$" + "".join(reversed(invalid.path)),
            problem=invalid.problem,
            reason=invalid.reason,
        ) from None
    return walk.met_float


def _visit(value: Any, walk: _Walk, depth_left: int) -> None:
    # `type is` and not isinstance: a subclass may print itself in its own way.
    # The size counted here is a lower bound of the text: one byte for a value, two for quotes.
    kind = type(value)
    if kind is str:
        _visit_text(value, walk)
    elif kind is int:
        _visit_integer(value, walk)
    elif kind is dict:
        _visit_dict(value, walk, depth_left)
    elif kind is list or kind is tuple:
        _visit_list(value, walk, depth_left)
    elif kind is float:
        _visit_float(value, walk)
    elif value is None or kind is bool:
        _charge(walk, 4)
    else:
        raise _InvalidError(f"has type {kind.__name__}, which is not plain JSON", "type")


def _visit_dict(value: dict[Any, Any], walk: _Walk, depth_left: int) -> None:
    _descend(value, walk, depth_left)
    for key, item in value.items():
        try:
            _visit_key(key, walk)
            _visit(item, walk, depth_left - 1)
        except _InvalidError as invalid:
            invalid.path.append(f"[{key!r}]")
            raise


def _visit_list(value: list[Any] | tuple[Any, ...], walk: _Walk, depth_left: int) -> None:
    _descend(value, walk, depth_left)
    for index, item in enumerate(value):
        try:
            _visit(item, walk, depth_left - 1)
        except _InvalidError as invalid:
            invalid.path.append(f"[{index}]")
            raise


def _visit_key(key: object, walk: _Walk) -> None:
    if type(key) is not str:
        raise _InvalidError(f"has a key of type {type(key).__name__}", "type")
    _visit_text(key, walk)


def _visit_float(number: float, walk: _Walk) -> None:
    if not isfinite(number):
        raise _InvalidError(f"is {number}, which JSON cannot hold", "type")
    walk.met_float = True
    _charge(walk, 3)


def _visit_text(text: str, walk: _Walk) -> None:
    _charge(walk, len(text) + 2)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _InvalidError("holds half of a surrogate pair", "type") from None


def _visit_integer(number: int, walk: _Walk) -> None:
    bit_count = number.bit_length()
    if bit_count > INTEGER_BITS_MAX:
        raise _InvalidError(f"is an integer of more than {INTEGER_BITS_MAX} bits", "size")
    _charge(walk, max(1, bit_count // 4))


def _descend(container: Any, walk: _Walk, depth_left: int) -> None:
    if depth_left <= 0:
        raise _InvalidError("is nested too deep", "depth")
    _charge(walk, 1 + len(container))


def _charge(walk: _Walk, size_bytes: int) -> None:
    walk.left_bytes -= size_bytes
    if walk.left_bytes < 0:
        raise _InvalidError(f"makes the text longer than {walk.limit_bytes} bytes", "size")


def _sized(text: bytes, limit_bytes: int) -> bytes:
    if len(text) > limit_bytes:
        raise ValueInvalidError(
            path="$", problem=f"makes the text longer than {limit_bytes} bytes", reason="size"
        )
    return text
