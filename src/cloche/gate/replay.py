"""A recorded run as the script of a second one.

Owns the cursor over a journal and the comparison of what a guest does with what it did.
Invariants:
- what the guest or the host's own rules caused (inputs, requests, deliveries, the end) must come
  again, at the same place; what the world caused (completions) is taken from the record;
- the first difference ends the replay with both sides; nothing is compared after it.

It writes no entries: the gate does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from cloche.gate.canonical import digest, encode_plain
from cloche.gate.effect import EffectCompletion, EffectError
from cloche.gate.entries import (
    ENTRY_NAMES,
    Delivered,
    EffectCompleted,
    EffectRefused,
    EffectStarted,
    Entry,
    entry_document,
)
from cloche.gate.errors import DivergenceError, JournalUnfinishedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloche.gate.journal import Journal

# Text of a value in a divergence message; the whole value stands in the journal.
PREVIEW_LENGTH = 2000


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest got at one point of the recorded run: answers in order, and a clock advance."""

    completions: tuple[EffectCompletion, ...]
    clock_advance_ns: int

    @property
    def sequences(self) -> tuple[int, ...]:
        """The sequence numbers of the answers, in order."""
        return tuple(completion.sequence for completion in self.completions)


class Replay:
    """A cursor over a journal, finished unless the run is to go on where it stops.

    Raises (on construction):
        JournalUnfinishedError: the journal stops before the run finished, and `resume` is False.
    """

    __slots__ = ("_answers", "_entries", "_position")

    def __init__(self, journal: Journal, *, resume: bool = False) -> None:
        if journal.finish is None and not resume:
            raise JournalUnfinishedError(record_count=len(journal.entries))
        self._entries = journal.entries
        self._position = 0
        self._answers = {
            entry.sequence: completion_of(entry)
            for entry in journal.entries
            if isinstance(entry, EffectCompleted | EffectRefused)
        }

    def completed(self) -> Iterator[EffectCompleted]:
        """Yield and pass the completions that stand at the cursor."""
        while isinstance(entry := self.peek(), EffectCompleted):
            self._position += 1
            yield entry

    def peek(self) -> Entry | None:
        """Return the entry at the cursor; None at the end."""
        return None if self.exhausted else self._entries[self._position]

    @property
    def exhausted(self) -> bool:
        """Whether everything that was recorded has come again."""
        return self._position == len(self._entries)

    def answer(self, sequence: int) -> EffectCompletion:
        """Return the recorded answer to an effect that has one."""
        return self._answers[sequence]

    def delivery(self) -> Delivery | None:
        """Return the delivery at the cursor without passing it; None if another entry is there."""
        entry = self.peek()
        if not isinstance(entry, Delivered):
            return None
        completions = tuple(self._answers[sequence] for sequence in entry.sequences)
        return Delivery(completions=completions, clock_advance_ns=entry.clock_advance_ns)

    def match(self, entry: Entry) -> Entry:
        """Pass the recorded entry that this one repeats, and return it.

        A request matches a recorded refusal of the same request: the recorded decision holds.

        Raises:
            DivergenceError: another entry is recorded here, or none. The cursor stays.
        """
        recorded = self.peek()
        if isinstance(recorded, EffectRefused) and isinstance(entry, EffectStarted | EffectRefused):
            same = refusal_place(recorded) == refusal_place(entry)
        else:
            same = recorded == entry
        if recorded is None or not same:
            raise DivergenceError(
                index=self._position,
                reason=_reason(recorded, entry),
                recorded=None if recorded is None else _side(recorded),
                requested=_side(entry),
            )
        self._position += 1
        return recorded


def completion_of(entry: EffectCompleted | EffectRefused) -> EffectCompletion:
    """Return the answer that an entry records."""
    text = entry.error
    error = None if text is None else msgspec.json.decode(text, type=EffectError)
    if isinstance(entry, EffectRefused):
        return EffectCompletion(sequence=entry.sequence, error=error)
    return EffectCompletion(
        sequence=entry.sequence,
        value_text=entry.value,
        error=error,
        duration_ns=entry.duration_ns,
    )


def refusal_place(entry: EffectStarted | EffectRefused) -> tuple[object, ...]:
    """Return what must be equal for a recorded refusal to answer a request."""
    args_sha256 = entry.args_sha256 if isinstance(entry, EffectRefused) else digest(entry.args)
    return (entry.sequence, entry.task, entry.ordinal, entry.kind, entry.target, args_sha256)


def _reason(recorded: Entry | None, entry: Entry) -> str:
    requests = (EffectStarted, EffectRefused)
    if isinstance(recorded, requests) and isinstance(entry, requests):
        if refusal_place(recorded) == refusal_place(entry):
            return "the recorded effect was allowed, now policy or limits refuse it"
        names = _differing(recorded, entry, ("task", "ordinal", "kind", "target"))
        return f"another effect at the same place ({', '.join(names) or 'args'} differ)"
    if isinstance(entry, requests):
        return "an effect that was not recorded here"
    if isinstance(recorded, requests):
        return "a recorded effect is missing"
    if type(recorded) is type(entry):
        names = _differing(recorded, entry, entry.__struct_fields__)
        return f"{ENTRY_NAMES[type(entry)]} differs in {', '.join(names)}"
    return "another kind of entry was recorded here"


def _differing(recorded: Any, entry: Any, names: Sequence[str]) -> list[str]:
    return [name for name in names if getattr(recorded, name) != getattr(entry, name)]


def _side(entry: Entry) -> dict[str, Any]:
    document = entry_document(entry)
    return {name: _preview(value) for name, value in document.items()}


def _preview(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = value if isinstance(value, str) else encode_plain(value).decode()
    if len(text) <= PREVIEW_LENGTH:
        return value
    return f"{text[:PREVIEW_LENGTH]}… ({len(text)} characters)"
