"""The chunked coding: sizes, data, trailers (RFC 9112 section 7.1).

Invariants:
- a size is 1 to 16 hexadecimal digits; extensions follow the grammar and are dropped; each line and
  the data of each chunk end with CRLF;
- framing is paid for: what a chunk's framing has beyond an eighth of its data is summed up, and the
  sum is limited, so that a body cannot be made of a million tiny chunks;
- trailers are checked and dropped.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from cloche.web.http1.framing import BODY_TOO_LARGE
from cloche.web.http1.head import FIELD, TOKEN, http1_code

if TYPE_CHECKING:
    from cloche.web.encodings.codes import Code
    from cloche.web.http1.caps import Http1Caps

BAD_CHUNK: Final = http1_code("BAD_CHUNK")
CHUNK_OVERHEAD: Final = http1_code("CHUNK_OVERHEAD")
BAD_TRAILER: Final = http1_code("BAD_TRAILER")

_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSION: Final = (
    rb"[\t ]*+;[\t ]*+" + TOKEN + rb"++(?:[\t ]*+=[\t ]*+(?:" + TOKEN + rb"++|" + _QUOTED + rb"))?+"
)
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:" + _EXTENSION + rb")*+\r\n")

# Fields that frame, route or authenticate must come before the content (RFC 9110 section 6.5.1).
# Those that only describe it are dropped like any other: a trailer never changes a request.
FORBIDDEN_TRAILERS: Final = frozenset(
    b"authorization connection content-length cookie expect host keep-alive max-forwards "
    b"proxy-authorization proxy-connection set-cookie te trailer transfer-encoding upgrade".split()
)


class _Phase(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILERS = "trailers"


class ChunkedReader:
    """Reads one chunked body. After a fault it is not used again."""

    __slots__ = (
        "_caps",
        "_left",
        "_overhead",
        "_phase",
        "_received",
        "_trailer_count",
        "_trailer_size",
        "fault",
        "is_complete",
    )

    def __init__(self, caps: Http1Caps) -> None:
        self._caps = caps
        self._phase = _Phase.SIZE
        self._left = 0
        self._received = 0
        self._overhead = 0
        self._trailer_count = 0
        self._trailer_size = 0
        self.fault: Code | None = None
        self.is_complete = False

    def read(self, data: bytes, position: int, parts: list[bytes]) -> int:
        """Append the data of chunks to `parts`; return the position of what was not consumed.

        Sets `is_complete`, or `fault`. Otherwise what is left over comes again with more behind it.
        """
        while self.fault is None and not self.is_complete:
            phase, before = self._phase, position
            if phase is _Phase.SIZE:
                position = self._read_whole_chunks(data, position, parts)
                position = self._read_size(data, position)
            elif phase is _Phase.DATA:
                part = data[position : position + self._left]
                parts.append(part)
                position += len(part)
                self._left -= len(part)
                if not self._left:
                    self._phase = _Phase.DATA_END
            elif phase is _Phase.DATA_END:
                position = self._read_data_end(data, position)
            else:
                position = self._read_trailer(data, position)
            if position == before and self._phase is phase:
                break
        return position

    def _read_whole_chunks(self, data: bytes, position: int, parts: list[bytes]) -> int:
        """Read chunks that are complete and within the limits; what is not is for `_read_size`."""
        received, overhead = self._received, self._overhead
        line_limit = self._caps.chunk_line_limit_bytes + 2
        body_limit = self._caps.body_limit_bytes
        overhead_limit = self._caps.chunk_overhead_limit_bytes
        while (match := _SIZE_LINE.match(data, position)) is not None:
            start = match.end()
            size = int(match[1], 16)
            end = start + size
            cost = max(0, start - position + 2 - size // 8)
            if (
                not size
                or start - position > line_limit
                or received + size > body_limit
                or overhead + cost > overhead_limit
                or data[end : end + 2] != b"\r\n"
            ):
                break
            parts.append(data[start:end])
            received += size
            overhead += cost
            position = end + 2
        self._received, self._overhead = received, overhead
        return position

    def _read_size(self, data: bytes, position: int) -> int:
        limit = self._caps.chunk_line_limit_bytes
        match = _SIZE_LINE.match(data, position)
        if match is None or match.end() - position - 2 > limit:
            if _line_end(data, position, limit) is not None:
                self.fault = BAD_CHUNK
            return position
        size = int(match[1], 16)
        self._received += size
        # The CRLF behind the data is framing too.
        self._overhead += max(0, match.end() - position + 2 - size // 8)
        if self._received > self._caps.body_limit_bytes:
            self.fault = BODY_TOO_LARGE
        elif self._overhead > self._caps.chunk_overhead_limit_bytes:
            self.fault = CHUNK_OVERHEAD
        self._left = size
        self._phase = _Phase.DATA if size else _Phase.TRAILERS
        return match.end()

    def _read_data_end(self, data: bytes, position: int) -> int:
        found = data[position : position + 2]
        if found == b"\r\n":
            self._phase = _Phase.SIZE
            return position + 2
        if not b"\r\n".startswith(found):
            self.fault = BAD_CHUNK
        return position

    def _read_trailer(self, data: bytes, position: int) -> int:
        left = self._caps.trailer_limit_bytes - self._trailer_size - 2
        end = _line_end(data, position, left)
        if end is None:
            return position
        if end < 0:
            self.fault = BAD_TRAILER
            return position
        self._trailer_size += end + 2 - position
        if end == position:
            self.is_complete = True
            return end + 2
        line = data[position:end]
        self._trailer_count += 1
        if (
            self._trailer_count > self._caps.trailer_count_max
            or FIELD.fullmatch(line) is None
            or line.partition(b":")[0].lower() in FORBIDDEN_TRAILERS
        ):
            self.fault = BAD_TRAILER
        return end + 2


def _line_end(data: bytes, position: int, limit: int) -> int | None:
    """Return where a line of at most `limit` bytes ends, -1 if it is longer, None if unknown."""
    end = data.find(b"\r\n", position, position + max(limit, 0) + 2)
    if end >= 0:
        return end if end - position <= limit else -1
    size = len(data) - position
    if data.endswith(b"\r", position):
        size -= 1  # it may be the CR of the end
    return -1 if size > limit else None
