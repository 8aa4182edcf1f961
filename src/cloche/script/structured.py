"""Structured tool calls of a message, made as scripts make theirs.

Owns the way from a call that an API itself knows to a run, and back. There is one implementation: a
structured call becomes a run of one line, so that mode, arguments, budget, approval, journal and
undoing are those of scripts. Its arguments are parameters of the run and never program text.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from cloche.script.errors import (
    ApprovalPendingError,
    ToolBudgetExceededError,
    ToolValidationError,
)
from cloche.script.items import ScriptCall, ScriptResult, ToolCall, ToolResult
from cloche.script.messages import check_api

if TYPE_CHECKING:
    from cloche.limits import Limits
    from cloche.script.items import Api
    from cloche.script.tools import Tool, ToolSet

_POINT: Final = "__"  # APIs allow no points in names


def declarations(tools: ToolSet, *, api: Api) -> list[dict[str, Any]]:
    """Return what to tell an API of the tools; a point in a name is written `__`.

    Raises:
        ApiUnknownError: there is no such API.
    """
    check_api(api)
    return [_declaration(one, api) for one in tools.values()]


def _declaration(tool: Tool, api: Api) -> dict[str, Any]:
    name = tool.name.replace(".", _POINT)
    schema = tool.signature.parameters
    if api == "anthropic.messages":
        return {"name": name, "description": tool.description, "input_schema": schema}
    function = {"name": name, "description": tool.description, "parameters": schema}
    if api == "openai.chat":
        return {"type": "function", "function": function}
    return {"type": "function", **function}


def name_in(tools: ToolSet, name: str) -> str:
    """Return the name of the tool that an API's name stands for.

    Raises:
        ToolNotFoundError: there is none. ToolNotAllowedError: its pack is switched off.
    """
    return tools.find(name if name in tools else name.replace(_POINT, ".")).name


def arguments_of(call: ToolCall, tool: str) -> dict[str, Any]:
    """Return the arguments of a call.

    Raises:
        ToolValidationError: they are no JSON object.
    """
    try:
        found = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:
        problem = f"no JSON: {error}"
        raise ToolValidationError(tool=tool, subject="arguments", problem=problem) from None
    if not isinstance(found, dict):
        problem = f"expected an object, found {type(found).__name__}"
        raise ToolValidationError(tool=tool, subject="arguments", problem=problem)
    return found


def check_call(call: ToolCall, *, made: int, tools: ToolSet, limits: Limits) -> dict[str, Any]:
    """Return the parameters of a call's run, its tool and its arguments, after the checks.

    Args:
        call: of a message.
        made: calls of this message before it.
        tools: that there are.
        limits: the group `scripts`.

    Raises:
        ScriptError: there is no such tool, the arguments do not fit, or the budget is spent.
    """
    name = name_in(tools, call.name)
    args = tools[name].check_args(arguments_of(call, name), limits=limits)
    if made >= limits.scripts.call_count_max:
        raise ToolBudgetExceededError(limit=limits.scripts.call_count_max)
    return {"tool": name, "args": args}


def script_of(call: ToolCall, name: str) -> ScriptCall:
    """Return the script that makes a call."""
    source = f"return await tools.{name}(context.params.args)"
    return ScriptCall(
        slot=0,
        raw="",
        script_id=f"call_{call.call_id}"[:100],
        language="javascript",
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        line=1,
    )


def own_limits(limits: Limits, own: dict[str, int]) -> dict[str, int]:
    """Return the limits of a call's run: what a tool may give, the call may give."""
    return {
        **own,
        "return_limit_bytes": limits.scripts.result_limit_bytes,
        "return_depth_max": limits.gate.value_depth_max,
    }


def call_result(call: ToolCall, result: ScriptResult) -> ToolResult:
    """Return what became of a call, from its run; also after `resume`."""
    error = result.error
    if result.status == "suspended":
        error = ApprovalPendingError(tool=call.name, run_id=result.run_id).to_document()
    return ToolResult(
        call_id=call.call_id,
        name=call.name,
        value=result.value if error is None else None,
        error=error,
        status=result.status,
        run_id=result.run_id,
    )
