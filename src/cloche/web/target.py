"""Targets of requests: path segments, query, percent-encoding. One decoding, the strict one.

Invariants:
- a path is split at `/` before anything is decoded, so an encoded slash is data and never a border;
- a wrong escape, text that is no UTF-8, NUL and dot segments are refused: whoever looks at the path
  afterwards cannot be led out of a folder by it;
- a query keeps every value in its order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cloche.web.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_AUTHORITY: Final = re.compile(r"https?://(?:[^/?@]*@)?([^/?]*)", re.IGNORECASE)
PAIR_COUNT_MAX: Final = 1000  # of a query or a form; each costs an object


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a target, both as they arrived; of absolute-form what is local."""
    if not target.startswith("/"):
        absolute = _AUTHORITY.match(target)
        if absolute is None:
            return target, ""  # `*`, or the authority of CONNECT
        target = target[absolute.end() :]
        if not target.startswith("/"):
            target = "/" + target
    path, _, query = target.partition("?")
    return path, query


def authority_of(target: str, host: str) -> str:
    """Return the host that a request is for, with its port (RFC 9112 section 3.3)."""
    absolute = _AUTHORITY.match(target)
    return host if absolute is None else absolute[1]


def decode_path(path: str) -> tuple[str, ...]:
    """Return the segments of a path, decoded: `/a%2Fb/` is `("a/b", "")`.

    Raises:
        BadRequestError: a wrong escape, no UTF-8, NUL, or a dot segment.
    """
    segments = path[1:].split("/")
    if "%" in path:
        segments = [percent_decode(segment, where="path") for segment in segments]
    if "." in segments or ".." in segments:
        raise BadRequestError(where="path", problem="it has a dot segment")
    return tuple(segments)


def percent_decode(text: str, *, where: str) -> str:
    """Return the text that percent-encoded text stands for.

    Raises:
        BadRequestError: a wrong escape, no UTF-8, or NUL.
    """
    if "%" not in text:
        return text
    parts = _ESCAPE.split(text)
    if None in parts:
        raise BadRequestError(where=where, problem="a % is not followed by two hexadecimal digits")
    raw = bytearray(parts[0].encode())
    for index in range(1, len(parts), 2):
        raw.append(int(parts[index], 16))
        raw += parts[index + 1].encode()
    if 0 in raw:
        raise BadRequestError(where=where, problem="it has a NUL")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadRequestError(where=where, problem="it is no UTF-8") from None


def percent_encode(text: str) -> str:
    """Return text with all but unreserved characters as escapes (RFC 3986 section 2.1)."""
    return "".join(
        char if char in _UNRESERVED else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in text
    )


class Pairs:
    """Names with one or more values, in order: a query or a form."""

    __slots__ = ("_items",)

    def __init__(self, items: tuple[tuple[str, str], ...] = ()) -> None:
        self._items = items

    def get(self, name: str) -> str | None:
        """Return the first value of a name."""
        for found, value in self._items:
            if found == name:
                return value
        return None

    def values(self, name: str) -> list[str]:
        """Return all values of a name, in order."""
        return [value for found, value in self._items if found == name]

    def names(self) -> list[str]:
        """Return each name once, in order of its first value."""
        return list(dict(self._items))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Pairs({self._items!r})"


_NO_PAIRS: Final = Pairs()


def parse_pairs(text: str, *, where: str = "query") -> Pairs:
    """Return the pairs of `a=1&a=2&b`. `+` is a space; a name alone has an empty value.

    Raises:
        BadRequestError: a wrong escape, no UTF-8, NUL, or more than 1000 pairs.

    Source: the URL standard, application/x-www-form-urlencoded, with strict escapes.
    """
    if not text:
        return _NO_PAIRS
    parts = [part for part in text.split("&") if part]
    if len(parts) > PAIR_COUNT_MAX:
        raise BadRequestError(where=where, problem=f"it has more than {PAIR_COUNT_MAX} values")
    items = []
    for part in parts:
        name, _, value = part.replace("+", " ").partition("=")
        items.append((percent_decode(name, where=where), percent_decode(value, where=where)))
    return Pairs(tuple(items))
