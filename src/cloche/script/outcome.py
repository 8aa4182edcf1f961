"""From how a run ended to what a model is told. Pure.

Every error of a run becomes one of the taxonomy, with the line of the script where it is known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.exec.errors import CompilationFailedError, TimeoutExceededError
from cloche.gate.canonical import encode_plain
from cloche.gate.errors import ValueInvalidError
from cloche.script.errors import (
    DetachedPromiseError,
    HarnessInternalError,
    ReturnValueTooDeepError,
    ReturnValueTooLargeError,
    ScriptCancelledError,
    ScriptError,
    ScriptMemoryError,
    ScriptRuntimeError,
    ScriptStackOverflowError,
    ScriptSyntaxError,
    ScriptTimeoutError,
    SerializationError,
)
from cloche.script.items import Status  # noqa: TC001 - msgspec reads it
from cloche.script.programs import JAVASCRIPT_BEFORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.exec.errors import ExecError
    from cloche.exec.types import ExecResult
    from cloche.limits import Limits
    from cloche.script.items import CallRecord

PREVIEW_CHARACTERS: Final = 1000  # of a return value that is too large
_JAVASCRIPT_LINE: Final = re.compile(r"script\.[jt]s:(\d+)")
_PYTHON_LINE: Final = re.compile(r'"script\.py", line (\d+)')
FRAME_COUNT_MAX: Final = 10
_JAVASCRIPT_FRAME: Final = re.compile(
    r"^\s*at (?:(?P<name>[^\s(]{1,100})[^(\n]* )?\(?"
    r"(?P<file>script\.[jt]s):(?P<line>\d+):(?P<column>\d+)\)?$",
    re.MULTILINE,
)
_PYTHON_FRAME: Final = re.compile(r'"script\.py", line (?P<line>\d+), in (?P<name>[^\n]{1,100})')
_CARET: Final = re.compile(r"^(?P<shown>.*)\n(?P<before> *)\^", re.MULTILINE)
_STACK: Final = re.compile(r"RecursionError|RangeError: Maximum call stack|InternalError: stack")


def script_error(
    error: ExecError,
    *,
    source: str,
    stderr: str,
    records: Sequence[CallRecord],
    last_error: ScriptError | None,
    used_ms: int,
    limits: Limits,
) -> ScriptError:
    """Return what a model is told of a failed run.

    Args:
        error: how the run ended.
        source: the script.
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
        return syntax_error(error.message, source=source, stderr=stderr)
    if error.blame == "cloche":
        return HarnessInternalError(problem=error.message)
    if last_error is not None and last_error.message in error.message:
        return last_error
    return ScriptRuntimeError(error.message, line=line_of(stderr), stack=stack_of(stderr))


def syntax_error(problem: str, *, source: str, stderr: str) -> ScriptSyntaxError:
    """Return what a model is told of a script that cannot be read, with the place of it."""
    line = line_of(stderr)
    lines = source.splitlines()
    if line is None or not lines:
        return ScriptSyntaxError(problem, line=line)
    # What is missing at the end of the script is missed in what stands around it.
    line = min(line, len(lines))
    text = lines[line - 1]
    problem = problem.removesuffix(f" (script.py, line {line})")
    return ScriptSyntaxError(problem, line=line, column=_column(text, stderr), snippet=text)


