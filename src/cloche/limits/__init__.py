"""Every limit of the system, declared once, with label, unit and range."""

from __future__ import annotations

from cloche.limits.adapters.settings import (
    GuestModules,
    guest_modules,
    load_limits,
    resolve_limits,
)
from cloche.limits.fields import LimitError, Specification
from cloche.limits.limits import (
    GROUPS,
    SPECIFICATIONS,
    Hardware,
    Limits,
    Resolved,
    derive,
    merge,
    parse_quantity,
)

__all__ = [
    "GROUPS",
    "SPECIFICATIONS",
    "GuestModules",
    "Hardware",
    "LimitError",
    "Limits",
    "Resolved",
    "Specification",
    "derive",
    "guest_modules",
    "load_limits",
    "merge",
    "parse_quantity",
    "resolve_limits",
]
