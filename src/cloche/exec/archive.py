"""A whole session as one signed file.

Pure: bytes in, bytes out. Layout: magic, version, HMAC-SHA-256 over all that follows, then a zstd
frame of the msgpack body. Nothing is parsed or decompressed before the signature is checked; what
is inside was written by cloche, and is checked again where it is used (journals by their chain,
snapshots by their own signature, contents by their digests).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec
import zstandard

from cloche.exec.errors import ArchiveError
from cloche.exec.session_log import SessionSettings, Step  # noqa: TC001 - msgspec reads them

MAGIC: Final = b"CLSA"
VERSION: Final = 1
_HEAD_BYTES: Final = len(MAGIC) + 1
_MAC_BYTES: Final = 32
_LEVEL: Final = 3


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds.

    Args:
        settings: of the session.
        steps: its history, in order.
        snapshot: sealed, or None; taken after the step `snapshot_ordinal`.
        contents: by SHA-256: what the uploads brought.
        journals: by run id: encoded records.
    """

    settings: SessionSettings
    steps: list[Step]
    snapshot: bytes | None
    snapshot_ordinal: int
    contents: dict[str, bytes]
    journals: dict[str, list[bytes]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Archive)


def pack(archive: Archive, key: bytes) -> bytes:
    """Return an archive as signed bytes."""
    body = zstandard.ZstdCompressor(level=_LEVEL).compress(_encoder.encode(archive))
    head = MAGIC + bytes([VERSION])
    return head + _sign(head, body, key) + body


def unpack(data: bytes, key: bytes, *, limit_bytes: int) -> Archive:
    """Check and open an archive.

    Raises:
        ArchiveError: it is none, was changed, was signed with another key, or is too large.
    """
    head, mac, body = (
        data[:_HEAD_BYTES],
        data[_HEAD_BYTES : _HEAD_BYTES + _MAC_BYTES],
        data[_HEAD_BYTES + _MAC_BYTES :],
    )
    if head[: len(MAGIC)] != MAGIC or len(mac) != _MAC_BYTES:
        raise ArchiveError("this is no exported session: it does not start with CLSA")
    if head[-1] != VERSION:
        raise ArchiveError(
            f"the archive has format {head[-1]}, expected {VERSION}; use the version of cloche "
            "that wrote it"
        )
    if not hmac.compare_digest(mac, _sign(head, body, key)):
        raise ArchiveError(
            "the archive's signature does not match: it was changed, or exported with another "
            "key; set CLOCHE_KEY_FILE to the key of the machine that exported it"
        )
    size = zstandard.frame_content_size(body)
    if not 0 <= size <= limit_bytes:
        raise ArchiveError(
            f"the archive expands to {size} bytes; sessions.archive_limit_bytes is {limit_bytes}"
        )
    try:
        return _decoder.decode(
            zstandard.ZstdDecompressor().decompress(body, max_output_size=limit_bytes)
        )
    except (msgspec.DecodeError, zstandard.ZstdError) as error:
        raise ArchiveError(f"the archive is damaged: {error}") from error


def _sign(head: bytes, body: bytes, key: bytes) -> bytes:
    return hmac.new(key, head + body, hashlib.sha256).digest()
