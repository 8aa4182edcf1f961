"""The pictures that a program wrote: what a model is shown beside what was printed."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.exec.session import Session

PICTURES: Final = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".gif": "gif",
    ".webp": "webp",
}
COUNT_MAX: Final = 8
TOTAL_LIMIT_BYTES: Final = 8 << 20  # what a message of a model may hold, about


def picture_kind(path: str) -> str | None:
    """Return the subtype of `image/` that a path's suffix says, None for no picture."""
    return PICTURES.get(PurePosixPath(path).suffix.lower())


class Pictures:
    """The pictures in a session's working directory, as they are before a run."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before = {path: _digest(content) for path, content in self._all().items()}

    def new(self) -> dict[str, bytes]:
        """Return those that are new or changed now."""
        return {
            path: content
            for path, content in self._all().items()
            if self._before.get(path) != _digest(content)
        }

    def _all(self) -> dict[str, bytes]:
        found = self._session.list_files(".", recursive=True)
        sizes = {
            entry.path: entry.size_bytes
            for entry in found
            if entry.kind == "file" and picture_kind(entry.path) is not None
        }
        return {path: self._session.download(path) for path in _fitting(sizes)}


def bounded(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return as many of these pictures as a message may hold, in the order of their paths."""
    sizes = {path: len(found[path]) for path in sorted(found)}
    return {path: found[path] for path in _fitting(sizes)}


def _fitting(sizes: Mapping[str, int]) -> list[str]:
    """Return the paths of what a message has room for, of these in their order."""
    chosen: list[str] = []
    room = TOTAL_LIMIT_BYTES
    for path, size_bytes in sizes.items():
        if len(chosen) < COUNT_MAX and size_bytes <= room:
            room -= size_bytes
            chosen.append(path)
    return chosen


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
