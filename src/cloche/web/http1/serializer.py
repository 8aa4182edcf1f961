"""Responses as bytes.

Owns the framing of a response and the one order and spelling of its head.
Invariants:
- no byte of a response that breaks a rule is written: what would end a line inside of a value, a
  body where none may be, a framing field of the caller's own are errors;
- the same response gives the same bytes.

It knows no clock: `date` is a field like any other, given by whoever has one.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from cloche.web.encodings.headers import SET_COOKIE, decode_headers, join
from cloche.web.encodings.messages import (
    STATUS_MAX,
    STATUS_MIN,
    HttpFailure,
    decode_response,
)
from cloche.web.http1.errors import Http1ResponseError
from cloche.web.http1.head import FIELD, TOKEN, http1_code
from cloche.web.http1.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.web.http1.events import Field

BAD_STATUS: Final = http1_code("BAD_STATUS")
BAD_FIELD: Final = http1_code("BAD_FIELD")
BAD_BODY: Final = http1_code("BAD_BODY")

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_OK: Final = 200
_REDIRECTION: Final = 300
_SWITCHING: Final = 101
_NO_CONTENT: Final = 204
_RESET_CONTENT: Final = 205
_NOT_MODIFIED: Final = 304
_SPECIAL: Final = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_NAME_OF: Final = itemgetter(0)
_BLOCK: Final = re.compile(b"(?:" + FIELD.pattern + b"\r\n)*+")
_LOWER_NAME_BYTES: Final = bytes(
    byte
    for byte in range(128)
    if re.fullmatch(TOKEN, bytes((byte,))) and not bytes((byte,)).isupper()
)
# The bytes that a value may have, as in the expression of a field.
VALUE_BYTES: Final = bytes(byte for byte in range(256) if FIELD.fullmatch(b"a:%c" % byte))
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in REASONS.items()
}


def write_response(
    status: int,
    fields: Iterable[Field],
    body: bytes = b"",
    *,
    method: str = "GET",
    close: bool = False,
) -> bytes:
    """Return a whole response to a request of this method.

    `content-length` is computed; one that is given is dropped. `close` says that the connection
    ends behind it.

    Raises:
        Http1ResponseError: a status, field or body that cannot be written.
    """
    _check_status(status, method)
    block = _write_fields(fields, close=close, switching=status == _SWITCHING)
    if not _has_body(status):
        if body:
            raise Http1ResponseError(reason=BAD_BODY, problem=f"status {status} has no body")
        length = b"content-length: 0\r\n" if status == _RESET_CONTENT else b""
        return b"".join((_status_line(status), block, length, b"\r\n"))
    length = b"content-length: %d\r\n\r\n" % len(body)
    return b"".join((_status_line(status), block, length, b"" if method == "HEAD" else body))


def start_stream(
    status: int,
    fields: Iterable[Field],
    *,
    method: str = "GET",
    close: bool = False,
    length: int | None = None,
    version: str = "1.1",
) -> bytes:
    """Return the head of a response whose body comes in pieces.

    With `length` the pieces are written as they are and must be that long together. Without it each
    is a chunk (`write_chunk`, then `LAST_CHUNK`), or for HTTP/1.0, which then needs `close`, they
    are written as they are until the connection ends.

    Raises:
        Http1ResponseError: a status without a body, or a field that cannot be written.
    """
    _check_status(status, method)
    if not _has_body(status):
        raise Http1ResponseError(reason=BAD_BODY, problem=f"status {status} has no body to stream")
    if length is not None:
        framing = b"content-length: %d\r\n\r\n" % length
    elif version == "1.1":
        framing = b"transfer-encoding: chunked\r\n\r\n"
    elif close:
        framing = b"\r\n"
    else:
        problem = "a stream of unknown length to HTTP/1.0 ends with its connection"
        raise Http1ResponseError(reason=BAD_BODY, problem=problem)
    return _status_line(status) + _write_fields(fields, close=close, switching=False) + framing


def write_chunk(data: bytes) -> bytes:
    """Return a piece of a body as a chunk; nothing for an empty piece, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def write_resp_v1(response: bytes) -> bytes:
    """Return the response of an X7RS blob as it stands on the wire.

    Raises:
        DecodeError: the bytes are no X7RS.
        Http1ResponseError: it is a failure, which has no status, or cannot be written.
    """
    value = decode_response(response)
    if isinstance(value, HttpFailure):
        problem = f"failure {value.number} has no status; answer it before it is written"
        raise Http1ResponseError(reason=BAD_STATUS, problem=problem)
    return write_response(value.status, value.headers.lines, value.body)


