"""The pictures that appear in a session while a program runs there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cloche.server.pictures import fitting, picture_kind, shown_kind

if TYPE_CHECKING:
    from cloche.exec.session import Session


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
            if self._before.get(path) != _digest(content) and shown_kind(path, content)
        }

    def _all(self) -> dict[str, bytes]:
        found = self._session.list_files(".", recursive=True)
        sizes = {
            entry.path: entry.size_bytes
            for entry in found
            if entry.kind == "file" and picture_kind(entry.path) is not None
        }
        return {path: self._session.download(path) for path in fitting(sizes)}


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
