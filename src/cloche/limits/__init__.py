"""Every limit of the system, declared once, with label, unit and range.

Importing this room imports only what is pure. The three names that read the outside world
(`load_limits`, `resolve_limits`, `guest_modules`) live in `cloche.limits.adapters.settings` and
are bound when they are first asked for, so a core module that needs `Limits` gets no adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.limits.errors import (
    LimitError,
    LimitFileError,
    LimitQuantityError,
    LimitRangeError,
    LimitReadOnlyError,
    LimitTypeError,
    LimitUnknownError,
)
from cloche.limits.fields import Specification
from cloche.limits.layers import Layer, Resolved, merge
from cloche.limits.limits import GROUPS, SPECIFICATIONS, Hardware, Limits, derive
from cloche.limits.ports import GuestModules
from cloche.limits.quantity import format_quantity, parse_quantity

if TYPE_CHECKING:
    from cloche.limits.ports import LoadLimits, ReadGuestModules, ResolveLimits

    load_limits: LoadLimits
    resolve_limits: ResolveLimits
    guest_modules: ReadGuestModules

__all__ = [  # noqa: RUF022 - grouped by purpose
    # the values
    "Limits",
    "Hardware",
    "derive",
    # what is in force
    "GuestModules",
    "Layer",
    "Resolved",
    "guest_modules",
    "load_limits",
    "merge",
    "resolve_limits",
    # what is declared
    "GROUPS",
    "SPECIFICATIONS",
    "Specification",
    # numbers as people write them
    "format_quantity",
    "parse_quantity",
    # errors
    "LimitError",
    "LimitFileError",
    "LimitQuantityError",
    "LimitRangeError",
    "LimitReadOnlyError",
    "LimitTypeError",
    "LimitUnknownError",
]

_LOADERS = frozenset({"guest_modules", "load_limits", "resolve_limits"})


def __getattr__(name: str) -> Any:
    if name not in _LOADERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cloche.limits.adapters import settings  # noqa: PLC0415 - see the docstring

    return getattr(settings, name)
