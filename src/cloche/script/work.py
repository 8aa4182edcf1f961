"""A run that a process is at work on, and what becomes of it as a result.

It reads the desk, and keeps nothing.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cloche.script.adapters.calls import run_async
from cloche.script.adapters.desk import rejection
from cloche.script.approvals import Made
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
    from collections.abc import Awaitable, Callable

    from cloche.exec.adapters.runner import Execution
    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.script.adapters.active import ActiveTime
    from cloche.script.adapters.calls import ScriptCalls
    from cloche.script.adapters.desk import Desk
    from cloche.script.adapters.shelf import Asked, ShelfSink, Taken
    from cloche.script.approvals import Approval

    Approver = Callable[[Approval], "Made | Awaitable[Made | None] | None"]


_OTHER_EFFECTS: Final = 10_000  # searches and returns, which are no tool calls
_EFFECTS_AT_ONCE: Final = 1024  # what the gate allows; calls queue here, or are over their budget


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

    def flush(self, *, is_lazy: bool = False) -> None:
        """Keep what was recorded; see `ShelfSink.flush`."""
        if self.sink is not None:
            self.sink.flush(is_lazy=is_lazy)


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


def made_by(approver: Approver, approval: Approval) -> Made | None:
    """Return what an approver, sync or async, decides about a call.

    Raises:
        TypeError: it is neither a decision nor None.
    """
    made: Any = approver(approval)
    if inspect.isawaitable(made):
        awaitable = made

        async def answered() -> Any:
            return await awaitable

        made = run_async(answered)
    if made is None or isinstance(made, Made):
        return made
    raise TypeError(f"an approver returns Made or None, found {type(made).__name__}")


def guest_limits(limits: Limits) -> Limits:
    """Return the limits of the run of a script: those of scripts are those of its guest."""
    scripts = limits.scripts
    return limits.replace(
        {
            "guests": {
                "timeout_ms": scripts.timeout_ms,
                "memory_limit_bytes": scripts.memory_limit_bytes,
            },
            "gate": {
                "effect_count_max": scripts.call_count_max + _OTHER_EFFECTS,
                "effect_concurrency_max": _EFFECTS_AT_ONCE,
            },
        }
    )
