"""A journal as JSON Lines, for people and their tools, and back.

Invariants:
- one line per record: `index`, `entry`, the fields of the entry in their order, `hash`;
- JSON text inside entries stands as JSON; the data of a content as `{"$base64": …}`;
- nothing is lost: `from_json_lines` gives the same records, or an error.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import msgspec

from cloche.errors import ClocheError
from cloche.gate.canonical import encode_canonical, encode_plain
from cloche.gate.entries import CANONICAL_FIELDS, PLAIN_FIELDS, Content, Entry, entry_document
from cloche.gate.errors import JournalCorruptError
from cloche.gate.journal import Chain, JournalReader, read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloche.limits import Limits


def to_json_lines(chunks: bytes | Iterable[bytes], limits: Limits) -> Iterator[str]:
    """Yield one line per verified record, each with its line feed; raises as `JournalReader`."""
    reader = JournalReader(limits)
    for index, (record, entry) in enumerate(read_records(chunks, reader)):
        document = {"index": index, **entry_document(entry)}
        if isinstance(entry, Content):
            document["data"] = {"$base64": b64encode(entry.data).decode()}
        # The hash is the last field of a record, 32 bytes.
        document["hash"] = record[-32:].hex()
        yield encode_plain(document).decode() + "\n"


def from_json_lines(lines: Iterable[str], limits: Limits) -> Iterator[bytes]:
    """Yield the encoded record of each line.

    Raises:
        JournalCorruptError: a line is not what `to_json_lines` writes, or its hash is another.
    """
    chain = Chain(limits)
    for index, line in enumerate(lines):
        try:
            document = msgspec.json.decode(line, type=dict[str, Any])
            found = (document.pop("index"), document.pop("hash"))
            record = chain.append(_entry(document))
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError, ClocheError) as error:
            raise JournalCorruptError(index=index, problem=f"no line: {error}") from error
        if found != (index, chain.head.hex()):
            problem = "its index or its hash is not the one of its entry"
            raise JournalCorruptError(index=index, problem=problem)
        yield record


def _entry(document: dict[str, Any]) -> Entry:
    tag = document["entry"]
    for name in CANONICAL_FIELDS.get(tag, ()):
        if not _is_absent(name, document):
            document[name] = encode_canonical(document[name])
    for name in PLAIN_FIELDS.get(tag, ()):
        if not _is_absent(name, document):
            document[name] = encode_plain(document[name])
    if tag == "content":
        document["data"] = b64decode(document["data"]["$base64"], validate=True)
    entry: Entry = msgspec.convert(document, type=Entry)
    return entry


def _is_absent(name: str, document: dict[str, Any]) -> bool:
    if document[name] is not None:
        return False
    # A completed effect has a value of JSON null, or no value because it has an error. Fields are
    # converted in order, value before error, so the error here is still a document or None.
    return name == "error" or (name == "value" and document["error"] is not None)
