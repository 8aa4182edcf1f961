"""What of a recorded run another one needs or takes over: tools, first calls, the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.gate.entries import EffectCompleted, EffectStarted
from cloche.script.adapters.calls import QUIET
from cloche.script.errors import ScriptRunStateError
from cloche.script.programs import JAVASCRIPT_BEFORE, PYTHON_BEFORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.gate.journal import Journal
    from cloche.script.adapters.shelf import Asked
    from cloche.script.approvals import Approval
    from cloche.script.items import ScriptResult


def changed_program(code: str, asked: Asked, source: str) -> str:
    """Return the recorded program with another script in it.

    A script may be a word that the program around it has, too: it is the one behind that.
    """
    is_python = asked.language == "python"
    before = PYTHON_BEFORE if is_python else JAVASCRIPT_BEFORE
    old, new = (repr(asked.source), repr(source)) if is_python else (asked.source, source)
    return before + new + code.removeprefix(before).removeprefix(old)


def used_tools(
    asked: Iterable[Approval], known: ScriptResult | None, journal: Journal | None
) -> set[str]:
    """Return the tools that a run has used or waits for.

    Args:
        asked: what it asked about.
        known: what it had done when it was put away; None if it was not.
        journal: instead, None where it has not begun.
    """
    used = {one.tool for one in asked}
    if known is not None:
        return used | {call.tool for call in known.tool_calls if call.status == "completed"}
    calls: dict[int, str] = {}
    for entry in () if journal is None else journal.entries:
        if isinstance(entry, EffectStarted) and entry.target not in QUIET:
            calls[entry.sequence] = entry.target
        elif isinstance(entry, EffectCompleted) and entry.sequence in calls and entry.error is None:
            used.add(calls[entry.sequence])
    return used


def prefix_count(run_id: str, journal: Journal, calls: int) -> int:
    """Return how many entries of a journal there are before the call after so many."""
    count, still_open = 0, set[int]()
    for index, entry in enumerate(journal.entries):
        if isinstance(entry, EffectStarted) and entry.target not in QUIET:
            if count == calls:
                if still_open:
                    problem = f"had calls without answers where call {calls + 1} began"
                    raise ScriptRunStateError(run_id=run_id, problem=problem)
                return index
            count += 1
            still_open.add(entry.sequence)
        elif isinstance(entry, EffectCompleted):
            still_open.discard(entry.sequence)
    most = f"from 0 to {count - 1} of them" if count else "none: run the script anew instead"
    problem = f"made {count} calls, and {calls} cannot be shared; a fork shares {most}"
    raise ScriptRunStateError(run_id=run_id, problem=problem)
