"""From how a guest ended to what golem:exec calls it. Pure.

The table of stops is the documentation of every limit's message: which limit, how to raise it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cloche.engine.abi import Report, Stop
from cloche.exec.errors import (
    CompilationFailedError,
    ExecError,
    InternalExecError,
    ResourceExceededError,
    RunCancelledError,
    RuntimeFailedError,
    TimeoutExceededError,
)
from cloche.exec.types import ExecResult, StageResult

if TYPE_CHECKING:
    from cloche.limits import Limits

SIGNAL: Final = "SIGKILL"
EXIT_TIMEOUT: Final = 124  # as timeout(1)
EXIT_MEMORY: Final = 137  # as a shell says of a process that the out-of-memory killer took
EXIT_CANCELLED: Final = 130  # as a shell says of Ctrl-C
EXIT_FAILURE: Final = 1
MESSAGE_LENGTH_MAX: Final = 10_000  # of what a guest says of its own error


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Args:
        result: what golem:exec returns.
        error: None when the program ended by itself.
        exit_code: what a shell would see.
    """

    result: ExecResult
    error: ExecError | None
    exit_code: int

    @property
    def stage(self) -> str:
        """Which stage ended the run: "compile" or "run"."""
        return "compile" if isinstance(self.error, CompilationFailedError) else "run"


def ending_of(
    outcome: Report | Stop,
    *,
    stdout: bytes,
    stderr: bytes,
    time_ms: int,
    memory_bytes: int,
    limits: Limits,
    quota: str = "",
) -> Ending:
    """Say how a run ended, with all that it printed.

    Args:
        outcome: the guest's report, or what stopped it.
        stdout: all of it.
        stderr: all of it.
        time_ms: wall time.
        memory_bytes: peak of the guest's memory.
        limits: of the run.
        quota: which limit of the group `guests` the files met last, if any.
    """
    out, err = stdout.decode(errors="replace"), stderr.decode(errors="replace")
    stopped = isinstance(outcome, Stop) and outcome.kind != "exit"
    exit_code = None if stopped else outcome.exit_code or 0
    stage = StageResult(
        stdout=out, stderr=err, exit_code=exit_code, signal=SIGNAL if stopped else None
    )
    compiled: StageResult | None = None
    if isinstance(outcome, Report) and outcome.stage == "compile" and outcome.state == "failed":
        compiled, stage = stage, StageResult(stdout="", stderr="")
    result = ExecResult(compile=compiled, run=stage, time_ms=time_ms, memory_bytes=memory_bytes)
    if isinstance(outcome, Stop):
        error, shell_code = _stop_error(outcome, result, limits)
        return Ending(result=result, error=error, exit_code=shell_code)
    if outcome.state == "failed":
        return Ending(
            result=result,
            error=_report_error(outcome, result, limits, quota),
            exit_code=EXIT_MEMORY if outcome.resource == "memory" else outcome.exit_code,
        )
    return Ending(result=result, error=None, exit_code=outcome.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ceiling:
    """A limit that ends a run: its path, the option that raises it, what a shell sees."""

    limit: str
    option: str = ""
    exit_code: int = EXIT_FAILURE


_CEILINGS: Final[dict[str, _Ceiling]] = {
    "memory": _Ceiling(limit="guests.memory_limit_bytes", option="--memory", exit_code=EXIT_MEMORY),
    "files": _Ceiling(limit="guests.files_limit_bytes"),
    "fuel": _Ceiling(limit="guests.fuel", option="--fuel"),
    "output": _Ceiling(limit="guests.output_limit_bytes"),
    "host_calls": _Ceiling(limit="guests.host_call_count_max"),
    "turns": _Ceiling(limit="guests.turn_count_max"),
    "effects": _Ceiling(limit="gate.effect_count_max"),
    "stack": _Ceiling(limit="guests.stack_limit_bytes"),
}


def _stop_error(stop: Stop, result: ExecResult, limits: Limits) -> tuple[ExecError | None, int]:
    if stop.kind == "exit":
        return None, stop.exit_code or 0
    if stop.kind == "time":
        timeout_ms = limits.guests.timeout_ms
        timeout = TimeoutExceededError(
            f"the program ran longer than {timeout_ms} ms; raise guests.timeout_ms (--timeout) if "
            "it needs more",
            result=result,
            limit="guests.timeout_ms",
            limit_ms=timeout_ms,
        )
        return timeout, EXIT_TIMEOUT
    if stop.kind in _CEILINGS:
        return _exceeded(stop.kind, limits, result), _CEILINGS[stop.kind].exit_code
    if stop.kind == "cancelled":
        cancelled = RunCancelledError("the run was cancelled", result=result, reason=stop.kind)
        return cancelled, EXIT_CANCELLED
    return InternalExecError(stop.message, result=result, reason=stop.kind), EXIT_FAILURE


def _exceeded(
    resource: str, limits: Limits, result: ExecResult, quota: str = ""
) -> ResourceExceededError:
    ceiling = _CEILINGS[resource]
    if resource == "files" and quota:
        ceiling = _Ceiling(limit=f"guests.{quota}")
    group, name = ceiling.limit.split(".")
    value: int = getattr(getattr(limits, group), name)
    hint = f" ({ceiling.option})" if ceiling.option else ""
    return ResourceExceededError(
        f"the program ran out of {resource.replace('_', ' ')}: {ceiling.limit} is {value}; raise "
        f"it{hint} if the program needs more",
        result=result,
        resource=resource,
        limit=ceiling.limit,
        limit_value=value,
    )


def _report_error(report: Report, result: ExecResult, limits: Limits, quota: str) -> ExecError:
    if report.stage == "compile":
        return CompilationFailedError(_told(report, "the program is not valid"), result=result)
    if report.resource in {"memory", "files"}:
        return _exceeded(report.resource, limits, result, quota)
    return RuntimeFailedError(
        _told(report, "the program failed"), result=result, resource=report.resource
    )


def _told(report: Report, otherwise: str) -> str:
    error = report.error
    if error is None:
        return otherwise
    text = f"{error.name}: {error.message}" if error.message else error.name or otherwise
    # A guest's string may hold half a surrogate pair, which no journal and no terminal takes.
    return text[:MESSAGE_LENGTH_MAX].encode("utf-8", "replace").decode()
