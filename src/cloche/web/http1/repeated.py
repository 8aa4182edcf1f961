"""The fields of the request before: most clients send nearly the same with each request.

Fields that are byte for byte the same are not read again, and where a few have other values, as an
id of the request, these values alone are. Which ones they are is learnt from the requests of the
connection.

Invariant: what is repeated is what reading it again would give. Only fields of requests that were
accepted are kept, up to the end of the head; a value that is another one is checked, and belongs to
a field that says nothing to the connection; the request line is read each time, and one that is
unusual is left to those who read heads.

Fields are kept for each connection by itself, and only where they are small. Where too many differ
nothing is kept for a while, as learning takes time.
"""

from __future__ import annotations

import re
from operator import ne
from typing import TYPE_CHECKING, Final

from cloche.web.http1.events import RequestHead
from cloche.web.http1.head import LINE_OF_PATH, VALUE

if TYPE_CHECKING:
    # The index and name of a field whose value varies, and the bytes from there to the next one.
    Varying = tuple[int, bytes, bytes]

KEPT_LIMIT_BYTES: Final = 1024  # of fields; what is kept takes about three times as much
VARYING_COUNT_MAX: Final = 4  # fields with other values
PAUSE_COUNT: Final = 32  # heads, until learning is tried again

_LINE: Final = re.compile(LINE_OF_PATH)
_LINE_END: Final = b" HTTP/1.1\r\n"
_REST_OF_LINE: Final = re.compile(VALUE + rb"*+\r\n")
_FIXED: Final = frozenset({b"host", b"connection", b"content-length"})


class RepeatedFields:
    """The fields of one connection. Empty at first.

    `head` is the one whose fields are kept, None where there is none. While `pause_count` is not
    0 nothing should be kept.
    """

    __slots__ = ("_beginning", "_limit_bytes", "_names", "_varying", "head", "pause_count")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes  # of a whole head
        self.head: RequestHead | None = None
        self.pause_count = 0
        self._names: tuple[bytes, ...] = ()
        self._beginning = b""  # the fields up to the first value that varies
        self._varying: tuple[Varying, ...] = ()

    def find(self, data: bytes, start: int) -> tuple[RequestHead, int] | None:
        """Return the head at `start` and where it ends, if its fields are those that were kept."""
        before = self.head
        assert before is not None, "fields are kept"
        beginning = self._beginning
        fields_at = data.find(b"\r\n", start) + 2
        if not data.startswith(beginning, fields_at):
            return None
        end = fields_at + len(beginning)
        fields = before.fields[:]
        for index, name, rest in self._varying:
            value = _REST_OF_LINE.match(data, end)
            if value is None:
                return None
            end = value.end()
            if not data.startswith(rest, end):
                return None
            end += len(rest)
            # The grammar left no other white space than SP, HTAB, and the end of the line.
            fields[index] = (name, value[0].strip())
        if end - start > self._limit_bytes:
            return None
        line = _LINE.fullmatch(data, start, fields_at)
        if line is None:
            return None
        method, target = line.groups()
        head = RequestHead(
            method.decode(),
            target.decode(),
            "1.1",
            fields,
            before.content_length,
            True,
            False,
            False,
        )
        return head, end

    def keep(self, head: RequestHead, match: re.Match[bytes], names: tuple[bytes, ...]) -> None:
        """Keep the fields of a plain head, which was read by this match and has these names."""
        before, self.head = self.head, None
        fields_at, end = match.end(2) + len(_LINE_END), match.end()
        if end - fields_at > KEPT_LIMIT_BYTES:
            return
        varying: list[int] = []
        if before is not None and names is self._names:
            known = {index for index, _, _ in self._varying}
            differs = map(ne, before.fields, head.fields)
            varying = [index for index, other in enumerate(differs) if other or index in known]
        self._varying = ()
        if len(varying) > VARYING_COUNT_MAX or any(names[index] in _FIXED for index in varying):
            self.pause_count = PAUSE_COUNT
            return
        self.head = head
        self._names = names
        data = match.string
        # Groups: two of the request line, then a name and a value for each field.
        spans = [match.span(2 * index + 4) for index in varying]
        borders = [begin for begin, _ in spans] + [end]
        self._beginning = data[fields_at : borders[0]]
        self._varying = tuple(
            (index, names[index], data[stop + 2 : border])
            for index, (_, stop), border in zip(varying, spans, borders[1:], strict=True)
        )
