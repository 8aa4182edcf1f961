"""What happens to scripts, told as it happens, and counted.

Owns the events that an application shows, and the numbers that it watches. Invariants:
- every run is told of when it begins or goes on, and when it waits or is over, in this order;
- whoever is told is no part of the run: an error of a callback changes nothing;
- numbers only grow, and name no script, argument or person.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.script.adapters.shelf import Asked
    from cloche.script.items import ScriptResult

EventKind = Literal["started", "resumed", "suspended", "completed", "failed"]


class ScriptEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a run.

    Args:
        kind: "failed" is every end that is not "completed"; `status` says which.
        run_id: of the run.
        script_id: of its call in the message.
        session_id: of the run.
        language: of the script.
        sha256: of the script.
        status: of the result; empty while it runs.
        code: of the error, if there is one.
        time_ms: active time so far.
        tool_calls: made so far.
    """

    kind: EventKind
    run_id: str
    script_id: str
    session_id: str
    language: str
    sha256: str
    status: str = ""
    code: str = ""
    time_ms: int = 0
    tool_calls: int = 0


def begun(kind: Literal["started", "resumed"], run_id: str, asked: Asked) -> ScriptEvent:
    """Return the event of a run that begins or goes on."""
    return ScriptEvent(
        kind=kind,
        run_id=run_id,
        script_id=asked.script_id,
        session_id=asked.session_id,
        language=asked.language,
        sha256=asked.sha256,
    )


def stopped(asked: Asked, result: ScriptResult) -> ScriptEvent:
    """Return the event of a run that waits, or is over."""
    kinds: dict[str, EventKind] = {"completed": "completed", "suspended": "suspended"}
    return ScriptEvent(
        kind=kinds.get(result.status, "failed"),
        run_id=result.run_id,
        script_id=asked.script_id,
        session_id=asked.session_id,
        language=asked.language,
        sha256=asked.sha256,
        status=result.status,
        code="" if result.error is None else result.error["code"],
        time_ms=result.usage.get("time_ms", 0),
        tool_calls=len(result.tool_calls),
    )


class Metrics:
    """Counts of what became of scripts. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def count(self, result: ScriptResult, *, mode: str) -> None:
        """Count a result of a script, and the calls of one that is over."""
        with self._lock:
            self._add("cloche_scripts_total", mode=mode, status=result.status)
            if result.error is not None:
                self._add("cloche_script_errors_total", code=result.error["code"])
            if result.status == "suspended":
                return
            self._add("cloche_script_time_ms_total", result.usage.get("time_ms", 0))
            for call in result.tool_calls:
                self._add("cloche_script_calls_total", tool=call.tool, status=call.status)

    def _add(self, name: str, more: int = 1, **labels: str) -> None:
        self._counts[name, tuple(sorted(labels.items()))] += more

    def snapshot(self) -> dict[str, int]:
        """Return the numbers by their names with labels, in order."""
        with self._lock:
            found = sorted(self._counts.items())
        return {_written(name, labels): count for (name, labels), count in found}

    def prometheus(self) -> str:
        """Return the numbers as Prometheus reads them."""
        lines: list[str] = []
        before = ""
        for name, count in self.snapshot().items():
            family = name.partition("{")[0]
            if family != before:
                lines.append(f"# TYPE {family} counter")
                before = family
            lines.append(f"{name} {count}")
        return "".join(f"{line}\n" for line in lines)


class Teller:
    """Tells of runs: a callback, if there is one, and the numbers."""

    def __init__(self, on_event: Callable[[ScriptEvent], None] | None, metrics: Metrics) -> None:
        self._on_event = on_event
        self._metrics = metrics

    def begins(self, kind: Literal["started", "resumed"], run_id: str, asked: Asked) -> None:
        """Tell of a run that begins or goes on."""
        self._tell(begun(kind, run_id, asked))

    def stops(self, asked: Asked, result: ScriptResult) -> None:
        """Tell of a run that waits, or is over."""
        self._metrics.count(result, mode="enabled")
        self._tell(stopped(asked, result))

    def _tell(self, event: ScriptEvent) -> None:
        if self._on_event is not None:
            with suppress(Exception):
                self._on_event(event)


def _written(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    # Names of tools, codes, modes and statuses have nothing that would need to be escaped.
    inner = ",".join(f'{label}="{value}"' for label, value in labels)
    return f"{name}{{{inner}}}" if inner else name
