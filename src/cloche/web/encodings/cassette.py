"""X7WC: one recorded request with its response (docs/architecture/encodings/web-cassette-v1.md).

A container and nothing more: many pairs are many blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloche.web.encodings.messages import (
    HttpFailure,
    HttpRequest,
    HttpResponse,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from cloche.web.encodings.wire import Format, Reader

FORMAT: Final = Format(name="X7WC", magic=b"X7WC", block="CASSETTE")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebCassette:
    """A request and what answered it."""

    request: HttpRequest
    response: HttpResponse | HttpFailure


def encode_cassette(value: WebCassette) -> bytes:
    """Return the bytes of a pair."""
    request = FORMAT.sized(encode_request(value.request), "request")
    response = FORMAT.sized(encode_response(value.response), "response")
    return FORMAT.magic + b"\x01\x00\x00\x00" + request + response


def decode_cassette(data: bytes) -> WebCassette:
    """Return the pair of exactly these bytes.

    Raises:
        DecodeError: of X7WC, or of the encoding inside that is broken.
    """
    reader = Reader(FORMAT, data)
    reader.magic()
    reader.version(reader.u8("version"))
    reader.zero(3, "flags and reserved bytes")
    request = decode_request(reader.sized("request"))
    response = decode_response(reader.sized("response"))
    reader.finish()
    return WebCassette(request=request, response=response)
