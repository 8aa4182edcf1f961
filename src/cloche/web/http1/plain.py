"""Heads as nearly all clients send them, read by one expression and by the names they have.

Owns no rule of its own: what it reads is what `framing` would make of it, field for field. It
refuses nothing: whatever is wrong or unusual (HTTP/1.0, a target that is no path, a coded body, an
expectation, another protocol, a field twice that may stand once, other white space than one space
before a value, many fields) is left to `framing`.

Clients send the same names in the same order, so what follows from names alone, a `Shape`, is
remembered, for all connections and for the names that were used last. No value is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cloche.web.http1.events import RequestHead
from cloche.web.http1.framing import is_host, plain_length
from cloche.web.http1.head import LINE_OF_PATH, TOKEN, VALUE
from cloche.web.http1.repeated import RepeatedFields

if TYPE_CHECKING:
    from cloche.web.http1.caps import Http1Caps

    # Names in lowercase, then where host, connection and content-length stand, -1 for nowhere.
    Shape = tuple[tuple[bytes, ...], int, int, int]

FIELD_COUNT_MAX: Final = 20  # of a plain head; browsers send up to 17
SHAPE_COUNT_MAX: Final = 128  # that are remembered
SHAPE_LIMIT_BYTES: Final = 4096  # of a plain head, and so of the names of a shape

_SINGLE: Final = (b"host", b"connection", b"content-length")
_UNUSUAL: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
# Two for the request line, then a name and a value for each field.
_NAMES_AT: Final = 2
_VALUES_AT: Final = 3
_FIELD: Final = rb"(" + TOKEN + rb"++): ([!-~\x80-\xff]" + VALUE + rb"*+)(?<![\t ])\r\n"


def _fields(count: int) -> bytes:
    # Nested, so that behind the last field nothing more is tried.
    return b"(?:" + _FIELD + _fields(count - 1) + rb"|\r\n)" if count else rb"\r\n"


PLAIN_HEAD: Final = re.compile(LINE_OF_PATH + _fields(FIELD_COUNT_MAX))


class PlainHeads:
    """Reads the plain heads of one connection."""

    __slots__ = ("_body_limit_bytes", "_host", "_limit_bytes", "_repeated")

    def __init__(self, caps: Http1Caps) -> None:
        self._body_limit_bytes = caps.body_limit_bytes
        # No head is over a limit that is checked here once: neither its size nor its field count.
        is_open = caps.field_count_max >= FIELD_COUNT_MAX
        self._limit_bytes = min(caps.small_head_bytes, SHAPE_LIMIT_BYTES) if is_open else 0
        self._repeated = RepeatedFields(self._limit_bytes)
        self._host = b""  # the last one that was found valid

    def read(self, data: bytes, start: int) -> tuple[RequestHead, int] | None:
        """Return the head at `start` and where it ends; None where it is not complete or plain."""
        repeated = self._repeated
        if repeated.head is not None:
            repetition = repeated.find(data, start)
            if repetition is not None:
                return repetition
        match = PLAIN_HEAD.match(data, start)
        if match is None:
            return None
        end = match.end()
        if end - start > self._limit_bytes:
            return None
        found = match.groups()
        last: int = match.lastindex  # type: ignore[assignment]  # the method is a group
        shape = shape_of(found[_NAMES_AT:last:2])
        if shape is None:
            return None
        names, host_at, connection_at, length_at = shape
        values = found[_VALUES_AT:last:2]
        host = values[host_at]
        if host != self._host and is_host(host):
            self._host = host
        length = plain_length(values[length_at], self._body_limit_bytes) if length_at >= 0 else 0
        if (
            length < 0
            or host != self._host
            or (connection_at >= 0 and values[connection_at] != b"keep-alive")
        ):
            return None
        head = RequestHead(
            found[0].decode(),
            found[1].decode(),
            "1.1",
            [*zip(names, values)],  # noqa: B905 - as many names as values; to say so costs time
            length,
            True,
            False,
            False,
        )
        if repeated.pause_count:
            repeated.pause_count -= 1
        else:
            repeated.keep(head, match, names)
        return head, end


@lru_cache(maxsize=SHAPE_COUNT_MAX)
def shape_of(names: tuple[bytes, ...]) -> Shape | None:
    """Return what names say; None where `framing` has to look at their values."""
    lower = tuple(name.lower() for name in names)
    if b"host" not in lower or not _UNUSUAL.isdisjoint(lower):
        return None
    if any(lower.count(name) > 1 for name in _SINGLE):
        return None
    host_at, connection_at, length_at = (
        lower.index(name) if name in lower else -1 for name in _SINGLE
    )
    return lower, host_at, connection_at, length_at
