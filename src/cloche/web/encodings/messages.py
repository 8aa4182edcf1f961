"""X7RQ, X7RS and EWHR: requests and responses as bytes.

Pages: http-req-v1.md, http-resp-v1.md and web-req-doc-v1.md in docs/architecture/encodings.
Invariants:
- one enum of methods, two maps: X7RQ and EWHR number PATCH, HEAD and OPTIONS differently, so a
  number of one must never be read as the other's;
- a response is an answer with a status, or a failure with a number and a text; nothing in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cloche.web.encodings.headers import (
    NO_HEADERS,
    HeaderTable,
    decode_headers,
    encode_headers,
)
from cloche.web.encodings.wire import U32_MAX, Format, Reader

REQUEST: Final = Format(name="X7RQ", magic=b"X7RQ", block="HTTP_REQ")
RESPONSE: Final = Format(name="X7RS", magic=b"X7RS", block="HTTP_RESP")
DOCUMENT: Final = Format(name="EWHR", magic=b"EWHR", block="REQ_DOC")

STATUS_MIN: Final = 100
STATUS_MAX: Final = 599
# Visible ASCII without `#`: RFC 9112 section 3.2 has no fragment in a target.
TARGET: Final = re.compile(rb"[!\"$-~]++")


class Method(Enum):
    """A method that has a number."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"


