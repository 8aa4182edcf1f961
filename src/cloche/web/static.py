"""Files as responses: one file for a handler, or a folder below a prefix.

Owns which names are shown and what a request gets of a file; where files lie is behind the port
`Files`.
Invariants:
- a name that leads out of a folder on any system, or is hidden, is never asked of the port;
- whatever cannot be shown is 404, so a client cannot tell a file that is hidden from none;
- a file is read in pieces as the client takes them, and closed at the end or when the client goes.

Compressed files are those that lie beside: `a.css.br` and `a.css.gz`, if not older than `a.css`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cloche.web.errors import NotFoundError, ResponseError, SettingError
from cloche.web.media_types import media_type_of
from cloche.web.representation import accepts_coding, find_span, precondition, write_date
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, redirect
from cloche.web.target import percent_encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloche.web.app import App
    from cloche.web.http1.events import Field
    from cloche.web.ports import Files, OpenFile

PIECE_SIZE: Final = 65_536
_NS_PER_S: Final = 1_000_000_000
_OK, _PARTIAL, _NOT_SATISFIABLE = 200, 206, 416
_CODINGS: Final = (("br", ".br"), ("gzip", ".gz"))  # the smaller first
# Backslash and colon lead elsewhere on Windows, as do trailing dots and spaces.
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f/\\:]*[^\x00-\x1f\x7f/\\:. ]")
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_SHOWN: Final = ".well-known"  # RFC 8615
_CACHE_CONTROL: Final = re.compile(r"[!-~ ]*")
_PART_COUNT_MAX: Final = 64


def add_static(
    app: App,
    prefix: str,
    files: Files,
    *,
    index: str | None = "index.html",
    cache_control: str = "no-cache",
) -> None:
    """Show a folder below a prefix.

    Args:
        app: the application that gets two routes.
        prefix: `/static`; a path with a slash at its end shows the index there.
        files: the folder.
        index: the file that a folder shows, or None for none. There are no lists of files.
        cache_control: `no-cache` asks each time whether the file is still the same. For names that
            change with their content, `public, max-age=31536000, immutable` asks never.

    Raises:
        SettingError: `cache_control` or `index` cannot be written.
        RouteError: as `App.add`.
    """
    if _CACHE_CONTROL.fullmatch(cache_control) is None:
        raise SettingError(setting="cache_control", problem="it is not visible ASCII")
    if index is not None and _parts(index) is None:
        raise SettingError(setting="index", problem="it is no name of a file")

    async def show(rest: str, request: Request) -> Response:
        """Show a file."""
        path = rest
        if rest.endswith("/") or not rest:
            path = rest + index if index is not None else ""
        parts = _parts(path)
        found = None if parts is None else await files.open(parts)
        if found is not None:
            assert parts is not None
            return await _chosen(request, files, parts, found, cache_control)
        if index is not None and parts is not None and path == rest:
            inside = await files.open((*parts, index))
            if inside is not None:
                inside.close()
                return redirect(percent_encode(parts[-1]) + "/", 308)
        raise NotFoundError(path=request.path)

    async def show_index(request: Request) -> Response:
        """Show the index."""
        return await show("", request)

    # Their names are those of operations in the OpenAPI document, where each is alone.
    slug = re.sub(r"[^A-Za-z0-9]", "_", prefix)
    show.__name__, show_index.__name__ = f"files{slug}", f"index{slug}"
    app.add("GET", f"{prefix}/*rest", show)
    app.add("GET", f"{prefix}/", show_index)


async def file_response(
    request: Request,
    file: OpenFile,
    *,
    content_type: str,
    download: str | None = None,
    fields: tuple[Field, ...] = (),
    tag: str | None = None,
) -> Response:
    """Return what a request gets of an open file, and close it: all, a range, or that it is known.

    Args:
        request: its preconditions and range count.
        file: is closed by the response, also if that is never sent.
        content_type: what it is.
        download: a name under which browsers save it instead of showing it.
        fields: more fields of the response, in lowercase.
        tag: the ETag in quotes; without it one of size and time of the last change.

    Raises:
        ResponseError: the name of a download has control characters. The file is closed.
        OSError: the file cannot be read. It is closed.
    """
    try:
        return await _respond(request, file, content_type, download, fields, tag)
    except BaseException:
        file.close()
        raise


async def _respond(
    request: Request,
    file: OpenFile,
    content_type: str,
    download: str | None,
    fields: tuple[Field, ...],
    tag: str | None,
) -> Response:
    size, mtime_ns = file.info.size, file.info.mtime_ns
    tag = f'"{mtime_ns:x}-{size:x}"' if tag is None else tag
    modified = datetime.fromtimestamp(mtime_ns // _NS_PER_S, UTC)
    common = (
        (b"etag", tag.encode("latin-1")),
        (b"last-modified", write_date(modified)),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
        *fields,
    )
    described: tuple[Field, ...] = ((b"content-type", content_type.encode("latin-1")), *common)
    if download is not None:
        described = (*described, (b"content-disposition", _disposition(download)))
    status = precondition(request, tag, modified)
    if status is not None:
        file.close()
        return Response(status, _without_coding(common))
    span = find_span(request, size, tag, modified)
    if span == "none":
        file.close()
        refused = (*_without_coding(common), (b"content-range", b"bytes */%d" % size))
        return Response(_NOT_SATISFIABLE, refused)
    if span is not None:
        described = (*described, (b"content-range", span.content_range(size)))
        return await _sent(request, file, _PARTIAL, described, span.first, span.size)
    return await _sent(request, file, _OK, described, 0, size)


async def _sent(
    request: Request,
    file: OpenFile,
    status: int,
    fields: tuple[Field, ...],
    offset: int,
    size: int,
) -> Response:
    if request.method == "HEAD":
        file.close()
        return Response(status, fields, iter(()), size)
    if size <= PIECE_SIZE:
        content = await file.read(offset, size)
        file.close()
        return Response(status, fields, content)
    return Response(status, fields, _Pieces(file, offset, size), size)


class _Pieces:
    """A part of a file, piece by piece. Closes the file, whether it was read or not."""

    def __init__(self, file: OpenFile, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self._left = size

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            self._file.close()
            raise StopAsyncIteration
        piece = await self._file.read(self._offset, min(PIECE_SIZE, self._left))
        if not piece:
            # It is shorter than it was: what was promised cannot be kept.
            self._file.close()
            raise ResponseError(problem="a file became shorter while it was sent")
        self._offset += len(piece)
        self._left -= len(piece)
        return piece

    async def aclose(self) -> None:
        """Give the file back."""
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


async def _chosen(
    request: Request, files: Files, parts: tuple[str, ...], file: OpenFile, cache_control: str
) -> Response:
    """Return the response with the file itself, or one beside it that is compressed."""
    fields: tuple[Field, ...] = (
        (b"cache-control", cache_control.encode("ascii")),
        (b"vary", b"accept-encoding"),
    )
    accepted = request.header("accept-encoding") or ""
    content_type = media_type_of(parts[-1])
    for coding, ending in _CODINGS:
        if not accepts_coding(accepted, coding):
            continue
        packed = await files.open((*parts[:-1], parts[-1] + ending))
        if packed is None:
            continue
        if packed.info.mtime_ns < file.info.mtime_ns:
            packed.close()
            continue
        file.close()
        tag = f'"{packed.info.mtime_ns:x}-{packed.info.size:x}-{coding}"'
        fields = (*fields, (b"content-encoding", coding.encode()))
        return await file_response(
            request, packed, content_type=content_type, fields=fields, tag=tag
        )
    return await file_response(request, file, content_type=content_type, fields=fields)


def _parts(path: str) -> tuple[str, ...] | None:
    """Return the names of a path, None where one is not to be shown on some system."""
    parts = tuple(path.split("/"))
    if len(parts) > _PART_COUNT_MAX or not all(map(_is_shown, parts)):
        return None
    return parts


def _is_shown(name: str) -> bool:
    return (
        _NAME.fullmatch(name) is not None
        and (not name.startswith(".") or name == _SHOWN)
        and _DEVICE.fullmatch(name) is None
    )


def _without_coding(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    return tuple(field for field in fields if field[0] != b"content-encoding")


def _disposition(name: str) -> bytes:
    """Return a content-disposition (RFC 6266) with the name in both forms."""
    if not name.isprintable() or not name:
        raise ResponseError(problem="the name of a download is empty or has control characters")
    plain = "".join(c if c.isascii() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{percent_encode(name)}".encode()
