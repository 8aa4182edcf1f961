"""What a dry run tells of a script: its syntax, its tools, its arguments that are literals.

Nothing of the script runs and nobody is asked; an engine reads it, and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.exec.api import default_runner
from cloche.script.errors import (
    HarnessInternalError,
    ScriptError,
    ToolValidationError,
)
from cloche.script.items import ScriptCall, ScriptResult
from cloche.script.literals import literal_calls
from cloche.script.outcome import stderr_of, syntax_error
from cloche.script.programs import called_tools, unopened_brace, wrap_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.limits import Limits
    from cloche.script.finder import Language
    from cloche.script.tools import ToolSet


def check(
    call: ScriptCall,
    language: Language,
    *,
    tools: ToolSet,
    request: Callable[[str, Language, Limits], Any],
    limits: Limits,
) -> ScriptResult:
    """Return the report about a script, "checked" or "failed".

    Args:
        call: the script.
        language: of it.
        tools: what it may call.
        request: makes the request that runs a program.
        limits: of the group `scripts`.
    """
    error: ScriptError | None = unopened_brace(call.source, language)
    if error is not None:
        document = error.to_document()
        return ScriptResult(script_id=call.script_id, status="failed", error=document)
    execution = default_runner().execute(
        request(wrap_check(call.source, language), language, limits), record=False
    )
    if execution.error is not None:
        error = syntax_error(
            execution.error.message, source=call.source, stderr=stderr_of(execution.result)
        )
    report: list[dict[str, Any]] = []
    for name, line in called_tools(call.source, language):
        known = name in tools or name in {"search", "describe"}
        report.append({"tool": name, "line": line, "known": known})
        if not known and error is None:
            error = _unknown(name, tools)
    error = error or _misfit(call.source, language, tools, limits)
    return ScriptResult(
        script_id=call.script_id,
        status="checked" if error is None else "failed",
        value={"mode": "dry-run", "tools": report},
        error=None if error is None else error.to_document(),
    )


def _misfit(source: str, language: Language, tools: ToolSet, limits: Limits) -> ScriptError | None:
    """Return the error of the first call whose literal arguments do not fit."""
    for name, line, arguments in literal_calls(source, language):
        if name not in tools:
            continue
        try:
            tools[name].check_args(arguments, limits=limits)
        except ToolValidationError as error:
            problem = f"{error.fields['problem']} (line {line})"
            return ToolValidationError(tool=name, subject="arguments", problem=problem)
    return None


def _unknown(name: str, tools: ToolSet) -> ScriptError:
    try:
        tools.find(name)
    except ScriptError as error:
        return error
    return HarnessInternalError(problem=f"{name} is unknown and known")
