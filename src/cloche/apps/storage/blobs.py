"""Effects of kind `blobs`: contents by path, whole or in parts.

| target | args | value |
|---|---|---|
| `put` | `{"path", "data": {"text"} or {"b64"}, "mime"?}` | what `head` gives |
| `begin` | `{"path", "mime"?}` | `{"upload"}`: parts follow |
| `write` | `{"upload", "ordinal", "data"}` | the size so far |
| `finish` | `{"upload", "path", "mime"?}` | what `head` gives |
| `read` | `{"path", "offset"?, "length"?, "hash"?}` | `head`, and `{"b64"}`; null if not there |
| `head` | `{"path"}` | `{"path", "size", "mime", "hash", "updated_at_ms"}`, or null |
| `delete` | `{"path"}` | whether it was there |
| `list` | `{"prefix"?, "after"?, "limit"?}` | what `head` gives, in the order of the paths |

Invariants:
- a path is a name and nothing else: it leads to no file;
- a blob is there whole or not at all, under the SHA-256 of its content;
- who gives `hash` reads parts of that content, or is told that another one is there now.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.storage.calls import (
    NS_PER_MS,
    Args,
    Call,
    Operation,
    Quota,
    charge,
    check_count,
    once,
)
from cloche.apps.storage.errors import BlobChangedError, StorageArgumentsError
from cloche.apps.storage.rows import BlobRow
from cloche.apps.storage.values import check_name, check_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloche.apps.storage.ports import AppRows, AppTables, BlobStreams
    from cloche.limits import Limits

PATH_LIMIT_BYTES: Final = 1024
MIME_LIMIT_BYTES: Final = 200
UPLOAD_DIGITS: Final = 32
_MIME_DEFAULT: Final = "application/octet-stream"
_OFFSET_MAX: Final = 1 << 62


class PathArgs(Args):
    """Of `head` and `delete`."""

    path: str


class PutArgs(PathArgs, kw_only=True):
    """Of `put`."""

    data: dict[str, str]
    mime: str = _MIME_DEFAULT


class BeginArgs(PathArgs):
    """Of `begin`."""

    mime: str = _MIME_DEFAULT


class WriteArgs(Args):
    """Of `write`."""

    upload: str
    ordinal: int
    data: dict[str, str]


class FinishArgs(Args):
    """Of `finish`."""

    upload: str
    path: str
    mime: str = _MIME_DEFAULT


class ReadArgs(PathArgs):
    """Of `read`."""

    offset: int = 0
    length: int | None = None
    hash: str | None = None


class ListArgs(Args):
    """Of `list`."""

    prefix: str = ""
    after: str = ""
    limit: int = 100


class Blobs:
    """The blobs of all apps."""

    def __init__(self, tables: AppTables, streams: BlobStreams, limits: Limits) -> None:
        self._tables = tables
        self._streams = streams
        self._limits = limits.apps
        self._quota = Quota(
            "blobs",
            "apps.blob_count_max",
            limits.apps.blob_count_max,
            "apps.blobs_limit_bytes",
            limits.apps.blobs_limit_bytes,
        )
        self.operations: Mapping[str, Operation] = {
            "put": Operation(PutArgs, self._put),
            "begin": Operation(BeginArgs, self._begin),
            "write": Operation(WriteArgs, self._write),
            "finish": Operation(FinishArgs, self._finish),
            "read": Operation(ReadArgs, self._read),
            "head": Operation(PathArgs, self._head),
            "delete": Operation(PathArgs, self._delete),
            "list": Operation(ListArgs, self._list),
        }

    # --- writing ---

    def _put(self, call: Call, args: PutArgs) -> dict[str, Any]:
        content = _bytes_of(args.data)
        self._check(args.path, args.mime, len(content))
        self._refuse_early(call, args.path, len(content))
        return self._keep(call, args.path, args.mime, content)

    def _begin(self, call: Call, args: BeginArgs) -> dict[str, str]:
        self._check(args.path, args.mime, 0)
        self._refuse_early(call, args.path, 0)
        upload = call.key[:UPLOAD_DIGITS]
        self._streams.begin(_owner(call), upload, call.now_ns)
        return {"upload": upload}

    def _write(self, call: Call, args: WriteArgs) -> int:
        check_count("blobs.write ordinal", args.ordinal, 0, _OFFSET_MAX)
        part = _bytes_of(args.data)
        return self._streams.write(_owner(call), args.upload, args.ordinal, part, call.now_ns)

    def _finish(self, call: Call, args: FinishArgs) -> dict[str, Any]:
        self._check(args.path, args.mime, 0)
        parts = self._streams.finish(_owner(call), args.upload)
        return self._keep(call, args.path, args.mime, parts)

    def _check(self, path: str, mime: str, size_bytes: int) -> None:
        check_name("blobs path", path, PATH_LIMIT_BYTES)
        check_name("blobs mime", mime, MIME_LIMIT_BYTES)
        check_size("the blob", size_bytes, "apps.blob_limit_bytes", self._limits.blob_limit_bytes)

    def _refuse_early(self, call: Call, path: str, size_bytes: int) -> None:
        # What does not fit is not even kept; the answer that counts comes when it is named.
        row = BlobRow(path=path, sha256="", size_bytes=size_bytes, mime="", updated_ns=0)
        self._tables.read(call.app, "blobs", lambda rows: self._charge(rows, row))

    def _keep(
        self, call: Call, path: str, mime: str, content: bytes | Iterator[bytes]
    ) -> dict[str, Any]:
        sha256, size_bytes = self._tables.put_content(content, call.now_ns)
        row = BlobRow(
            path=path, sha256=sha256, size_bytes=size_bytes, mime=mime, updated_ns=call.now_ns
        )

        def work(rows: AppRows) -> dict[str, Any]:
            self._charge(rows, row)
            rows.put_blob(row)
            return _head_of(row)

        return self._tables.write(call.app, "blobs", work)

    def _charge(self, rows: AppRows, row: BlobRow) -> None:
        before = rows.get_blob(row.path)
        size_bytes = row.size_bytes - (0 if before is None else before.size_bytes)
        charge(rows, self._quota, count=int(before is None), size_bytes=size_bytes)

    def _delete(self, call: Call, args: PathArgs) -> bool:
        check_name("blobs path", args.path, PATH_LIMIT_BYTES)

        def work(rows: AppRows) -> bool:
            row = rows.get_blob(args.path)
            if row is None:
                return False
            rows.remove_blob(row.path)
            charge(rows, self._quota, count=-1, size_bytes=-row.size_bytes)
            return True

        return bool(once(self._tables, "blobs", call, work))

    # --- reading ---

    def _find(self, call: Call, path: str) -> BlobRow | None:
        check_name("blobs path", path, PATH_LIMIT_BYTES)
        return self._tables.read(call.app, "blobs", lambda rows: rows.get_blob(path))

    def _head(self, call: Call, args: PathArgs) -> dict[str, Any] | None:
        row = self._find(call, args.path)
        return None if row is None else _head_of(row)

    def _read(self, call: Call, args: ReadArgs) -> dict[str, Any] | None:
        check_count("blobs.read offset", args.offset, 0, _OFFSET_MAX)
        most = self._limits.blob_chunk_bytes
        length = most if args.length is None else args.length
        check_count("blobs.read length", length, 1, most)
        row = self._find(call, args.path)
        if row is None or args.hash not in (None, row.sha256):
            if args.hash is None:
                return None
            raise BlobChangedError(path=args.path)
        part = b""
        if args.offset < row.size_bytes:
            part = self._streams.read(row.sha256, args.offset, length)
        return {**_head_of(row), "b64": base64.b64encode(part).decode()}

    def _list(self, call: Call, args: ListArgs) -> list[dict[str, Any]]:
        check_count("blobs.list limit", args.limit, 1, self._limits.list_count_max)
        for where, text in (("blobs.list prefix", args.prefix), ("blobs.list after", args.after)):
            if text:
                check_name(where, text, PATH_LIMIT_BYTES)
        found = self._tables.read(
            call.app,
            "blobs",
            lambda rows: rows.blobs(start=args.prefix, after=args.after, limit=args.limit),
        )
        return [_head_of(row) for row in found if row.path.startswith(args.prefix)]


def _owner(call: Call) -> str:
    """Return who a blob being written belongs to: one run of one app."""
    return f"{call.app}\0{call.run_id}"


def _bytes_of(data: dict[str, str]) -> bytes:
    if data.keys() == {"text"}:
        try:
            return data["text"].encode()
        except UnicodeEncodeError:
            raise StorageArgumentsError(where="blobs data", problem="is no UTF-8") from None
    if data.keys() != {"b64"}:
        raise StorageArgumentsError(where="blobs data", problem='is neither {"text"} nor {"b64"}')
    try:
        return base64.b64decode(data["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise StorageArgumentsError(where="blobs data", problem="is no base64") from None


def _head_of(row: BlobRow) -> dict[str, Any]:
    return {
        "path": row.path,
        "size": row.size_bytes,
        "mime": row.mime,
        "hash": row.sha256,
        "updated_at_ms": row.updated_ns // NS_PER_MS,
    }
