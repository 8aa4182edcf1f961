"""Fewer bytes: conditional requests and ranges, and compression.

Invariants:
- only whole answers of 200 to GET and HEAD are touched; streams pass as they are;
- nothing here changes what a client finally has.

Compression is not on by itself: where a page has a secret and also text that someone else chose,
the length of the compressed page tells the secret (BREACH). Use it for what has no secrets.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import TYPE_CHECKING, Final

from cloche.web.errors import SettingError
from cloche.web.representation import accepts_coding, find_span, parse_date, precondition
from cloche.web.response import Response

if TYPE_CHECKING:
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request

_OK: Final = 200
_PARTIAL: Final = 206
_NOT_SATISFIABLE: Final = 416
_READING: Final = frozenset({"GET", "HEAD"})
# What a 304 repeats of the 200 (RFC 9110 section 15.4.5), and what middleware inside may have set.
_KEPT: Final = frozenset(
    b"cache-control content-location date etag expires last-modified set-cookie vary".split()
)
_COMPRESSIBLE: Final = re.compile(
    rb"text/(?!event-stream).*|application/(?:json|javascript|xml|.*\+json|.*\+xml)(?:;.*)?|"
    rb"image/svg\+xml.*"
)
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no time, no system: same bytes


def conditional() -> Middleware:
    """Answer 304, 412, 206 and 416 where a request asks for it (RFC 9110 sections 13 and 14).

    A response without an ETag gets a strong one, made of its body.
    """

    async def middleware(request: Request, following: Next) -> Response:
        response = await following(request)
        if request.method not in _READING or response.status != _OK or response.is_stream:
            return response
        if response.get(b"etag") is None:
            digest = hashlib.sha256(response.body).hexdigest()[:32]
            response = response.with_field(b"etag", f'"{digest}"'.encode())
        return _check(request, response)

    return middleware


def compress(*, size_min: int = 1024, level: int = 6) -> Middleware:
    """Compress text for clients that take gzip. Read the warning at the top of this module.

    Raises:
        SettingError: the level is not from 1 to 9.
    """
    if not 1 <= level <= 9:  # noqa: PLR2004 - zlib's own range
        raise SettingError(setting="level", problem="it is not from 1 to 9")

    async def middleware(request: Request, following: Next) -> Response:
        response = await following(request)
        if not _is_compressible(response, size_min):
            return response
        response = response.with_field(b"vary", b"accept-encoding")
        if not accepts_coding(request.header("accept-encoding") or "", "gzip"):
            return response
        body = _gzip(response.body, level)
        tag = response.get(b"etag")
        response = Response(response.status, response.fields, body)
        if tag is not None and not tag.startswith(b"W/"):
            # The bytes are others, so a strong tag would be wrong (RFC 9110 section 8.8.3.3).
            response = response.replacing(b"etag", b"W/" + tag)
        return response.with_field(b"content-encoding", b"gzip")

    return middleware


def _check(request: Request, response: Response) -> Response:
    """Return what preconditions and a range make of a response."""
    tag = (response.get(b"etag") or b"").decode("latin-1")
    modified = parse_date((response.get(b"last-modified") or b"").decode("latin-1"))
    status = precondition(request, tag, modified)
    if status is not None:
        return _without_body(response, status)
    size = len(response.body)
    span = find_span(request, size, tag, modified)
    if span is None:
        return response.with_field(b"accept-ranges", b"bytes")
    if span == "none":
        refused = _without_body(response, _NOT_SATISFIABLE)
        return refused.with_field(b"content-range", b"bytes */%d" % size)
    part = Response(_PARTIAL, response.fields, response.body[span.first : span.last + 1])
    return part.with_field(b"content-range", span.content_range(size))


def _without_body(response: Response, status: int) -> Response:
    fields = tuple(field for field in response.fields if field[0] in _KEPT)
    return Response(status, fields)


def _is_compressible(response: Response, size_min: int) -> bool:
    return (
        not response.is_stream
        and response.status == _OK
        and len(response.body) >= size_min
        and response.get(b"content-encoding") is None
        and b"no-transform" not in (response.get(b"cache-control") or b"")
        and _COMPRESSIBLE.fullmatch(response.get(b"content-type") or b"") is not None
    )


def _gzip(body: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(body) + packer.flush()
    tail = zlib.crc32(body).to_bytes(4, "little") + (len(body) & 0xFFFFFFFF).to_bytes(4, "little")
    return _GZIP_HEAD + packed + tail
