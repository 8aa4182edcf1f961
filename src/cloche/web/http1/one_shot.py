"""One request as bytes in, one document as bytes out: the pinned functions of version 1.

Invariants: `parse_req_v1` accepts exactly one request with nothing behind it, and no transfer
coding; streams of requests and chunked bodies are for `parser`.
"""

from __future__ import annotations

from typing import Final

from cloche.web.encodings.errors import EncodeError
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import Method, WebRequestDocument, encode_document
from cloche.web.encodings.settings import Http1ParserCaps, decode_parser_caps
from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.errors import Http1Error
from cloche.web.http1.events import RequestHead
from cloche.web.http1.framing import (
    BODY_TOO_LARGE,
    TRANSFER_ENCODING_UNSUPPORTED,
    read_head,
)
from cloche.web.http1.head import BAD_HEADER_LINE, BAD_METHOD, HeadScanner, http1_code

BODY_WITHOUT_CONTENT_LENGTH: Final = http1_code("BODY_WITHOUT_CONTENT_LENGTH")
BODY_SIZE_MISMATCH: Final = http1_code("BODY_SIZE_MISMATCH")

_METHODS: Final = {method.value: method for method in Method}


def parse_req_v1(raw: bytes, caps: bytes = b"") -> bytes:
    """Return the EWHR document of exactly one request.

    Args:
        raw: the request as on the wire, all of it.
        caps: an EWHC blob; no bytes mean its defaults.

    Raises:
        Http1Error: the bytes are no request that is accepted; `number` says why.
        DecodeError: `caps` is no EWHC blob.
    """
    return encode_document(parse_request(raw, decode_parser_caps(caps) if caps else None))


def parse_request(raw: bytes, caps: Http1ParserCaps | None = None) -> WebRequestDocument:
    """Return exactly one request, as `parse_req_v1`.

    Raises:
        Http1Error: the bytes are no request that is accepted.
    """
    limits = Http1Caps.from_parser_caps(Http1ParserCaps() if caps is None else caps)
    found = raw.find(b"\r\n\r\n")
    if found < 0:
        raise Http1Error(reason=HeadScanner(limits, 0).scan(raw) or BAD_HEADER_LINE)
    head = read_head(raw, 0, found + 4, limits)
    if not isinstance(head, RequestHead):
        raise Http1Error(reason=head)
    method = _METHODS.get(head.method)
    if method is None:
        raise Http1Error(reason=BAD_METHOD)
    body = raw[found + 4 :]
    _check_body(head, body, limits)
    try:
        headers = HeaderTable(tuple(head.fields))
        return WebRequestDocument(
            method=method, target=head.target.encode(), headers=headers, body=body
        )
    except EncodeError as error:
        # Only the count of lines is narrower in a table than in a head.
        raise Http1Error(reason=http1_code("TOO_MANY_HEADERS")) from error


def _check_body(head: RequestHead, body: bytes, limits: Http1Caps) -> None:
    if head.content_length is None:
        raise Http1Error(reason=TRANSFER_ENCODING_UNSUPPORTED)
    if head.content_length == len(body):
        return
    if len(body) > limits.body_limit_bytes:
        raise Http1Error(reason=BODY_TOO_LARGE)
    stated = any(name == b"content-length" for name, _ in head.fields)
    raise Http1Error(reason=BODY_SIZE_MISMATCH if stated else BODY_WITHOUT_CONTENT_LENGTH)
