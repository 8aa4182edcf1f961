"""Responses as bytes, with the date, and a memory of heads that were written before.

Invariants:
- every head comes from the serializer, which checks it; what is remembered is what it wrote for the
  same status and fields within the same second;
- the memory is bounded and emptied when the date changes.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from cloche.web.http1.serializer import start_stream, write_response

if TYPE_CHECKING:
    from cloche.web.http1.events import Field
    from cloche.web.response import Response

_REMEMBERED_MAX: Final = 256
_NS_PER_S: Final = 1_000_000_000
_NO_LENGTH: Final = b"content-length: 0\r\n\r\n"
_DATE: Final = b"date"
# Statuses whose responses have a body, whose length stands last in the head.
_PLAIN: Final = frozenset({200, 201, 202, 203, 206, *range(400, 500), *range(500, 600)})


class Heads:
    """Writes responses. One for all connections of a server."""

    __slots__ = ("_date", "_remembered", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._date: Field = (_DATE, b"")
        self._remembered: dict[tuple[int, tuple[Field, ...], bool], bytes] = {}

    def set_time(self, now_ns: int) -> None:
        """Say what time it is; the date of responses follows."""
        second = now_ns // _NS_PER_S
        if second != self._second:
            self._second = second
            self._date = (_DATE, formatdate(second, usegmt=True).encode())
            self._remembered.clear()

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
        fields = self.dated(response.fields)
        written = write_response(response.status, fields, b"", close=close)
        assert written.endswith(_NO_LENGTH), "the serializer writes the length last"
        head = written.removesuffix(_NO_LENGTH)
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[response.status, response.fields, close] = head
        return head

    def _written(self, response: Response, method: str, *, close: bool) -> bytes:
        fields = self.dated(response.fields)
        return write_response(response.status, fields, response.body, method=method, close=close)
