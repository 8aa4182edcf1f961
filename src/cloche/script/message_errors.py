"""Errors of asking the harness: they concern whoever calls it, and no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.errors import ClocheError

if TYPE_CHECKING:
    from collections.abc import Sequence


class ApiUnknownError(ClocheError):
    """No API of this name has messages that can be read. State: nothing was read."""

    code = "SCRIPT_API_UNKNOWN"
    blame = "caller"

    def __init__(self, *, api: object, known: Sequence[str]) -> None:
        super().__init__(
            f"no API is called {str(api)[:100]!r}; it is one of {', '.join(known)}",
            api=str(api)[:100],
            known=list(known),
        )


class RequestInvalidError(ClocheError, ValueError):
    """An argument of a call of the harness is of no use. State: nothing ran."""

    code = "SCRIPT_REQUEST_INVALID"
    blame = "caller"


class MessageInvalidError(ClocheError):
    """A message has not the form of its API. State: nothing was read."""

    code = "SCRIPT_MESSAGE_INVALID"
    blame = "caller"

    def __init__(self, *, api: str, where: str, problem: str) -> None:
        super().__init__(
            f"this is no message of {api}: {where} {problem}", api=api, where=where, problem=problem
        )
