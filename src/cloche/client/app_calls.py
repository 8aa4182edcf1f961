"""What is said to a server about apps, and what its answers mean. Pure, but for a folder's files.

Invariant: the same files give the same archive.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.apps.bundle import is_kept
from cloche.apps.errors import BundleError
from cloche.client.calls import Call, _lines, _nothing, _part, _query, _struct
from cloche.server.app_documents import (
    ActionList,
    AppDocument,
    AppList,
    DeployDocument,
    LogDocument,
    LogList,
    RequestList,
    RequestReplayDocument,
    VersionList,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Source = bytes | str | os.PathLike[str]

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the oldest time that a ZIP can say


def packed(source: Source) -> bytes:
    """Return an archive: bytes as they are, a file's content, the files below a folder.

    Raises:
        BundleError: a folder has a link or something that is no file.
        OSError: there is no such file.
    """
    if isinstance(source, bytes):
        return source
    place = Path(source)
    if not place.is_dir():
        return place.read_bytes()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_files_below(place)):
            entry = zipfile.ZipInfo(file.relative_to(place).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return out.getvalue()


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = filter(is_kept, folders)
        for file in (Path(root, name) for name in [*folders, *names] if is_kept(name)):
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                shown = file.relative_to(folder).as_posix()
                raise BundleError(path=shown, problem="is a link or no file; put the file itself")
            if file.is_file():
                yield file


def deploy(
    name: str, archive: bytes, env: Mapping[str, str] | None, canary: int | None
) -> Call[DeployDocument]:
    """Deploy an archive."""
    content, media_type = archive, "application/octet-stream"
    if env is not None:
        content, media_type = _form(archive, msgspec.json.encode(dict(env)))
    return Call(
        method="POST",
        path=_app(name, "versions"),
        query=_query(canary=canary),
        content=content,
        media_type=media_type,
        read=_struct(DeployDocument),
    )


def _form(archive: bytes, env: bytes) -> tuple[bytes, str]:
    # No archive holds the hash of itself.
    boundary = hashlib.sha256(archive + env).hexdigest()
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="archive"; filename="app"\r\n'
        "content-type: application/octet-stream\r\n\r\n".encode(),
        archive,
        f'\r\n--{boundary}\r\ncontent-disposition: form-data; name="env"\r\n\r\n'.encode(),
        env,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def list_apps() -> Call[AppList]:
    """Return the apps."""
    return Call(method="GET", path="/v1/apps", read=_struct(AppList))


def get_app(name: str) -> Call[AppDocument]:
    """Return an app."""
    return Call(method="GET", path=_app(name), read=_struct(AppDocument))


def remove_app(name: str) -> Call[None]:
    """Remove an app."""
    return Call(method="DELETE", path=_app(name), read=_nothing)


def list_versions(name: str) -> Call[VersionList]:
    """Return the versions of an app."""
    return Call(method="GET", path=_app(name, "versions"), read=_struct(VersionList))


def list_actions(name: str) -> Call[ActionList]:
    """Return what was done to an app."""
    return Call(method="GET", path=_app(name, "actions"), read=_struct(ActionList))


def roll_back(name: str, to: str) -> Call[AppDocument]:
    """Let another version answer."""
    path = _app(name, "rollback")
    return Call(method="POST", path=path, body={"to": to}, read=_struct(AppDocument))


def change_app(name: str, verb: str) -> Call[AppDocument]:
    """Promote, stop or start."""
    return Call(method="POST", path=_app(name, verb), read=_struct(AppDocument))


def set_env(name: str, values: Mapping[str, str], remove: Iterable[str]) -> Call[AppDocument]:
    """Set and remove variables."""
    body = {"set": dict(values), "remove": list(remove)}
    return Call(method="POST", path=_app(name, "env"), body=body, read=_struct(AppDocument))


# --- what happened ---


def logs(
    name: str, level: str | None, request: str | None, after_ms: int | None, limit: int | None
) -> Call[LogList]:
    """Return lines of an app's log."""
    query = _query(level=level, request=request, after_ms=after_ms, limit=limit)
    return Call(method="GET", path=_app(name, "logs"), query=query, read=_struct(LogList))


def follow_logs(name: str, level: str | None, request: str | None) -> Call[None]:
    """Listen to an app's log."""
    query = _query(level=level, request=request)
    return Call(method="GET", path=_app(name, "logs"), query=query, read=_nothing)


def list_requests(name: str, limit: int | None) -> Call[RequestList]:
    """Return recorded requests."""
    query = _query(limit=limit)
    return Call(method="GET", path=_app(name, "requests"), query=query, read=_struct(RequestList))


def request_journal(name: str, request_id: str) -> Call[list[str]]:
    """Return the lines of a recorded request's journal."""
    path = _app(name, f"requests/{_part(request_id)}/journal")
    return Call(method="GET", path=path, read=_lines)


def replay_request(name: str, request_id: str) -> Call[RequestReplayDocument]:
    """Execute a recorded request again."""
    path = _app(name, f"requests/{_part(request_id)}/replay")
    return Call(method="POST", path=path, read=_struct(RequestReplayDocument))


class LogReader:
    """Reads lines of a log from events, as their bytes come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[LogDocument]:
        """Take some bytes; return the lines that they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [
            msgspec.json.decode(line.removeprefix(b"data:"), type=LogDocument)
            for line in lines
            if line.startswith(b"data:")
        ]


def _app(name: str, rest: str = "") -> str:
    path = f"/v1/apps/{_part(name)}"
    return f"{path}/{rest}" if rest else path
