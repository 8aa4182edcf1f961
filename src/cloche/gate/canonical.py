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
from typing import TYPE_CHECKING, Any

import msgspec

from cloche.gate.errors import ValueInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# The deepest and largest values the limits can be set to; for callers without a run's limits.
DEPTH_CEILING = 512
SIZE_CEILING_BYTES = 1 << 30

# Python reads and writes decimal integers of up to 4300 digits by default; this many bits fit.
INTEGER_BITS_MAX = 14_000
_SMALL_INTEGER = 1 << 64
_NULL = b"null"

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
    return _encode(value, _sorted_fast, _sorted_slow, limit_bytes, depth_max)


def encode_plain(
    value: Any, *, limit_bytes: int = SIZE_CEILING_BYTES, depth_max: int = DEPTH_CEILING
) -> bytes:
    """Return the JSON text of a value with keys in their own order, else as `encode_canonical`.

    A guest can see the order of keys, so values that a guest receives keep it.

    Raises:
        ValueInvalidError: as `encode_canonical`.
    """
    if value is None and limit_bytes >= len(_NULL):
        return _NULL  # what most effects return
    return _encode(value, _plain_fast, _plain_slow, limit_bytes, depth_max)


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


def _encode(
    value: Any,
    fast: Callable[[Any], bytes],
    slow: Callable[[Any], str],
    limit_bytes: int,
    depth_max: int,
) -> bytes:
    walk = _Walk(limit_bytes)
    try:
        _visit(value, walk, depth_max)
        text = slow(value).encode() if walk.met_float else fast(value)
        if len(text) > limit_bytes:
            raise _too_large(walk)
    except _InvalidError as invalid:
        path = "$" + "".join(reversed(invalid.path))
        raise ValueInvalidError(path=path, problem=invalid.problem, reason=invalid.reason) from None
    except UnicodeEncodeError:
        raise ValueInvalidError(
            path="$", problem="holds half of a surrogate pair", reason="type"
        ) from None
    except RecursionError:
        # The host's own stack was nearly full.
        raise ValueInvalidError(path="$", problem="is nested too deep", reason="depth") from None
    return text


def _visit(value: Any, walk: _Walk, depth_left: int) -> None:
    """Refuse what is not plain JSON or out of bounds.

    The size counted is a lower bound of the text: quotes and letters of strings, one byte or more
    for anything else.
    """
    # `type is` and not isinstance: a subclass may print itself in its own way.
    kind = type(value)
    if kind is dict:
        _visit_items(value.items(), walk, depth_left, keyed=True)
    elif kind is list or kind is tuple:
        _visit_items(enumerate(value), walk, depth_left, keyed=False)
    else:
        _charge(walk, _leaf_bytes(value, walk))


def _visit_items(
    items: Iterable[tuple[Any, Any]], walk: _Walk, depth_left: int, *, keyed: bool
) -> None:
    if depth_left <= 0:
        raise _InvalidError("is nested too deep", "depth")
    size_bytes = 2
    for key, item in items:
        try:
            if keyed:
                if type(key) is not str:
                    problem = f"has a key of type {type(key).__name__}"
                    raise _InvalidError(problem, "type")  # noqa: TRY301 - gets its path below
                size_bytes += len(key) + 3
            kind = type(item)
            # The two commonest leaves are counted here: a call for each would double the time.
            if kind is str:
                size_bytes += len(item) + 2
            elif kind is dict:
                _visit_items(item.items(), walk, depth_left - 1, keyed=True)
            elif kind is list or kind is tuple:
                _visit_items(enumerate(item), walk, depth_left - 1, keyed=False)
            else:
                size_bytes += _leaf_bytes(item, walk)
        except _InvalidError as invalid:
            invalid.path.append(f"[{key!a}]")
            raise
    _charge(walk, size_bytes)


def _leaf_bytes(value: Any, walk: _Walk) -> int:
    kind = type(value)
    if kind is int:
        if -_SMALL_INTEGER < value < _SMALL_INTEGER:
            return 1
        return _integer_bytes(value)
    if kind is str:
        return len(value) + 2
    if value is None or kind is bool:
        return 4
    if kind is float:
        if not isfinite(value):
            raise _InvalidError(f"is {value}, which JSON cannot hold", "type")
        walk.met_float = True
        return 3
    raise _InvalidError(f"has type {kind.__name__}, which is not plain JSON", "type")


def _integer_bytes(number: int) -> int:
    bit_count = number.bit_length()
    if bit_count > INTEGER_BITS_MAX:
        raise _InvalidError(f"is an integer of more than {INTEGER_BITS_MAX} bits", "size")
    return bit_count // 4


def _charge(walk: _Walk, size_bytes: int) -> None:
    walk.left_bytes -= size_bytes
    if walk.left_bytes < 0:
        raise _too_large(walk)


def _too_large(walk: _Walk) -> _InvalidError:
    return _InvalidError(f"makes the text longer than {walk.limit_bytes} bytes", "size")
