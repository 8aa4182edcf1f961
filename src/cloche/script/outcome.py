"""From how a run ended to what a model is told. Pure.

Every error of a run becomes one of the taxonomy, with the line of the script where it is known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cloche.exec.errors import CompilationFailedError, TimeoutExceededError
from cloche.script.errors import (
    HarnessInternalError,
    ScriptCancelledError,
    ScriptError,
    ScriptMemoryError,
    ScriptRuntimeError,
    ScriptStackOverflowError,
    ScriptSyntaxError,
    ScriptTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.exec.errors import ExecError
    from cloche.limits import Limits
    from cloche.script.items import CallRecord

_JAVASCRIPT_LINE: Final = re.compile(r"script\.[jt]s:(\d+)")
_PYTHON_LINE: Final = re.compile(r'"script\.py", line (\d+)')
_STACK: Final = re.compile(r"RecursionError|RangeError: Maximum call stack|InternalError: stack")


def script_error(
    error: ExecError,
    *,
    stderr: str,
    records: Sequence[CallRecord],
    last_error: ScriptError | None,
    used_ms: int,
    limits: Limits,
) -> ScriptError:
    """Return what a model is told of a failed run.

    Args:
        error: how the run ended.
        stderr: with the guest's traceback.
        records: the calls of the run.
        last_error: of the last call that failed; it is the answer if the script did not catch it.
        used_ms: active time.
        limits: of the run.
    """
    limited = _limit_error(error, records, used_ms, limits)
    if limited is not None:
        return limited
    if isinstance(error, CompilationFailedError) or error.message.startswith("SyntaxError"):
        return ScriptSyntaxError(error.message, line=line_of(stderr))
    if error.blame == "cloche":
        return HarnessInternalError(problem=error.message)
    if last_error is not None and last_error.message in error.message:
        return last_error
    return ScriptRuntimeError(error.message, line=line_of(stderr))


def line_of(stderr: str) -> int | None:
    """Return the line of the script that a traceback names as the innermost one."""
    javascript = _JAVASCRIPT_LINE.search(stderr)
    if javascript:
        return int(javascript[1])
    python = _PYTHON_LINE.findall(stderr)
    return int(python[-1]) if python else None


def _limit_error(
    error: ExecError, records: Sequence[CallRecord], used_ms: int, limits: Limits
) -> ScriptError | None:
    if isinstance(error, TimeoutExceededError):
        return ScriptTimeoutError(
            timeout_ms=limits.scripts.timeout_ms,
            elapsed_ms=used_ms,
            completed=[record.tool for record in records if record.status == "completed"],
            pending=[record.tool for record in records if record.status == "pending"],
        )
    if error.fields.get("resource") == "memory":
        return ScriptMemoryError(limit_bytes=limits.scripts.memory_limit_bytes)
    if error.fields.get("resource") == "stack" or _STACK.match(error.message):
        return ScriptStackOverflowError(detail=error.message)
    if error.fields.get("reason") == "cancelled":
        return ScriptCancelledError()
    return None
