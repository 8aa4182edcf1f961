"""Executing a part of a run again: up to one effect, and no further."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol, runtime_checkable

from cloche.exec.errors import InvalidRunError
from cloche.gate.entries import EffectCompleted, EffectRefused, EffectStarted
from cloche.gate.journal import Journal
from cloche.gate.policy import NET_KIND

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cloche.gate.effect import EffectRequest
    from cloche.gate.ports import EffectHandler


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


class OrStop(dict):  # type: ignore[type-arg]
    """Handlers; what none of them can perform stops the run instead of failing in it.

    Args:
        handlers: who performs which kind.
    """

    def __init__(self, handlers: Mapping[str, EffectHandler]) -> None:
        super().__init__(handlers)

    def get(self, kind: object, _default: object = None) -> Any:
        """Return who performs a kind of effect; nobody for calls, whom the run gets by itself."""
        found = super().get(kind)
        if isinstance(found, _Tools):
            return _KnownTools(found)
        return found if found is not None or kind == NET_KIND else StopAtLive()


@runtime_checkable
class _Tools(Protocol):
    """A handler that has some targets and not others."""

    def has(self, name: str) -> bool: ...

    def perform(self, request: EffectRequest, run_id: str, /) -> Any: ...


class _KnownTools:
    """Performs what the tools at hand can, and stops at any other."""

    def __init__(self, tools: _Tools) -> None:
        self._tools = tools

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Perform one effect, or stop."""
        if not self._tools.has(request.target):
            raise ReplayStopped(request)
        return self._tools.perform(request, run_id)


def open_effects(journal: Journal) -> set[int]:
    """Return the numbers of the effects that were started and whose outcome is not known."""
    started = {entry.sequence for entry in journal.entries if isinstance(entry, EffectStarted)}
    return started - {
        entry.sequence for entry in journal.entries if isinstance(entry, EffectCompleted)
    }


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
