"""Host functions as effects of kind `tool`: the smallest handler, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.gate.ports import EffectFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.gate.effect import EffectRequest

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

    def has(self, name: str) -> bool:
        """Return whether there is a function of this name."""
        return name in self._functions

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
            value = function(*positional, **named)
            return _run(value) if hasattr(value, "__await__") else value
        except EffectFailure:
            raise
        except TypeError as error:
            # Raised by the call itself, not from inside the function: the arguments do not fit.
            if error.__traceback__ is None or error.__traceback__.tb_next is None:
                raise EffectFailure(
                    "TOOL_ARGUMENTS", f"wrong arguments for {request.target}: {error}"
                ) from None
            raise EffectFailure("TOOL_ERROR", f"TypeError: {error}") from error
        except Exception as error:
            raise EffectFailure("TOOL_ERROR", f"{type(error).__name__}: {error}") from error


def _run(value: Any) -> Any:
    import asyncio  # noqa: PLC0415 - only async tools need it

    async def awaited() -> Any:
        return await value

    return asyncio.run(awaited())


def _arguments(args: Any) -> tuple[list[Any], dict[str, Any]]:
    if args is None:
        return [], {}
    if isinstance(args, dict):
        return [], args
    return (args if isinstance(args, list) else [args]), {}
