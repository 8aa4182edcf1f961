"""Blobs of the reference with its older magics, read as ours.

Before it was renamed the reference wrote `EVRQ` where documents say `X7RQ`, and so on; its empty
table of headers had twelve bytes. Here such a blob becomes the one that its document describes,
which the strict decoders then judge. Nothing is ever written in the old form.
"""

from __future__ import annotations

from typing import Final

from cloche.web.encodings.wire import Format, Reader

MAGICS: Final = {
    b"EVRQ": b"X7RQ",
    b"EVRS": b"X7RS",
    b"EVHT": b"X7HT",
    b"EVWC": b"X7WC",
    b"EVTL": b"X7TL",
    b"EVHC": b"X7HC",
    b"EVSL": b"X7SL",
}
_ANY: Final = Format(name="legacy blob", magic=b"", block="")
_EMPTY_TABLE: Final = b"X7HT\x01\x00\x00\x00"
_EMPTY_TABLES: Final = frozenset({magic + b"\x01" + b"\x00" * 7 for magic in (b"EVHT", b"X7HT")})
_HEAD_SIZE: Final = 8
_ANSWER: Final = 1


def modernize(data: bytes) -> bytes:
    """Return a blob of the reference in the form of its document; any other blob as it is.

    Raises:
        DecodeError: a blob that has others inside ends before they do.
    """
    if data in _EMPTY_TABLES:
        return _EMPTY_TABLE
    magic = MAGICS.get(data[:4], data[:4])
    reader = Reader(_ANY, data)
    if magic not in {b"X7RQ", b"X7RS", b"X7WC"}:
        return magic + data[4:]
    head = magic + reader.take(_HEAD_SIZE, "head")[4:]
    if magic == b"X7WC":
        parts = [modernize(reader.sized("request")), modernize(reader.sized("response"))]
    elif magic == b"X7RQ":
        parts = [reader.sized("target"), modernize(reader.sized("headers")), reader.sized("body")]
    elif head[5] == _ANSWER:
        head += reader.take(4, "status")
        parts = [modernize(reader.sized("headers")), reader.sized("body")]
    else:
        return magic + data[4:]
    rest = data[reader.offset :]
    return head + b"".join(_ANY.sized(part, "part") for part in parts) + rest
