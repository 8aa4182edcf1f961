"""Host functions as effects of kind `tool`: the smallest handler, by name."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from cloche.gate.effect import EffectRequest
from cloche.gate.ports import EffectFailure

TOOL_KIND = "tool"


class ToolHandler:
    """Performs `tool` effects by calling functions.

    A guest's arguments arrive as one object (keyword arguments), a list (positional ones) or
    nothing. Whatever a function raises reaches the guest as an error with code TOOL_ERROR; to
    choose the code, raise `EffectFailure`.

    Args:
        functions: by the name that guests use; plain or async functions.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._functions = dict(functions)

    def perform(self, request: EffectRequest, run_id: str) -> Any:  # noqa: ARG002 - the port's shape
        """Call the function; see `EffectHandler`."""
        function = self._functions.get(request.target)
        if function is None:
            raise EffectFailure(
                "TOOL_UNKNOWN",
                f"there is no tool {request.target!r}; the tools are: "
                f"{', '.join(sorted(self._functions)) or 'none'}",
            )
        positional, named = _arguments(request.args)
        try:
            inspect.signature(function).bind(*positional, **named)
        except TypeError as error:
            raise EffectFailure(
                "TOOL_ARGUMENTS", f"wrong arguments for {request.target}: {error}"
            ) from None
        try:
            value = function(*positional, **named)
            return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value
        except EffectFailure:
            raise
        except Exception as error:
            raise EffectFailure("TOOL_ERROR", f"{type(error).__name__}: {error}") from error


async def _awaited(value: Any) -> Any:
    return await value


def _arguments(args: Any) -> tuple[list[Any], dict[str, Any]]:
    if args is None:
        return [], {}
    if isinstance(args, dict):
        return [], args
    return (args if isinstance(args, list) else [args]), {}
