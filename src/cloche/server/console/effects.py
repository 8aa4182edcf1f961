"""The effects of a run on a time axis, and one of them in full.

Owns how a journal becomes bars. A journal keeps how long each effect took and how far the clock of
the program went on before an answer reached it; from these follows where each bar begins. Pure, but
that entries come from a store.
Invariants: bars are in the order in which effects began; no bar leaves the axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.exec.adapters.session_store import read_records
from cloche.gate.entries import Delivered, EffectCompleted, EffectRefused, EffectStarted
from cloche.gate.journal import JournalReader, encode_file
from cloche.gate.journal import read_records as read_entries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.gate.entries import Entry
    from cloche.limits import Limits
    from cloche.store.ports import Store

BAR_COUNT_MAX: Final = 50  # what a page has room for
_NS_PER_MS: Final = 1_000_000
_PERMILLE: Final = 1000
_BAR_MIN: Final = 4  # so that a short effect can be seen, and hit


@dataclass(kw_only=True)
class Effect:
    """An effect: what was asked, what came back, and when, in nanoseconds since the run began."""

    sequence: int
    kind: str
    target: str
    start_ns: int
    args: Any = None
    outcome: str = "pending"
    value: Any = None
    error: Any = None
    duration_ns: int = 0
    delivered_ns: int | None = None
    size_bytes: int = 0

    @property
    def duration_ms(self) -> float:
        """How long the world took."""
        return self.duration_ns / _NS_PER_MS

    @property
    def wait_ms(self) -> float:
        """How long the answer lay there before the program took it."""
        if self.delivered_ns is None:
            return 0.0
        return max(0, self.delivered_ns - self.start_ns - self.duration_ns) / _NS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An effect on the axis: places and lengths are thousandths of its width."""

    effect: Effect
    start: int
    length: int
    wait: int


def effects_in(entries: Iterable[Entry]) -> list[Effect]:
    """Return the effects of a journal, in the order in which they began."""
    found: dict[int, Effect] = {}
    now_ns = 0
    for entry in entries:
        if isinstance(entry, EffectStarted):
            found[entry.sequence] = _begun(entry, now_ns)
        elif isinstance(entry, EffectRefused):
            refused = _refused(entry, now_ns)
            found[entry.sequence] = refused
        elif isinstance(entry, EffectCompleted):
            _complete(found[entry.sequence], entry)
        elif isinstance(entry, Delivered):
            now_ns += entry.clock_advance_ns
            for sequence in entry.sequences:
                if sequence in found:
                    found[sequence].delivered_ns = now_ns
    return list(found.values())


def _begun(entry: EffectStarted, now_ns: int) -> Effect:
    return Effect(
        sequence=entry.sequence,
        kind=entry.kind,
        target=entry.target,
        start_ns=now_ns,
        args=_json(entry.args),
        size_bytes=len(entry.args),
    )


def _refused(entry: EffectRefused, now_ns: int) -> Effect:
    return Effect(
        sequence=entry.sequence,
        kind=entry.kind,
        target=entry.target,
        start_ns=now_ns,
        outcome="refused",
        error=_json(entry.error),
    )


def _complete(effect: Effect, entry: EffectCompleted) -> None:
    effect.outcome = "completed" if entry.error is None else "failed"
    effect.value, effect.error = _json(entry.value), _json(entry.error)
    effect.duration_ns = entry.duration_ns
    effect.size_bytes += len(entry.value or entry.error or b"")


def _json(text: bytes | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def effects_of(store: Store, run_id: str, limits: Limits) -> list[Effect]:
    """Return the effects of a run that is kept.

    Raises:
        JournalError: its journal was changed.
    """
    records = read_records(store, run_id)
    if not records:
        return []
    return effects_in(
        entry for _, entry in read_entries(encode_file(records), JournalReader(limits))
    )


def bars_of(effects: list[Effect]) -> list[Bar]:
    """Return the first effects as bars of one axis."""
    shown = effects[:BAR_COUNT_MAX]
    end_ns = max((_end_ns(each) for each in shown), default=0) or 1
    return [_bar(each, end_ns) for each in shown]


def _end_ns(effect: Effect) -> int:
    return max(effect.start_ns + effect.duration_ns, effect.delivered_ns or 0)


def _bar(effect: Effect, end_ns: int) -> Bar:
    start = min(effect.start_ns * _PERMILLE // end_ns, _PERMILLE - _BAR_MIN)
    length = max(_BAR_MIN, effect.duration_ns * _PERMILLE // end_ns)
    length = min(length, _PERMILLE - start)
    wait = int(effect.wait_ms * _NS_PER_MS) * _PERMILLE // end_ns
    return Bar(
        effect=effect, start=start, length=length, wait=min(wait, _PERMILLE - start - length)
    )