def build_resp_v1(status: int, headers: bytes, body: bytes) -> bytes:
    """Return a response with the reason `OK` for 200 and `ERR` for all others.

    Args:
        status: 100 to 599.
        headers: an X7HT blob.
        body: all of it.

    Raises:
        DecodeError: `headers` is no X7HT.
        Http1ResponseError: it cannot be written.
    """
    written = write_response(status, decode_headers(headers).lines, body)
    reason = b"OK" if status == _OK else b"ERR"
    return b"HTTP/1.1 %d %b\r\n" % (status, reason) + written.partition(b"\r\n")[2]


def check_fields(fields: Iterable[Field]) -> list[Field]:
    """Return the fields of a response as they are written, for a server that writes them itself.

    Names in lowercase, sorted; values of one name joined, except `set-cookie`; no content-length.

    Raises:
        Http1ResponseError: one cannot be written.
    """
    lines = _prepared(list(fields), switching=False)
    if any(
        b"\n" in value or FIELD.fullmatch(b"%b:%b" % (name, value)) is None for name, value in lines
    ):
        raise Http1ResponseError(reason=BAD_FIELD, problem=_problem(lines))
    return lines


def _check_status(status: int, method: str) -> None:
    if type(status) is not int or not STATUS_MIN <= status <= STATUS_MAX:
        problem = f"the status is not from {STATUS_MIN} to {STATUS_MAX}"
        raise Http1ResponseError(reason=BAD_STATUS, problem=problem)
    if method == "CONNECT" and _OK <= status < _REDIRECTION:
        # RFC 9110 section 9.3.6: everything behind it would be a tunnel.
        raise Http1ResponseError(reason=BAD_STATUS, problem="success of CONNECT opens a tunnel")


def _has_body(status: int) -> bool:
    return status >= _OK and status not in {_NO_CONTENT, _RESET_CONTENT, _NOT_MODIFIED}


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _write_fields(fields: Iterable[Field], *, close: bool, switching: bool) -> bytes:
    given = list(fields)
    lines = given if len(given) == 1 else sorted(given, key=_NAME_OF)
    names = [name for name, _ in lines]
    known = set(names)
    if (
        len(known) != len(names)
        or not _SPECIAL.isdisjoint(known)
        or b"".join(names).translate(None, _LOWER_NAME_BYTES)
    ):
        lines = _prepared(given, switching=switching)
    block = b"".join([b"%b: %b\r\n" % line for line in lines])
    # A value with a whole line in it passes the expression, and has one line end too many.
    if _BLOCK.fullmatch(block) is None or block.count(b"\n") != len(lines):
        raise Http1ResponseError(reason=BAD_FIELD, problem=_problem(lines))
    return b"connection: close\r\n" + block if close else block


def _prepared(fields: list[Field], *, switching: bool) -> list[Field]:
    """Return fields in lowercase, merged, without the length; refuse those that are not theirs."""
    lines = [(name.lower(), value) for name, value in fields if name.lower() != b"content-length"]
    lines.sort(key=_NAME_OF)
    names = {name for name, _ in lines}
    if b"".join(names).translate(None, _LOWER_NAME_BYTES):
        # A name with a colon would look like another name, and part of its value.
        raise Http1ResponseError(reason=BAD_FIELD, problem=_problem(lines))
    if b"transfer-encoding" in names or (b"connection" in names and not switching):
        problem = "transfer-encoding and connection are written by the serializer alone"
        raise Http1ResponseError(reason=BAD_FIELD, problem=problem)
    return lines if len(names) == len(lines) else _merged(lines)


def _merged(lines: list[Field]) -> list[Field]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in lines:
        values.setdefault(name, []).append(value)
    return [
        (name, value)
        for name, of_name in values.items()
        for value in (of_name if name == SET_COOKIE else [join(of_name)])
    ]


def _problem(lines: list[Field]) -> str:
    for name, value in lines:
        known = not name.translate(None, _LOWER_NAME_BYTES)
        if not known or b"\n" in value or FIELD.fullmatch(name + b":" + value) is None:
            return f"the field {name!r} has a bad name or value"
    return "a field has a bad name or value"
