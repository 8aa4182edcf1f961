"""Errors between the server and a worker process.

Invariant: an error crosses as the name of its class and its fields; a class that is no error of
cloche, or not of where a run meets errors, is not made. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from cloche.errors import ClocheError
from cloche.exec.errors import WorkerLostError

_ERRORS_KEPT: Final = 256
# Where a run meets errors; those of HTTP, of keys and of tenants are none of its own.
_ROOMS: Final = tuple(
    f"cloche.{room}" for room in ("engine", "errors", "exec", "gate", "guests", "limits", "egress")
)
_OWN: Final = frozenset({"self", "message", "fields"})


class ErrorFrame(msgspec.Struct, frozen=True, kw_only=True):
    """An error: `module` and `name` of its class, its message, its fields as JSON-ready data."""

    module: str
    name: str
    message: str
    fields: dict[str, Any] = {}


def error_frame(error: ClocheError) -> ErrorFrame:
    """Return what is told of an error; the result of a run stands beside its error."""
    kind = type(error)
    fields = {name: value for name, value in error.fields.items() if name != "result"}
    return ErrorFrame(
        module=kind.__module__, name=kind.__qualname__, message=error.message, fields=fields
    )


def error_of(frame: ErrorFrame, **more: Any) -> ClocheError:
    """Return the error that was told of; one that cloche does not know is a `WorkerLostError`.

    Args:
        frame: what was told.
        more: further fields, such as the result of a run.
    """
    kind = _error_class(frame.module, frame.name)
    error = kind.__new__(kind)
    # A field becomes an attribute: one that is there already stays what it is.
    fields = {name: value for name, value in frame.fields.items() if not _is_taken(kind, name)}
    ClocheError.__init__(error, frame.message, **{**fields, **more})
    return error


def _is_taken(kind: type[ClocheError], name: str) -> bool:
    return name in _OWN or name.startswith("_") or hasattr(kind, name)


@lru_cache(maxsize=_ERRORS_KEPT)
def _error_class(module: str, name: str) -> type[ClocheError]:
    """Return a class of errors that is there already; nothing is imported by its name."""
    waiting: list[type[ClocheError]] = [ClocheError]
    if not module.startswith(_ROOMS):
        return WorkerLostError
    while waiting:
        found = waiting.pop()
        if (found.__module__, found.__qualname__) == (module, name):
            return found
        waiting += found.__subclasses__()
    return WorkerLostError
