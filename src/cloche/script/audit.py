"""The audit of approvals: a chain in which no link can be changed unseen.

Pure. Owns the text of an entry and its hash: SHA-256 of the hash before and of the text. Whoever
keeps the last hash somewhere else can tell later whether anything before it was changed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from cloche.gate.canonical import digest, encode_canonical
from cloche.script.approvals import AuditEntry
from cloche.script.errors import AuditBrokenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloche.script.approvals import Approval

EMPTY_HASH = bytes(32)


def link(entries: Iterable[AuditEntry], last: bytes) -> Iterator[tuple[AuditEntry, bytes, bytes]]:
    """Yield each entry with its text and its hash, behind the entry with the hash `last`."""
    for entry in entries:
        text = encode_canonical(msgspec.to_builtins(entry))
        last = _hash(last, text)
        yield entry, text, last


def check(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[AuditEntry]:
    """Yield the entries of the rows (text and hash) of an audit, each after its hash was compared.

    Raises:
        AuditBrokenError: a row was changed, added or removed; nothing after it is believed.
    """
    last = EMPTY_HASH
    for index, (text, found) in enumerate(rows):
        last = _hash(last, text)
        if found != last:
            raise AuditBrokenError(index=index, problem="its hash is another")
        try:
            yield msgspec.json.decode(text, type=AuditEntry)
        except (msgspec.DecodeError, ValueError) as error:
            raise AuditBrokenError(index=index, problem=str(error)) from None


def compare(approval: Approval, text: bytes, found: bytes, before: bytes) -> str:
    """Return how an approval differs from the entry that tells of its last change, "" if not.

    Args:
        approval: as it is kept.
        text: of the entry.
        found: the hash of the entry.
        before: the hash of the entry before that.
    """
    if _hash(before, text) != found:
        return "the hash of its entry is another"
    try:
        entry = msgspec.json.decode(text, type=AuditEntry)
    except (msgspec.DecodeError, ValueError) as error:
        return str(error)
    made = approval.made
    changed = made.args if made is not None else None
    kept = AuditEntry(
        at_ms=entry.at_ms,
        approval_id=approval.id,
        run_id=approval.run_id,
        session_id=approval.session_id,
        tool=approval.tool,
        args_sha256=approval.args_sha256,
        event=approval.status,
        who=entry.who if made is None else made.who,
        verdict=None if made is None else made.verdict,
        changed_sha256="" if changed is None else digest(encode_canonical(changed)),
        reason=entry.reason if made is None else made.reason,
    )
    names = [
        name for name in entry.__struct_fields__ if getattr(kept, name) != getattr(entry, name)
    ]
    return f"its {', '.join(names)} changed" if names else ""


def _hash(last: bytes, text: bytes) -> bytes:
    return hashlib.sha256(last + text).digest()
