"""A script as its page shows it: its lines with their calls, and its effects.

Pure. Invariants: arguments, values and errors of calls are those of the result, which hides what a
tool keeps secret, and never those of the journal; what belongs to no call of the result is shown
without them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cloche.script.programs import call_places
from cloche.server.console.shown import Room

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloche.script.finder import Language
    from cloche.server.console.effects import Effect

LINE_SHOWN: Final = 300  # characters
_ROOM_BYTES: Final = 24_000
_LINE_MARKUP: Final = " " * 40  # what a line costs beside its text


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a script.

    Args:
        number: from 1.
        text: cut to `LINE_SHOWN`.
        tools: what the line calls, in order.
        calls: what became of the calls that were made from it: tool and status.
    """

    number: int
    text: str
    tools: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]


def lines_of(
    source: str, language: Language, calls: Iterable[Mapping[str, Any]]
) -> tuple[list[Line], int]:
    """Return the lines that a page has room for, and how many there are.

    Args:
        source: the script.
        language: of it.
        calls: that it made, as in its result; one whose line cannot be told is on none.
    """
    tools: dict[int, list[str]] = {}
    for tool, number in call_places(source, language):
        tools.setdefault(number, []).append(tool)
    made: dict[int, list[tuple[str, str]]] = {}
    for call in calls:
        if call["line"]:
            made.setdefault(call["line"], []).append((call["tool"], call["status"]))
    texts, room = source.splitlines(), Room(_ROOM_BYTES)
    shown = []
    for number, text in enumerate(texts, 1):
        short = text if len(text) <= LINE_SHOWN else f"{text[: LINE_SHOWN - 1]}…"
        names, became = tuple(tools.get(number, ())), tuple(made.get(number, ()))
        if not room.takes(
            short,
            _LINE_MARKUP,
            *names,
            *(f"{_LINE_MARKUP}{tool}{status}{status}" for tool, status in became),
        ):
            break
        shown.append(Line(number=number, text=short, tools=names, calls=became))
    return shown, len(texts)


def with_calls(effects: Sequence[Effect], calls: Iterable[Mapping[str, Any]]) -> list[Effect]:
    """Return effects with what the result says of their calls; nothing where it has none.

    Both are in the order in which they began, so that they are matched tool by tool.
    """
    waiting: dict[str, list[Mapping[str, Any]]] = {}
    for each in calls:
        waiting.setdefault(each["tool"], []).append(each)
    found: list[Effect] = []
    for effect in effects:
        known = waiting.get(effect.target)
        call = known.pop(0) if known else None
        found.append(_visible(effect, call))
    return found


def _visible(effect: Effect, call: Mapping[str, Any] | None) -> Effect:
    if call is None:
        return replace(effect, args=None, value=None, error=None)
    return replace(effect, args=call["args"], value=call["value"], error=call["error"])
