"""The files of an app that are served as they are.

They have a tag and no date: after a rollback an older file is news, and a date would hide it from
who asks for what changed since. A file is found by its path alone; what decides how it is sent
(ranges, tags, codings) is that of `cloche.web.static`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.web.adapters.static_files import MemoryFiles
from cloche.web.app import App as WebApp
from cloche.web.request import Request
from cloche.web.response import Response
from cloche.web.static import add_static

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.apps.ports import Line
    from cloche.apps.versions import Ready

_INDEX: Final = "index.html"
_DATES: Final = frozenset({b"if-modified-since", b"last-modified"})


async def file_of(ready: Ready, request: Request, path: str) -> Response | None:
    """Return what a request gets of the file at a path; None where there is none.

    Args:
        ready: the version.
        request: GET or HEAD; says how the file is sent, not which.
        path: below the static folder, with a slash in front.
    """
    folder, files = ready.manifest.static_folder, ready.bundle.by_path
    base = f"{folder}/{path.strip('/')}".rstrip("/")
    if not folder or (base not in files and f"{base}/{_INDEX}" not in files):
        return None
    site = ready.site = ready.site or _site(ready)
    response = await site.handle(_redirected(request, path))
    return Response(response.status, _undated(response.fields), response.body, response.length)


def _site(ready: Ready) -> WebApp:
    prefix = f"{ready.manifest.static_folder}/"
    content = {
        each.removeprefix(prefix): data
        for each, data in ready.bundle.files
        if each.startswith(prefix)
    }
    site = WebApp()
    # The tag of a file is made of its time: another version is another time.
    mtime_ns = int(ready.bundle.digest[:12], 16) * 1000
    add_static(site, "", MemoryFiles(content, mtime_ns=mtime_ns))
    return site


def _redirected(request: Request, path: str) -> Request:
    """Return a request for a file, with what decides how it is sent."""
    return Request(
        method=request.method,
        target=path,
        services=request.services,
        fields=_undated(request.fields),
        scheme=request.scheme,
        client=request.client,
    )


def _undated(fields: Sequence[Line]) -> tuple[Line, ...]:
    return tuple(each for each in fields if each[0] not in _DATES)
