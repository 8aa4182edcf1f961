"""Replaying a part of a run: up to one effect, and no further."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from cloche.exec.errors import InvalidRunError
from cloche.gate.entries import EffectRefused, EffectStarted
from cloche.gate.journal import Journal

if TYPE_CHECKING:
    from cloche.gate.effect import EffectRequest


class ReplayStopped(Exception):  # noqa: N818 - what was asked for, not an error
    """The effect at which the replay was to stop was asked for.

    Args:
        request: that effect.
    """

    def __init__(self, request: EffectRequest) -> None:
        super().__init__(f"stopped at effect {request.sequence}")
        self.request = request


class StopAtLive(dict):  # type: ignore[type-arg]
    """Handlers of every kind, none of which performs anything: they stop the replay."""

    def get(self, _kind: object, _default: object = None) -> StopAtLive:
        """Return what answers any kind of effect."""
        return self

    def perform(self, request: EffectRequest, run_id: str) -> NoReturn:  # noqa: ARG002 - the port
        """Stop."""
        raise ReplayStopped(request)


def journal_until(journal: Journal, sequence: int) -> Journal:
    """Return a journal as it was just before one effect was begun.

    Raises:
        InvalidRunError: the run has no such effect.
    """
    numbers = [
        (index, entry.sequence)
        for index, entry in enumerate(journal.entries)
        if isinstance(entry, EffectStarted | EffectRefused)
    ]
    found = [index for index, number in numbers if number == sequence]
    if not found:
        raise InvalidRunError(f"the run has effects 0 to {len(numbers) - 1}; {sequence} is none")
    return Journal(journal.entries[: found[0]], bytes.fromhex(journal.hash))
