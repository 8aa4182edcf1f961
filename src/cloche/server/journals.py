"""The journals of runs, as they are answered: JSON Lines, and the effects as a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.exec.adapters.session_store import read_records
from cloche.gate.entries import EffectCompleted, EffectRefused, EffectStarted, entry_document
from cloche.gate.export import to_json_lines
from cloche.gate.journal import JournalReader, encode_file
from cloche.gate.journal import read_records as read_entries
from cloche.server.documents import EffectDocument, TimelineDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.limits import Limits
    from cloche.store.ports import Store

NS_PER_MS: Final = 1_000_000


def journal_lines(store: Store, run_id: str, limits: Limits) -> Iterator[str]:
    """Yield the journal of a run as JSON Lines, as far as it is kept.

    Raises:
        JournalError: it was changed.
    """
    records = read_records(store, run_id)
    return to_json_lines(encode_file(records), limits) if records else iter(())


def timeline(store: Store, run_id: str, limits: Limits) -> TimelineDocument:
    """Return the effects of a run, in the order in which they began.

    Raises:
        JournalError: its journal was changed.
    """
    records = read_records(store, run_id)
    effects: dict[int, EffectDocument] = {}
    if records:
        for _, entry in read_entries(encode_file(records), JournalReader(limits)):
            if isinstance(entry, EffectStarted | EffectRefused):
                effects[entry.sequence] = _begun(entry)
            elif isinstance(entry, EffectCompleted):
                effects[entry.sequence] = _completed(effects[entry.sequence], entry)
    return TimelineDocument(run_id=run_id, effects=list(effects.values()))


def _begun(entry: EffectStarted | EffectRefused) -> EffectDocument:
    data: dict[str, Any] = entry_document(entry)
    return EffectDocument(
        sequence=entry.sequence,
        kind=entry.kind,
        target=entry.target,
        args=data.get("args"),
        outcome="refused" if isinstance(entry, EffectRefused) else None,
        error=data.get("error"),
    )


def _completed(effect: EffectDocument, entry: EffectCompleted) -> EffectDocument:
    data: dict[str, Any] = entry_document(entry)
    return msgspec.structs.replace(
        effect,
        outcome="completed" if entry.error is None else "failed",
        duration_ms=entry.duration_ns / NS_PER_MS,
        error=data["error"],
    )
