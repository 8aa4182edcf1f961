"""The fields of the request before: most clients send the same again with each request.

Invariant: what is repeated is what reading it again would give. Only fields of requests that were
accepted are kept, byte for byte with the end of the head; the request line is read each time, and
one that says something of the fields, or of the connection, is left to those who read heads.

They are kept for each connection by itself, and only where they are small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.web.http1.events import RequestHead
from cloche.web.http1.head import LINE

if TYPE_CHECKING:
    import re

    from cloche.web.http1.caps import Http1Caps

KEPT_LIMIT_BYTES: Final = 1024  # of fields; what is kept takes about three times as much
_SLASH: Final = ord("/")  # origin-form begins with it


class RepeatedFields:
    """The fields of one connection. Empty at first."""

    __slots__ = ("_block", "_head", "_line_limit_bytes")

    def __init__(self) -> None:
        self._block = b""
        self._head: RequestHead | None = None
        self._line_limit_bytes = 0

    def find(self, data: bytes, start: int) -> tuple[RequestHead, int] | None:
        """Return the head at `start` and where it ends, if its fields are those that were kept."""
        before = self._head
        if before is None:
            return None
        fields_at = data.find(b"\r\n", start) + 2
        if not data.startswith(self._block, fields_at):
            return None
        if fields_at - start > self._line_limit_bytes:
            return None
        line = LINE.fullmatch(data, start, fields_at)
        if line is None:
            return None
        method, target = line.groups()
        if target[0] != _SLASH or method == b"CONNECT":
            return None
        head = RequestHead(
            method.decode(),
            target.decode(),
            "1.1",
            before.fields[:],
            before.content_length,
            keep_alive=True,
            expects_continue=before.expects_continue,
            upgrades=False,
        )
        return head, fields_at + len(self._block)

    def keep(self, match: re.Match[bytes], head: RequestHead, caps: Http1Caps) -> None:
        """Keep the fields of a head that was accepted, if another request can follow as HTTP."""
        fields_at, end = match.start(4), match.end()
        size = end - fields_at
        if size <= KEPT_LIMIT_BYTES and head.keep_alive and not head.upgrades:
            self._block = match.string[fields_at:end]
            self._head = head
            self._line_limit_bytes = caps.small_head_bytes - size
