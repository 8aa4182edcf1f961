"""From how a guest ended to what golem:exec calls it. Pure.

The table of stops is the documentation of every limit's message: which limit, how to raise it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloche.engine.abi import Report, Stop
from cloche.exec.errors import (
    CompilationFailedError,
    ExecError,
    InternalExecError,
    ResourceExceededError,
    RuntimeFailedError,
    TimeoutExceededError,
)
from cloche.exec.types import ExecResult, StageResult
from cloche.limits import Limits

SIGNAL: Final = "SIGKILL"
EXIT_TIMEOUT: Final = 124  # as timeout(1)
EXIT_MEMORY: Final = 137  # as a shell says of a process that the out-of-memory killer took
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
) -> Ending:
    """Say how a run ended, with all that it printed."""
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
            error=_report_error(outcome, result, limits),
            exit_code=EXIT_MEMORY if outcome.resource == "memory" else outcome.exit_code,
        )
    return Ending(result=result, error=None, exit_code=outcome.exit_code)


def _stop_error(stop: Stop, result: ExecResult, limits: Limits) -> tuple[ExecError | None, int]:
    guests = limits.guests
    match stop.kind:
        case "exit":
            return None, stop.exit_code or 0
        case "time":
            return TimeoutExceededError(
                f"the program ran longer than {guests.timeout_ms} ms; raise guests.timeout_ms "
                "(--timeout) if it needs more",
                result=result,
                limit="guests.timeout_ms",
                limit_ms=guests.timeout_ms,
            ), EXIT_TIMEOUT
        case "cancelled":
            return InternalExecError("the run was cancelled", result=result, reason="cancelled"), 130
        case "memory":
            return _exceeded(
                "memory", "guests.memory_limit_bytes", guests.memory_limit_bytes, "--memory", result
            ), EXIT_MEMORY
        case "fuel":
            return _exceeded("fuel", "guests.fuel", guests.fuel, "--fuel", result), EXIT_FAILURE
        case "output":
            return _exceeded(
                "output", "guests.output_limit_bytes", guests.output_limit_bytes, "", result
            ), EXIT_FAILURE
        case "host_calls":
            return _exceeded(
                "host_calls",
                "guests.host_call_count_max",
                guests.host_call_count_max,
                "",
                result,
            ), EXIT_FAILURE
        case "turns":
            return _exceeded(
                "turns", "guests.turn_count_max", guests.turn_count_max, "", result
            ), EXIT_FAILURE
        case "effects":
            return _exceeded(
                "effects", "gate.effect_count_max", limits.gate.effect_count_max, "", result
            ), EXIT_FAILURE
        case "stack":
            return _exceeded(
                "stack", "guests.stack_limit_bytes", guests.stack_limit_bytes, "", result
            ), EXIT_FAILURE
        case _:
            return InternalExecError(stop.message, result=result, reason=stop.kind), EXIT_FAILURE


def _exceeded(
    resource: str, limit: str, value: int, option: str, result: ExecResult
) -> ResourceExceededError:
    hint = f" ({option})" if option else ""
    return ResourceExceededError(
        f"the program ran out of {resource.replace('_', ' ')}: {limit} is {value}; raise it{hint} "
        "if the program needs more",
        result=result,
        resource=resource,
        limit=limit,
        limit_value=value,
    )


def _report_error(report: Report, result: ExecResult, limits: Limits) -> ExecError:
    if report.stage == "compile":
        return CompilationFailedError(_told(report, "the program is not valid"), result=result)
    guests = limits.guests
    if report.resource == "memory":
        return _exceeded(
            "memory", "guests.memory_limit_bytes", guests.memory_limit_bytes, "--memory", result
        )
    if report.resource == "files":
        return _exceeded(
            "files", "guests.files_limit_bytes", guests.files_limit_bytes, "", result
        )
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
