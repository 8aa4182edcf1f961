"""Which lines of a script people see when they decide about a call. Pure.

A call is found by the name that the program writes. Where the name stands in several places, or
nowhere because it was computed, no single line can be named; all places are shown then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.script.programs import call_places

if TYPE_CHECKING:
    from cloche.script.finder import Language

AROUND: Final = 2  # lines before and behind a call
PLACE_COUNT_MAX: Final = 3
LINE_CHARACTERS_MAX: Final = 200


def excerpt(source: str, language: Language, tool: str) -> tuple[int | None, str]:
    """Return the line of the only call of a tool, or None, and the lines around all its calls.

    Each line has its number before it; `>` marks those of a call.
    """
    lines = source.splitlines()
    found = sorted({line for name, line in call_places(source, language) if name == tool})
    if not found:
        return None, ""
    marked = found[:PLACE_COUNT_MAX]
    shown: list[int] = []
    for line in marked:
        first, last = max(1, line - AROUND), min(len(lines), line + AROUND)
        shown += [number for number in range(first, last + 1) if number not in shown]
    texts = [
        f"{'>' if number in marked else ' '}{number:4} {lines[number - 1][:LINE_CHARACTERS_MAX]}"
        for number in shown
    ]
    if len(found) > len(marked):
        texts.append(f"      and {len(found) - len(marked)} more calls")
    return (found[0] if len(found) == 1 else None), "\n".join(texts)
