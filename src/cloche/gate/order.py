"""The rules of order between the entries of a journal.

Invariants: a story that passes could have been written by a gate. Inputs come first, effects are
counted without gaps, completed once, delivered once after their answer, and the end is the end.
It knows neither bytes nor hashes, nor what is inside args and values.
"""

from __future__ import annotations

from cloche.gate.entries import (
    FORMAT_VERSION,
    Content,
    Delivered,
    EffectCompleted,
    EffectRefused,
    EffectStarted,
    Entry,
    RunFinished,
    RunStarted,
)


class Order:
    """Follows the entries of one journal; `finished` tells whether the run's end was seen."""

    __slots__ = ("_answered", "_next_sequence", "_open", "_phase", "finished")

    def __init__(self) -> None:
        self.finished = False
        self._phase = "start"
        self._next_sequence = 0
        self._open: set[int] = set()
        self._answered: set[int] = set()

    def step(self, entry: Entry) -> str:
        """Return what is wrong with this entry here, or an empty string; wrong is absorbing."""
        if self.finished:
            return "an entry after run_finished"
        if isinstance(entry, RunStarted):
            return self._start(entry)
        if self._phase == "start":
            return "the first entry is not run_started"
        if isinstance(entry, Content):
            return "" if self._phase == "contents" else "a content after the first effect"
        self._phase = "effects"
        return self._step_effect(entry)

    def _step_effect(
        self, entry: EffectStarted | EffectRefused | EffectCompleted | Delivered | RunFinished
    ) -> str:
        if isinstance(entry, RunFinished):
            self.finished = True
            return ""
        if isinstance(entry, EffectCompleted):
            return self._complete(entry)
        if isinstance(entry, Delivered):
            return self._deliver(entry)
        return self._request(entry)

    def _start(self, entry: RunStarted) -> str:
        if self._phase != "start":
            return "a second run_started"
        self._phase = "contents"
        if entry.format != FORMAT_VERSION:
            return f"run_started has format {entry.format}, the file {FORMAT_VERSION}"
        return ""

    def _request(self, entry: EffectStarted | EffectRefused) -> str:
        if entry.sequence != self._next_sequence:
            return f"effect {entry.sequence} where effect {self._next_sequence} is due"
        self._next_sequence += 1
        (self._open if isinstance(entry, EffectStarted) else self._answered).add(entry.sequence)
        return ""

    def _complete(self, entry: EffectCompleted) -> str:
        if entry.sequence not in self._open:
            return f"effect {entry.sequence} is complete but was not open"
        if (entry.value is None) == (entry.error is None):
            return f"effect {entry.sequence} needs a value or an error, not both"
        self._open.remove(entry.sequence)
        self._answered.add(entry.sequence)
        return ""

    def _deliver(self, entry: Delivered) -> str:
        for sequence in entry.sequences:
            if sequence not in self._answered:
                return f"effect {sequence} is delivered but has no answer to deliver"
            self._answered.remove(sequence)
        return ""
