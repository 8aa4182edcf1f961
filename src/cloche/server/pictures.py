"""The pictures that a program wrote: what a model is shown beside what was printed.

Pure: which files are pictures, which of them are new, and how many a message has room for.
Invariant: what is shown begins as a picture of its kind does, since models refuse a whole message
for one that does not.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloche.engine.vfs import StoredFile

PICTURES: Final = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".gif": "gif",
    ".webp": "webp",
}
_STARTS: Final = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "gif": re.compile(rb"GIF8[79]a"),
    "webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
COUNT_MAX: Final = 8
TOTAL_LIMIT_BYTES: Final = 8 << 20  # what a message of a model may hold, about


def picture_kind(path: str) -> str | None:
    """Return the subtype of `image/` that a path's suffix says, None for no picture."""
    return PICTURES.get(posixpath.splitext(path)[1].lower())


def shown_kind(path: str, content: bytes) -> str | None:
    """Return the subtype of `image/` of a file that begins as its suffix says, else None."""
    kind = picture_kind(path)
    return kind if kind is not None and _STARTS[kind].match(content) else None


def drawn(
    files: Iterable[StoredFile], *, given: Iterable[StoredFile], cwd: str
) -> dict[str, bytes]:
    """Return the pictures that a run of its own wrote, by path; as many as a message may hold.

    Args:
        files: those that it left.
        given: those that it began with.
        cwd: what the paths of those are relative to.
    """
    before = {posixpath.normpath(posixpath.join(cwd, one.path)): one.content for one in given}
    return bounded(
        {
            one.path: one.content
            for one in files
            if shown_kind(one.path, one.content) is not None and before.get(one.path) != one.content
        }
    )


def bounded(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return as many of these pictures as a message may hold, in the order of their paths."""
    sizes = {path: len(found[path]) for path in sorted(found) if shown_kind(path, found[path])}
    return {path: found[path] for path in fitting(sizes)}


def fitting(sizes: Mapping[str, int]) -> list[str]:
    """Return the paths of what a message has room for, of these in their order."""
    chosen: list[str] = []
    room = TOTAL_LIMIT_BYTES
    for path, size_bytes in sizes.items():
        if len(chosen) < COUNT_MAX and size_bytes <= room:
            room -= size_bytes
            chosen.append(path)
    return chosen
