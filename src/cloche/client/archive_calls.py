"""What is said to a server about a session's files as one archive, and what is answered. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.client.calls import Call, _session, _struct
from cloche.server.documents import FileDocument, FileList

if TYPE_CHECKING:
    from cloche.client.calls import Reply

_TAR: Final = "application/x-tar"
# What begins with none of these is sent as a tar: the server says what is wrong with it.
_BEGINNINGS: Final = {b"PK": "application/zip", b"\x1f\x8b": "application/gzip"}


def upload_archive(
    name: str, archive: bytes, path: str, *, read_only: bool
) -> Call[list[FileDocument]]:
    """Put the files of an archive in place."""
    return Call(
        method="POST",
        path=_session(name, "files"),
        query={"path": path, "read_only": "true" if read_only else "false"},
        content=archive,
        media_type=_BEGINNINGS.get(archive[:2], _TAR),
        read=_items,
    )


def _items(reply: Reply) -> list[FileDocument]:
    return _struct(FileList)(reply).items


def download_archive(name: str, path: str) -> Call[bytes]:
    """Return a directory as a ZIP."""
    return Call(
        method="GET",
        path=_session(name, "archive"),
        query={"path": path},
        read=lambda reply: reply.content,
    )