def _column(text: str, stderr: str) -> int | None:
    """Return the column in a line that the caret under it names, from 1."""
    found = _CARET.search(stderr)
    if found is None:
        return None
    # Around the line stand what it is indented by, and before the first one the program's start.
    begin = found["shown"].find(text.strip())
    column = len(found["before"]) - begin + len(text) - len(text.lstrip()) + 1
    return column if begin >= 0 and 1 <= column <= len(text) + 1 else None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, or that it waits: `error` says why it is not "completed"."""

    status: Status
    error: ScriptError | None = None
    value: Any = None


def timeout_error(
    records: Sequence[CallRecord], used_ms: int, limits: Limits
) -> ScriptTimeoutError:
    """Return what a model is told of a run whose time was over."""
    return ScriptTimeoutError(
        timeout_ms=limits.scripts.timeout_ms,
        elapsed_ms=used_ms,
        completed=[record.tool for record in records if record.status == "completed"],
        pending=[record.tool for record in records if record.status == "pending"],
    )


def returned_value(returned: Mapping[str, Any], limits: Limits) -> Ended:
    """Return how a run ended that handed over its value.

    Args:
        returned: what the program around the script said.
        limits: the group `scripts`.
    """
    if "problem" in returned:
        path, problem = (
            str(returned.get(name, "$"))[:PREVIEW_CHARACTERS] for name in ("path", "problem")
        )
        error = SerializationError(path=path, problem=problem)
        return Ended(status="failed", error=error)
    if returned.get("detached"):
        calls = [str(name) for name in returned["detached"]]
        return Ended(status="failed", error=DetachedPromiseError(calls=calls))
    value = returned.get("value")
    limit_bytes = limits.scripts.return_limit_bytes
    try:
        text = encode_plain(value)
    except ValueInvalidError as invalid:
        error = SerializationError(path="$", problem=str(invalid))
        return Ended(status="failed", error=error)
    depth, depth_max = _depth(value), limits.scripts.return_depth_max
    if depth > depth_max:
        deep = ReturnValueTooDeepError(
            depth_max=depth_max, found=depth, preview=text.decode()[:PREVIEW_CHARACTERS]
        )
        return Ended(status="failed", error=deep)
    if len(text) > limit_bytes:
        preview = text.decode()[:PREVIEW_CHARACTERS]
        large = ReturnValueTooLargeError(
            limit_bytes=limit_bytes, found_bytes=len(text), preview=preview
        )
        return Ended(status="failed", error=large)
    return Ended(status="completed", value=value)


def _depth(value: Any) -> int:
    """Return how many lists and objects of a value are in one another, without recursion."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, list | dict)]:
        depth += 1
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


def ended_by_itself(exit_code: int | None, stderr: str) -> Ended:
    """Return how a run ended that handed over no value."""
    if not exit_code:
        return Ended(status="completed")
    said = stderr.strip().splitlines()
    problem = f"it ended with exit code {exit_code}" + (f": {said[-1]}" if said else "")
    return Ended(status="failed", error=ScriptRuntimeError(problem))


def shown_output(output: str, limits: Limits) -> str:
    """Return what a script printed, as far as its result holds it."""
    data = output.encode()
    limit_bytes = limits.scripts.output_limit_bytes
    if len(data) <= limit_bytes:
        return output
    return data[:limit_bytes].decode("utf-8", "ignore") + "\n<truncated>"


def stderr_of(result: ExecResult) -> str:
    """Return what the guest said of an error: when it compiled the program, and when it ran it."""
    compiled = "" if result.compile is None else result.compile.stderr
    return compiled + result.run.stderr


def line_of(stderr: str) -> int | None:
    """Return the line of the script that a traceback names as the innermost one."""
    javascript = _JAVASCRIPT_LINE.search(stderr)
    if javascript:
        return int(javascript[1])
    python = _PYTHON_LINE.findall(stderr)
    return int(python[-1]) if python else None


def stack_of(stderr: str) -> list[str]:
    """Return the script's own frames of a traceback, the innermost first: `name script.ts:3:5`."""
    frames: list[str] = []
    for found in _JAVASCRIPT_FRAME.finditer(stderr):
        line, column = int(found["line"]), int(found["column"])
        if line == 1:
            column -= len(JAVASCRIPT_BEFORE)
        if column > 0:  # else it is the program around the script
            frames.append(f"{found['name'] or '<script>'} {found['file']}:{line}:{column}")
    python = [(found["name"], int(found["line"])) for found in _PYTHON_FRAME.finditer(stderr)]
    if [name for name, _ in python].count("<module>") > 1:
        del python[0]  # as above
    for name, line in reversed(python):
        frames.append(f"{'<script>' if name == '<module>' else name} script.py:{line}")
    return frames[:FRAME_COUNT_MAX]


def _limit_error(
    error: ExecError, records: Sequence[CallRecord], used_ms: int, limits: Limits
) -> ScriptError | None:
    if isinstance(error, TimeoutExceededError):
        return timeout_error(records, used_ms, limits)
    if error.fields.get("resource") == "memory":
        return ScriptMemoryError(limit_bytes=limits.scripts.memory_limit_bytes)
    if error.fields.get("resource") == "stack" or _STACK.match(error.message):
        return ScriptStackOverflowError(detail=error.message)
    if error.fields.get("reason") == "cancelled":
        return ScriptCancelledError()
    return None
