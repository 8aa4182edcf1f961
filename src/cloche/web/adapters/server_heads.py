"""Responses as bytes, with the date, and a memory of heads that were written before.

Heads that are the same are remembered whole. Of those that differ in values alone, as by a request
id, the shape is remembered: what the serializer wrote, with room for values.

Invariants:
- every head and shape comes from the serializer, which checks it, within the same second; the
  values that go into a shape are checked here, by the rule of the serializer;
- what is refused is refused by the serializer, each time;
- the memory is bounded and emptied when the date changes.
"""

from __future__ import annotations

from email.utils import formatdate
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from cloche.web.http1.serializer import VALUE_BYTES, start_stream, write_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.web.http1.events import Field
    from cloche.web.response import Response

_REMEMBERED_MAX: Final = 32  # few, so that heads used once do not push others out of the caches
_SAME_SHAPE_MAX: Final = 4  # heads of one shape that are remembered whole
_NS_PER_S: Final = 1_000_000_000
_NO_LENGTH: Final = b"content-length: 0\r\n\r\n"
_DATE: Final = b"date"
# Statuses whose responses have a body, whose length stands last in the head.
_PLAIN: Final = frozenset({200, 201, 202, 203, 206, *range(400, 500), *range(500, 600)})

_ROOM: Final = b"%b"  # for a value, in a shape
_SHAPE_SIZE_MIN: Final = 2  # fields: `itemgetter` gives a tuple from two on
_LENGTH: Final = b"content-length"


class _Shape:
    """A head with room for values, what puts values in their order there, and how many it had."""

    __slots__ = ("count", "in_order", "template")

    def __init__(
        self, template: bytes, in_order: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    ) -> None:
        self.template = template
        self.in_order = in_order
        self.count = 0


class Heads:
    """Writes responses. One for all connections of a server."""

    __slots__ = ("_date", "_remembered", "_second", "_shapes")

    def __init__(self) -> None:
        self._second = -1
        self._date: Field = (_DATE, b"")
        self._remembered: dict[tuple[int, tuple[Field, ...], bool], bytes] = {}
        self._shapes: dict[tuple[int, tuple[bytes, ...], bool], _Shape] = {}

    def set_time(self, now_ns: int) -> None:
        """Say what time it is; the date of responses follows."""
        second = now_ns // _NS_PER_S
        if second != self._second:
            self._second = second
            self._date = (_DATE, formatdate(second, usegmt=True).encode())
            self._remembered.clear()
            self._shapes.clear()

    def whole(self, response: Response, method: str, *, close: bool) -> bytes:
        """Return a response whose body is bytes.

        Raises:
            Http1ResponseError: it cannot be written.
        """
        key = (response.status, response.fields, close)
        body: bytes = response.body
        try:
            head = self._remembered.get(key)
        except TypeError:  # fields that are no tuple of tuples: a list of lists is written too
            return self._written(response, method, close=close)
        if head is None or method == "CONNECT":
            if response.status not in _PLAIN or method == "CONNECT":
                return self._written(response, method, close=close)
            head = self._remember(response, close=close)
        if method == "HEAD":
            return b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    def stream(self, response: Response, method: str, version: str, *, close: bool) -> bytes:
        """Return the head of a response whose body comes in pieces.

        Raises:
            Http1ResponseError: it cannot be written.
        """
        return start_stream(
            response.status,
            self.dated(response.fields),
            method=method,
            close=close,
            length=response.length,
            version=version,
        )

    def dated(self, fields: tuple[Field, ...]) -> tuple[Field, ...]:
        """Return fields with the date, unless they have one."""
        if any(name == _DATE for name, _ in fields):
            return fields
        return (*fields, self._date)

    def _remember(self, response: Response, *, close: bool) -> bytes:
        """Return a head without its length."""
        status, fields = response.status, response.fields
        head = b""
        if len(fields) >= _SHAPE_SIZE_MIN:
            head, is_frequent = self._shaped(status, fields, close=close)
            if is_frequent:
                return head
        head = head or self._head(status, fields, close=close)
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[status, fields, close] = head
        return head

    def _shaped(self, status: int, fields: tuple[Field, ...], *, close: bool) -> tuple[bytes, bool]:
        """Return a head by its shape, and whether its values vary too often to be remembered.

        Nothing where the serializer has to write or refuse it.
        """
        names, values = zip(*fields, strict=True)
        if b"".join(values).translate(None, VALUE_BYTES):
            return b"", False
        key = (status, names, close)
        shape = self._shapes.get(key)
        if shape is None:
            if not _has_shape(names):
                return b"", False
            order = sorted(range(len(names)), key=names.__getitem__)
            room = tuple((name, _ROOM) for name in names)
            shape = _Shape(self._head(status, room, close=close), itemgetter(*order))
            if len(self._shapes) >= _REMEMBERED_MAX:
                self._shapes.clear()
            self._shapes[key] = shape
        shape.count += 1
        return shape.template % shape.in_order(values), shape.count > _SAME_SHAPE_MAX

    def _head(self, status: int, fields: tuple[Field, ...], *, close: bool) -> bytes:
        written = write_response(status, self.dated(fields), b"", close=close)
        assert written.endswith(_NO_LENGTH), "the serializer writes the length last"
        return written.removesuffix(_NO_LENGTH)

    def _written(self, response: Response, method: str, *, close: bool) -> bytes:
        fields = self.dated(response.fields)
        return write_response(response.status, fields, response.body, method=method, close=close)


def _has_shape(names: tuple[bytes, ...]) -> bool:
    """Return whether each field becomes one line, in the order of these names."""
    text = b"".join(names)
    is_plain = b"%" not in text and text == text.lower()
    return is_plain and _LENGTH not in names and len(set(names)) == len(names)
