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
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cloche.web.errors import SettingError
from cloche.web.response import Response

if TYPE_CHECKING:
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request

_OK: Final = 200
_PARTIAL: Final = 206
_NOT_MODIFIED: Final = 304
_PRECONDITION_FAILED: Final = 412
_NOT_SATISFIABLE: Final = 416
_READING: Final = frozenset({"GET", "HEAD"})
_TAG: Final = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")
_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
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
        if not accepts_gzip(request.header("accept-encoding") or ""):
            return response
        body = _gzip(response.body, level)
        tag = response.get(b"etag")
        response = Response(response.status, response.fields, body)
        if tag is not None and not tag.startswith(b"W/"):
            # The bytes are others, so a strong tag would be wrong (RFC 9110 section 8.8.3.3).
            response = response.replacing(b"etag", b"W/" + tag)
        return response.with_field(b"content-encoding", b"gzip")

    return middleware


def accepts_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding takes gzip: named, or by `*`, and not with weight 0."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(",")[:32]:
        name, _, parameter = part.partition(";")
        weight = 1.0
        if parameter.strip().startswith("q="):
            try:
                weight = float(parameter.strip()[2:])
            except ValueError:
                weight = 0.0
        weights[name.strip()] = weight
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def parse_date(text: str) -> datetime | None:
    """Return the time of an IMF-fixdate (RFC 9110 section 5.6.7); None for any other text."""
    match = _DATE.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    month = _MONTHS.index(match[2]) + 1
    day, year, hour, minute, second = (int(match[index]) for index in (1, 3, 4, 5, 6))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _check(request: Request, response: Response) -> Response:
    """Return what the preconditions make of a response, in the order of RFC 9110 section 13.2.2."""
    tag = (response.get(b"etag") or b"").decode("latin-1")
    modified = parse_date((response.get(b"last-modified") or b"").decode("latin-1"))
    status = _precondition(request, tag, modified)
    if status is not None:
        return _without_body(response, status)
    wanted = request.header("range")
    condition = request.header("if-range")
    if (
        wanted is None
        or request.method != "GET"
        or (condition is not None and not _is_same(condition, tag, modified))
    ):
        return response.with_field(b"accept-ranges", b"bytes")
    return _part(response, wanted)


def _precondition(request: Request, tag: str, modified: datetime | None) -> int | None:
    wanted = request.header("if-match")
    if wanted is not None:
        if not _has_tag(wanted, tag, strong=True):
            return _PRECONDITION_FAILED
    elif _is_later(modified, request.header("if-unmodified-since")):
        return _PRECONDITION_FAILED
    known = request.header("if-none-match")
    if known is not None:
        return _NOT_MODIFIED if _has_tag(known, tag, strong=False) else None
    since = parse_date(request.header("if-modified-since") or "")
    unchanged = since is not None and modified is not None and modified <= since
    return _NOT_MODIFIED if unchanged else None


def _part(response: Response, wanted: str) -> Response:
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match[0] == "bytes=-":
        # Several ranges, or another unit: a server may send the whole (section 14.2).
        return response.with_field(b"accept-ranges", b"bytes")
    size = len(response.body)
    if match[1]:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return response.with_field(b"accept-ranges", b"bytes")
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        refused = _without_body(response, _NOT_SATISFIABLE)
        return refused.with_field(b"content-range", b"bytes */%d" % size)
    part = Response(_PARTIAL, response.fields, response.body[first : last + 1])
    return part.with_field(b"content-range", b"bytes %d-%d/%d" % (first, last, size))


def _without_body(response: Response, status: int) -> Response:
    fields = tuple(field for field in response.fields if field[0] in _KEPT)
    return Response(status, fields)


def _has_tag(wanted: str, tag: str, *, strong: bool) -> bool:
    if wanted.strip() == "*":
        return True
    tags = _TAG.findall(wanted)
    if strong:
        return not tag.startswith("W/") and tag in tags
    return tag.removeprefix("W/") in [found.removeprefix("W/") for found in tags]


def _is_later(modified: datetime | None, than: str | None) -> bool:
    date = parse_date(than or "")
    return date is not None and modified is not None and modified > date


def _is_same(condition: str, tag: str, modified: datetime | None) -> bool:
    if _TAG.fullmatch(condition):
        return not tag.startswith("W/") and condition == tag
    return modified is not None and parse_date(condition) == modified


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
