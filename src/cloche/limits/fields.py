"""How a limit is declared: a dataclass field with metadata, checked on construction.

Owns `limit` (declare one), `Group` (a frozen set of them), `specifications` (read them back) and
`check` (may it have this value?).
Invariants: a group that exists holds only values inside their ranges.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cloche.limits.errors import LimitRangeError, LimitTypeError, from_origin, shown

Unit = Literal["bytes", "ms", "count", "req/s", "req/min", "instructions"]

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30


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

    @property
    def of_unit(self) -> str:
        """The unit as it stands behind a number: nothing for a count."""
        return "" if self.unit == "count" else f" {self.unit}"


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
            "default": default,
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
    """Base of the groups; every field is a limit.

    Raises:
        LimitError: on construction, as `check`.
    """

    def __post_init__(self) -> None:
        for spec in specifications(type(self)):
            check(spec, getattr(self, spec.name))


def check(spec: Specification, value: object, origin: str = "") -> int:
    """Return `value` if the limit can have it. An estimate can have any number from 0 up.

    Raises:
        LimitTypeError: not an `int` (a `bool` is none).
        LimitRangeError: out of range; names limit, value, origin, range and unit.
    """
    source = from_origin(origin)
    fields = {"limit": spec.path, "value": shown(value), "origin": origin, "unit": spec.unit}
    if type(value) is not int:
        found = shown(value)
        found = repr(found) if isinstance(value, str) else found
        of_unit = f" of {spec.unit}" if spec.of_unit else ""
        raise LimitTypeError(
            f"{spec.path} is {found}{source}; it must be a whole number{of_unit}", **fields
        )
    low, high = spec.minimum or 0, spec.maximum
    if value >= low and (high is None or value <= high):
        return value
    expected = f"between {low} and {high}" if high is not None else f"at least {low}"
    raise LimitRangeError(
        f"{spec.path} is {shown(value)}{source}; it must be {expected}{spec.of_unit}",
        minimum=low,
        maximum=high,
        **fields,
    )


_cache: dict[type, tuple[Specification, ...]] = {}


def specifications(group: type) -> tuple[Specification, ...]:
    """Return what is declared in a group class, in order."""
    found = _cache.get(group)
    if found is None:
        name = group.__name__.removesuffix("Limits").lower()
        found = tuple(
            Specification(group=name, name=entry.name, **entry.metadata)
            for entry in dataclasses.fields(group)
        )
        _cache[group] = found
    return found
