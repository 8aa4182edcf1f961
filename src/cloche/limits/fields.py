"""How a limit is declared: a dataclass field with metadata, checked on construction.

Owns `limit` (declare one), `Group` (a frozen set of them) and `specification` (read them back).
Invariants: a group that exists holds only values inside their ranges.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cloche.errors import ClocheError

Unit = Literal["bytes", "ms", "count", "req/s", "req/min", "instructions"]

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30


class LimitError(ClocheError):
    """A limit was given a value that it cannot have. Nothing was changed."""

    code = "LIMIT_OUT_OF_RANGE"
    blame = "caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """What is known of one limit. `minimum` and `maximum` are inclusive; None for estimates."""

    group: str
    name: str
    label: str
    description: str
    unit: Unit
    default: int
    minimum: int | None
    maximum: int | None
    read_only: bool

    @property
    def path(self) -> str:
        """Its full name, as in messages and files."""
        return f"{self.group}.{self.name}"


def limit(
    default: int,
    unit: Unit,
    minimum: int | None = None,
    maximum: int | None = None,
    *,
    label: str,
    description: str,
) -> Any:
    """Declare a limit. Without a range it is an estimate or a reading: read-only."""
    return field(
        default=default,
        metadata={
            "unit": unit,
            "minimum": minimum,
            "maximum": maximum,
            "label": label,
            "description": description,
            "read_only": minimum is None,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Base of the groups; every field is a limit."""

    def __post_init__(self) -> None:
        for spec in specifications(type(self)):
            check(spec, getattr(self, spec.name))


def check(spec: Specification, value: object, origin: str = "") -> int:
    """Return `value` if the limit can have it.

    Raises:
        LimitError: wrong type, or out of range; names limit, value, origin and range.
    """
    source = f" (from {origin})" if origin else ""
    fields = {"limit": spec.path, "value": value, "origin": origin}
    if type(value) is not int:
        raise LimitError(
            f"{spec.path} is {value!r}{source}; it must be a whole number of {spec.unit}", **fields
        )
    low, high = spec.minimum, spec.maximum
    if low is not None and high is not None and not low <= value <= high:
        raise LimitError(
            f"{spec.path} is {value}{source}; it must be between {low} and {high} {spec.unit}",
            minimum=low,
            maximum=high,
            unit=spec.unit,
            **fields,
        )
    return value


_cache: dict[type, tuple[Specification, ...]] = {}


def specifications(group: type) -> tuple[Specification, ...]:
    """Return what is declared in a group class, in order."""
    found = _cache.get(group)
    if found is None:
        name = group.__name__.removesuffix("Limits").lower()
        found = tuple(
            Specification(group=name, name=entry.name, default=entry.default, **entry.metadata)
            for entry in dataclasses.fields(group)
        )
        _cache[group] = found
    return found
