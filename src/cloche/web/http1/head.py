"""Request line and field lines: one regular expression that accepts, one scanner that explains.

Owns the grammar of a head and its limits. What fields mean is in `framing`.
Invariants:
- the expression has possessive quantifiers only, so its time is linear in the length of the head;
- what it refuses, or what is over a limit, the scanner reads line by line; the first fault in the
  order of the bytes wins, so the code does not depend on how the bytes were split;
- the scanner looks at each byte a fixed number of times, however the bytes arrive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cloche.web.encodings.codes import BY_NAME
from cloche.web.http1.caps import METHOD_LIMIT_BYTES

if TYPE_CHECKING:
    from cloche.web.encodings.codes import Code
    from cloche.web.http1.caps import Http1Caps

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TARGET: Final = rb"[!\"$-~]"
VALUE: Final = rb"[\t -~\x80-\xff]"  # a byte of one
_FIELD: Final = TOKEN + rb"++:" + VALUE + rb"*+"

_METHOD_AND_TARGET: Final = (
    rb"(" + TOKEN + rb"{1,%d}+) (" % METHOD_LIMIT_BYTES + _TARGET + rb"++) HTTP/"
)

HEAD: Final = re.compile(_METHOD_AND_TARGET + rb"(1\.[01])\r\n((?:" + _FIELD + rb"\r\n)*+)\r\n")
# The usual request line, with a target in origin-form: nothing else has to be known of it.
LINE_OF_PATH: Final = rb"(?!CONNECT )(%b{1,%d}+) (/%b*+) HTTP/1\.1\r\n" % (
    TOKEN,
    METHOD_LIMIT_BYTES,
    _TARGET,
)
FIELD: Final = re.compile(_FIELD)
_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb"++) (" + _TARGET + rb"++) HTTP/([0-9]\.[0-9])")
# Three parts, and the target alone is wrong: its own code helps whoever reads it.
_ANY_TARGET: Final = re.compile(TOKEN + rb"++ [^ \r\n]++ HTTP/[0-9]\.[0-9]")


def http1_code(name: str) -> Code:
    """Return a code of the space HTTP1."""
    return BY_NAME[f"SPEC_ERR_HTTP1_{name}"]


BAD_START_LINE: Final = http1_code("BAD_START_LINE")
UNSUPPORTED_VERSION: Final = http1_code("UNSUPPORTED_VERSION")
BAD_METHOD: Final = http1_code("BAD_METHOD")
HEADER_TOO_LARGE: Final = http1_code("HEADER_TOO_LARGE")
TOO_MANY_HEADERS: Final = http1_code("TOO_MANY_HEADERS")
BAD_HEADER_LINE: Final = http1_code("BAD_HEADER_LINE")
OBS_FOLD: Final = http1_code("OBS_FOLD")
LINE_TOO_LONG: Final = http1_code("LINE_TOO_LONG")
BAD_TARGET: Final = http1_code("BAD_TARGET")


class HeadScanner:
    """Looks for the first fault in a head that grows.

    `scan` is given the same buffer each time, longer than before, with the head at `start`.
    """

    __slots__ = ("_caps", "_count", "_line", "_searched", "_start", "is_complete")

    def __init__(self, caps: Http1Caps, start: int) -> None:
        self._caps = caps
        self._start = start
        self._line = start  # where the line begins that is not complete yet
        self._searched = start  # no line end begins before
        self.is_complete = False
        self._count = -1  # field lines; -1 before the request line

    def scan(self, buffer: bytes | bytearray) -> Code | None:
        """Return the first fault, or None where there is none so far."""
        while True:
            end = buffer.find(b"\r\n", self._searched)
            complete = end >= 0
            if not complete:
                # The last byte may be the CR of an end that is still to come.
                end = len(buffer) - buffer.endswith(b"\r", self._line)
            fault = self._check_size(buffer, end) or (
                self._check_line(buffer[self._line : end]) if complete else None
            )
            if fault is not None:
                return fault
            if not complete:
                self._searched = end
                return None
            if end == self._line:
                self.is_complete = True
                return None
            self._line = self._searched = end + 2

    def _check_size(self, buffer: bytes | bytearray, end: int) -> Code | None:
        first = self._count < 0
        caps = self._caps
        line_limit = caps.request_line_limit_bytes if first else caps.field_line_limit_bytes
        # What the head may still have, without the CRLF of this line.
        left = caps.head_limit_bytes - (self._line - self._start) - 2
        limit = min(line_limit, left)
        # A line feed alone never becomes right, and must not wait for more.
        stop = min(end, self._line + max(limit, 0))
        if buffer.find(b"\n", self._searched, stop) >= 0:
            return BAD_START_LINE if first else BAD_HEADER_LINE
        if end - self._line > limit:
            return LINE_TOO_LONG if first and line_limit <= left else HEADER_TOO_LARGE
        return None

    def _check_line(self, line: bytes | bytearray) -> Code | None:
        self._count += 1
        if self._count == 0:
            return _check_request_line(line, http_1_0=self._caps.http_1_0)
        if not line:
            return None
        if self._count > self._caps.field_count_max:
            return TOO_MANY_HEADERS
        if line[0] in b" \t":
            return OBS_FOLD
        return None if FIELD.fullmatch(line) else BAD_HEADER_LINE


def _check_request_line(line: bytes | bytearray, *, http_1_0: bool) -> Code | None:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return BAD_TARGET if _ANY_TARGET.fullmatch(line) else BAD_START_LINE
    if match[3] != b"1.1" and not (http_1_0 and match[3] == b"1.0"):
        return UNSUPPORTED_VERSION
    return BAD_METHOD if len(match[1]) > METHOD_LIMIT_BYTES else None
