"""A run that a process is at work on, and what becomes of it as a result.

It reads the desk, and keeps nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.script.adapters.desk import rejection
from cloche.script.errors import ScriptCancelledError
from cloche.script.items import ScriptResult, settled
from cloche.script.outcome import (
    Ended,
    ended_by_itself,
    returned_value,
    script_error,
    shown_output,
    stderr_of,
    timeout_error,
)

if TYPE_CHECKING:
    from cloche.exec.adapters.runner import Execution
    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.script.adapters.active import ActiveTime
    from cloche.script.adapters.calls import ScriptCalls
    from cloche.script.adapters.desk import Desk
    from cloche.script.adapters.shelf import Asked, ShelfSink, Taken


@dataclass(slots=True, kw_only=True)
class Work:
    """A run that this process is at work on; `limits` are those of this run."""

    taken: Taken
    asked: Asked
    request: Any
    calls: ScriptCalls
    limits: Limits
    journal: Journal | None
    used_ms: int
    is_new: bool = False
    attempts: int = 1
    sink: ShelfSink | None = None
    time: ActiveTime | None = None

    @property
    def id(self) -> str:
        """Of the run."""
        return self.taken.row.id

    def go_live(self) -> None:
        """Count time from here on."""
        if self.time is not None:
            self.time.go_live()

    def flush(self) -> None:
        """Keep what was recorded."""
        if self.sink is not None:
            self.sink.flush()


def end_of(work: Work, execution: Execution, desk: Desk) -> Ended:
    """Return how a run ended."""
    status = desk.run_status(work.id) if work.calls.has_asked else "active"
    if status != "active":
        return Ended(status="rejected", error=rejection(status, desk.of_run(work.id)))
    if execution.error is None:
        if work.calls.returned is None:
            exit_code = execution.result.run.exit_code
            return ended_by_itself(exit_code, stderr_of(execution.result))
        return returned_value(work.calls.returned, work.limits)
    if work.time is not None and work.time.timed_out:
        late = timeout_error(work.calls.records, work.used_ms, work.limits)
        return Ended(status="failed", error=late)
    error = script_error(
        execution.error,
        source=work.asked.source,
        stderr=stderr_of(execution.result),
        records=work.calls.records,
        last_error=work.calls.failure_in(execution.error.message),
        used_ms=work.used_ms,
        limits=work.limits,
    )
    stopped = isinstance(error, ScriptCancelledError)
    return Ended(status="cancelled" if stopped else "failed", error=error)


def result_of(work: Work, execution: Execution, ended: Ended) -> ScriptResult:
    """Return what became of a run, as far as it came."""
    calls = work.calls.records
    usage = {
        "time_ms": work.used_ms,
        "memory_bytes": execution.result.memory_bytes or 0,
        "tool_calls": len(calls),
    }
    if work.attempts > 1:
        usage["attempts"] = work.attempts
    return ScriptResult(
        script_id=work.asked.script_id,
        run_id=work.id,
        status=ended.status,
        value=ended.value,
        output=shown_output(execution.result.run.stdout, work.limits),
        tool_calls=calls if ended.status == "suspended" else settled(calls),
        error=None if ended.error is None else ended.error.to_document(),
        usage=usage,
        journal_id=execution.journal_hash,
    )


def unfinished(work: Work, status: Any) -> ScriptResult:
    """Return the result of a run whose process was stopped."""
    error = ScriptCancelledError(reason="the process that ran it was stopped")
    calls = work.calls.records
    return ScriptResult(
        script_id=work.asked.script_id,
        run_id=work.id,
        status=status,
        tool_calls=settled(calls) if status == "cancelled" else calls,
        error=error.to_document(),
    )
