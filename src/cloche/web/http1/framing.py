"""What the fields of a head mean for the connection: target, host, body, what follows.

Owns the rules against request smuggling. Each is in docs/web/http1-v1.md with its RFC section.
Invariant: a request has one meaning for its framing, or it is refused; nothing is repaired.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cloche.web.encodings.codes import Code
from cloche.web.http1.events import Field, RequestHead
from cloche.web.http1.head import (
    BAD_TARGET,
    HEAD,
    UNSUPPORTED_VERSION,
    HeadScanner,
    http1_code,
)

if TYPE_CHECKING:
    from cloche.web.http1.caps import Http1Caps

TRANSFER_ENCODING_UNSUPPORTED: Final = http1_code("TRANSFER_ENCODING_UNSUPPORTED")
CONTENT_LENGTH_INVALID: Final = http1_code("CONTENT_LENGTH_INVALID")
CONTENT_LENGTH_CONFLICT: Final = http1_code("CONTENT_LENGTH_CONFLICT")
TE_AND_CL: Final = http1_code("TE_AND_CL")
BAD_TRANSFER_ENCODING: Final = http1_code("BAD_TRANSFER_ENCODING")
BODY_TOO_LARGE: Final = http1_code("BODY_TOO_LARGE")
BAD_HOST: Final = http1_code("BAD_HOST")
EXPECTATION_UNKNOWN: Final = http1_code("EXPECTATION_UNKNOWN")

# RFC 3986 section 3.2.2: IP literal, or a registered name, which may be empty; then a port.
_NAME: Final = rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*+)"
_PORT: Final = rb"(?::[0-9]{0,5}+)?"
_HOST: Final = re.compile(_NAME + _PORT)
_AUTHORITY_FORM: Final = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++):[0-9]{1,5}+"
)
_ABSOLUTE_FORM: Final = re.compile(
    rb"[Hh][Tt][Tt][Pp][Ss]?://(?:[A-Za-z0-9\-._~!$&'()*+,;=:%]*+@)?(?!:|[/?]|$)"
    + _NAME
    + _PORT
    + rb"(?:[/?].*+)?",
)
_SLASH: Final = ord("/")  # origin-form begins with it
_LENGTH: Final = re.compile(rb"[0-9]{1,19}+")


def read_head(data: bytes, start: int, end: int, caps: Http1Caps) -> RequestHead | Code:
    """Return the request whose head is `data[start:end]`, both CRLF at its end included.

    Returns:
        The head, or the code of what is wrong with it.
    """
    match = HEAD.match(data, start)
    return explain_head(data, start, end, caps) if match is None else accept_head(match, caps)


def explain_head(data: bytes, start: int, end: int, caps: Http1Caps) -> Code:
    """Return what is wrong with a head that the expression or a limit refuses."""
    fault = HeadScanner(caps, start).scan(data[:end])
    assert fault is not None, "the expression refuses what the scanner accepts"
    return fault


def accept_head(match: re.Match[bytes], caps: Http1Caps) -> RequestHead | Code:
    """Return the request of a head that has the right form, or the code of what is wrong."""
    start, end = match.span()
    method, target, version, block = match.groups()
    lines = block.split(b"\r\n")
    lines.pop()
    if len(lines) > caps.field_count_max or (
        end - start > caps.small_head_bytes
        and _is_over_limits(start, match.start(4) - 2, end, lines, caps)
    ):
        return explain_head(match.string, start, end, caps)
    if version == b"1.0" and not caps.http_1_0:
        return UNSUPPORTED_VERSION
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        # The grammar left no other white space than SP and HTAB.
        fields.append((name.lower(), value.strip()))
    return _interpret(method, target, version, fields, caps)


def _interpret(
    method: bytes, target: bytes, version: bytes, fields: list[Field], caps: Http1Caps
) -> RequestHead | Code:
    single = dict(fields)
    if len(single) != len(fields):
        single = _joined(fields)
    modern = version == b"1.1"
    connects = method == b"CONNECT"
    if (target[0] != _SLASH or connects) and not _has_form(method, target):
        return BAD_TARGET
    host = single.get(b"host")
    if (modern or host is not None) and not is_host(host):
        return BAD_HOST
    length: int | None = 0
    if b"content-length" in single or b"transfer-encoding" in single:
        found = _body_length(single, modern=modern, limit_bytes=caps.body_limit_bytes)
        if isinstance(found, Code):
            return found
        length = found
    expects = modern and b"expect" in single
    if expects and single[b"expect"].lower() != b"100-continue":
        return EXPECTATION_UNKNOWN
    keep_alive, upgrades = modern, False
    connection = single.get(b"connection")
    if connection is not None and modern and connection != b"keep-alive":
        options = [option.strip() for option in connection.lower().split(b",")]
        keep_alive = b"close" not in options
        upgrades = b"upgrade" in options and bool(single.get(b"upgrade"))
    return RequestHead(
        method.decode(),
        target.decode(),
        "1.1" if modern else "1.0",
        fields,
        length,
        keep_alive,
        expects,
        upgrades or connects,
    )


def _is_over_limits(
    start: int, line_end: int, end: int, lines: list[bytes], caps: Http1Caps
) -> bool:
    return (
        end - start > caps.head_limit_bytes
        or line_end - start > caps.request_line_limit_bytes
        or max(map(len, lines), default=0) > caps.field_line_limit_bytes
    )


def _joined(fields: list[Field]) -> dict[bytes, bytes]:
    # A Host that stands there twice becomes a value with a space, which no host has.
    single: dict[bytes, bytes] = {}
    for name, value in fields:
        single[name] = single[name] + b", " + value if name in single else value
    return single


def _has_form(method: bytes, target: bytes) -> bool:
    if method == b"CONNECT":
        return _AUTHORITY_FORM.fullmatch(target) is not None
    if target == b"*":
        return method == b"OPTIONS"
    return _ABSOLUTE_FORM.fullmatch(target) is not None


def is_host(host: bytes | None) -> bool:
    """Return whether this is the value of a valid Host; None is a field that is not there."""
    if host is None:
        return False
    # Most hosts are letters, digits and dots, and this is twice as fast as the expression.
    return host.replace(b".", b"").isalnum() or _HOST.fullmatch(host) is not None


def _body_length(
    single: dict[bytes, bytes], *, modern: bool, limit_bytes: int
) -> int | Code | None:
    coding = single.get(b"transfer-encoding")
    if coding is None:
        length = _content_length(single[b"content-length"])
        return BODY_TOO_LARGE if isinstance(length, int) and length > limit_bytes else length
    if b"content-length" in single:
        return TE_AND_CL
    codings = [name.strip() for name in coding.lower().split(b",")]
    if not modern or codings.count(b"chunked") != 1 or codings[-1] != b"chunked":
        return BAD_TRANSFER_ENCODING
    return None if len(codings) == 1 else TRANSFER_ENCODING_UNSUPPORTED


def plain_length(value: bytes, limit_bytes: int) -> int:
    """Return the length that a single Content-Length states; -1 where it may be none."""
    length = -1 if _LENGTH.fullmatch(value) is None else int(value)
    return length if length <= limit_bytes else -1


def _content_length(value: bytes) -> int | Code:
    if _LENGTH.fullmatch(value) is None:
        values = [part.strip() for part in value.split(b",")]
        if not all(_LENGTH.fullmatch(part) for part in values):
            return CONTENT_LENGTH_INVALID
        if len(set(values)) != 1:
            return CONTENT_LENGTH_CONFLICT
        value = values[0]
    return int(value)