_SHARED: Final = (Method.GET, Method.POST, Method.PUT, Method.DELETE)
_REQUEST_NUMBERS: Final = (*_SHARED, Method.PATCH, Method.HEAD, Method.OPTIONS)
_DOCUMENT_NUMBERS: Final = (*_SHARED, Method.HEAD, Method.OPTIONS, Method.PATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as handlers get it. `target` is origin-form with its query, or `*` for OPTIONS.

    Raises:
        EncodeError: on construction; the target is none.
    """

    method: Method
    target: bytes
    headers: HeaderTable = NO_HEADERS
    body: bytes = b""

    def __post_init__(self) -> None:
        if not _is_origin(self.method, self.target):
            REQUEST.refuse("the target does not begin with / or is not visible ASCII")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRequestDocument:
    """A request as it was on the wire, its target in any form.

    Raises:
        EncodeError: on construction; the target is empty or not visible ASCII.
    """

    method: Method
    target: bytes
    headers: HeaderTable = NO_HEADERS
    body: bytes = b""

    def __post_init__(self) -> None:
        if TARGET.fullmatch(self.target) is None:
            DOCUMENT.refuse("the target is empty or not visible ASCII")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer: status from 100 to 599.

    Raises:
        EncodeError: on construction; the status is out of range.
    """

    status: int
    headers: HeaderTable = NO_HEADERS
    body: bytes = b""

    def __post_init__(self) -> None:
        if type(self.status) is not int or not STATUS_MIN <= self.status <= STATUS_MAX:
            RESPONSE.refuse(f"the status is not from {STATUS_MIN} to {STATUS_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFailure:
    """No answer: a number of the registry, or an application's own, and a text for people.

    Raises:
        EncodeError: on construction; the number does not fit 32 bits or is 0.
    """

    number: int
    message: str = ""

    def __post_init__(self) -> None:
        if type(self.number) is not int or not 0 < self.number <= U32_MAX:
            RESPONSE.refuse("the number of a failure is not from 1 to 2^32 - 1")
        if not _is_unicode(self.message):
            RESPONSE.refuse("the message has a lone surrogate")


def encode_request(value: HttpRequest, *, headers: bytes | None = None) -> bytes:
    """Return the X7RQ bytes of a request.

    Args:
        value: the request.
        headers: the bytes of its headers, for who has encoded them before.
    """
    if headers is None:
        headers = encode_headers(value.headers)
    return b"".join(
        (
            REQUEST.magic,
            bytes((1, _REQUEST_NUMBERS.index(value.method) + 1, 0, 0)),
            REQUEST.sized(value.target, "target"),
            REQUEST.sized(headers, "headers"),
            REQUEST.sized(value.body, "body"),
        )
    )


def decode_request(data: bytes) -> HttpRequest:
    """Return the request of exactly these X7RQ bytes.

    Raises:
        DecodeError: of X7RQ, or of X7HT for the headers inside.
    """
    reader = Reader(REQUEST, data)
    reader.magic()
    reader.version(reader.u8("version"))
    method = _method(reader, _REQUEST_NUMBERS)
    reader.zero(2, "flags")
    target = reader.sized("target")
    if not _is_origin(method, target):
        reader.fail("BAD_VALUE", "the target does not begin with / or is not visible ASCII")
    headers = decode_headers(reader.sized("headers"))
    body = reader.sized("body")
    reader.finish()
    return HttpRequest(method=method, target=target, headers=headers, body=body)


def encode_document(value: WebRequestDocument) -> bytes:
    """Return the EWHR bytes of a request."""
    return b"".join(
        (
            DOCUMENT.magic,
            DOCUMENT.u16(1, "version"),
            bytes((_DOCUMENT_NUMBERS.index(value.method) + 1, 0)),
            DOCUMENT.sized(value.target, "target"),
            DOCUMENT.sized(encode_headers(value.headers), "headers"),
            DOCUMENT.sized(value.body, "body"),
        )
    )


def decode_document(data: bytes) -> WebRequestDocument:
    """Return the request of exactly these EWHR bytes.

    Raises:
        DecodeError: of EWHR, or of X7HT for the headers inside.
    """
    reader = Reader(DOCUMENT, data)
    reader.magic()
    reader.version(reader.u16("version"))
    method = _method(reader, _DOCUMENT_NUMBERS)
    reader.zero(1, "flags")
    target = reader.sized("target")
    if TARGET.fullmatch(target) is None:
        reader.fail("BAD_VALUE", "the target is empty or not visible ASCII")
    headers = decode_headers(reader.sized("headers"))
    body = reader.sized("body")
    reader.finish()
    return WebRequestDocument(method=method, target=target, headers=headers, body=body)


def encode_response(value: HttpResponse | HttpFailure) -> bytes:
    """Return the X7RS bytes of a response."""
    if isinstance(value, HttpFailure):
        parts = (
            b"\x01\x00\x00\x00",
            RESPONSE.u32(value.number, "number"),
            RESPONSE.sized(value.message.encode(), "message"),
        )
    else:
        parts = (
            b"\x01\x01\x00\x00" + RESPONSE.u32(value.status, "status"),
            RESPONSE.sized(encode_headers(value.headers), "headers"),
            RESPONSE.sized(value.body, "body"),
        )
    return RESPONSE.magic + b"".join(parts)


def decode_response(data: bytes) -> HttpResponse | HttpFailure:
    """Return the response of exactly these X7RS bytes.

    Raises:
        DecodeError: of X7RS, or of X7HT for the headers inside.
    """
    reader = Reader(RESPONSE, data)
    reader.magic()
    reader.version(reader.u8("version"))
    tag = reader.u8("tag")
    if tag > 1:
        reader.fail("BAD_VALUE", f"tag {tag}; 1 is an answer, 0 a failure")
    reader.zero(2, "flags")
    return _answer(reader) if tag else _failure(reader)


def _answer(reader: Reader) -> HttpResponse:
    status = reader.u32("status")
    if not STATUS_MIN <= status <= STATUS_MAX:
        reader.fail("BAD_VALUE", f"status {status} is not from {STATUS_MIN} to {STATUS_MAX}")
    headers = decode_headers(reader.sized("headers"))
    body = reader.sized("body")
    reader.finish()
    return HttpResponse(status=status, headers=headers, body=body)


def _failure(reader: Reader) -> HttpFailure:
    number = reader.u32("number")
    if number == 0:
        reader.fail("BAD_VALUE", "a failure has a number above 0")
    try:
        message = reader.sized("message").decode()
    except UnicodeDecodeError:
        reader.fail("BAD_VALUE", "the message is no UTF-8")
    reader.finish()
    return HttpFailure(number=number, message=message)


def _method(reader: Reader, numbers: tuple[Method, ...]) -> Method:
    number = reader.u8("method")
    if not 1 <= number <= len(numbers):
        reader.fail("BAD_VALUE", f"method {number} is not from 1 to {len(numbers)}")
    return numbers[number - 1]


def _is_origin(method: Method, target: bytes) -> bool:
    if target == b"*":
        return method is Method.OPTIONS
    return target.startswith(b"/") and TARGET.fullmatch(target) is not None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
