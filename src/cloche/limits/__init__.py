"""Every limit of the system, declared once, with label, unit and range.

Importing this room imports only what is pure. What reads the machine, the settings file and the
environment (`load_limits`, `resolve_limits`, `guest_modules`) is in
`cloche.limits.adapters.settings`.
"""

from __future__ import annotations

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
from cloche.limits.limits import GROUPS, RETIRED, SPECIFICATIONS, Hardware, Limits, derive
from cloche.limits.ports import GuestModules
from cloche.limits.quantity import format_quantity, parse_quantity

__all__ = [  # noqa: RUF022 - grouped by purpose
    # the values
    "Limits",
    "Hardware",
    "derive",
    # what is in force
    "GuestModules",
    "Layer",
    "Resolved",
    "merge",
    # what is declared
    "GROUPS",
    "RETIRED",
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
