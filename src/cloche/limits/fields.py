"""How a limit is declared, and the groups that hold the values.

Owns `limit` (declare one), `Group` (a frozen set of them), `specifications` (read them back) and
`check` (may it have this value?).
Invariants: a group that exists holds only values inside their ranges.

A group behaves as a frozen, keyword-only dataclass and is none: generating the code of nine of them
costs 8 ms, and every command of the command line would wait for that.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import Any, Final, Literal, NoReturn, Self

from cloche.limits.errors import LimitRangeError, LimitTypeError, from_origin, shown

Unit = Literal["bytes", "ms", "count", "req/s", "req/min", "instructions"]

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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


class _Declaration(dict[str, Any]):
    """What `limit` was given, until the class that it stands in is complete."""


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
    return _Declaration(
        default=default,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        label=label,
        description=description,
        read_only=minimum is None,
    )


_declared: Final[dict[type, dict[str, Specification]]] = {}


class Group:
    """Base of the groups; every field is a limit.

    Raises:
        LimitError: on construction, as `check`.
        TypeError: on construction, a keyword that names no limit of the group.
    """

    def __init_subclass__(cls) -> None:
        group = cls.__name__.removesuffix("Limits").lower()
        declared = {
            name: Specification(group=group, name=name, **entry)
            for name, entry in vars(cls).items()
            if isinstance(entry, _Declaration)
        }
        _declared[cls] = declared
        for name, spec in declared.items():
            setattr(cls, name, check(spec, spec.default))

    def __init__(self, **values: int) -> None:
        declared = _declared[type(self)]
        state = self.__dict__
        for name, spec in declared.items():
            state[name] = spec.default
        for name, value in values.items():
            if name not in declared:
                raise TypeError(f"{type(self).__name__} has no limit {name!r}")
            state[name] = check(declared[name], value)

    def to_dict(self) -> dict[str, int]:
        """Return the values by name, in the order of declaration."""
        return dict(self.__dict__)

    def replace(self, **changes: int) -> Self:
        """Return these limits with some changed. Raises as construction."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to {name!r}: limits are frozen, use replace()")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete {name!r}: limits are frozen")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({values})"


def check(spec: Specification, value: object, origin: str = "") -> int:
    """Return `value` if the limit can have it. An estimate can have any number from 0 up.

    Raises:
        LimitTypeError: not an `int` (a `bool` is none).
        LimitRangeError: out of range; names limit, value, origin, range and unit.
    """
    low, high = spec.minimum or 0, spec.maximum
    if type(value) is int and value >= low and (high is None or value <= high):
        return value
    source = from_origin(origin)
    fields = {"limit": spec.path, "value": shown(value), "origin": origin, "unit": spec.unit}
    if type(value) is not int:
        found = shown(value)
        found = repr(found) if isinstance(value, str) else found
        of_unit = f" of {spec.unit}" if spec.of_unit else ""
        raise LimitTypeError(
            f"{spec.path} is {found}{source}; it must be a whole number{of_unit}", **fields
        )
    expected = f"between {low} and {high}" if high is not None else f"at least {low}"
    raise LimitRangeError(
        f"{spec.path} is {shown(value)}{source}; it must be {expected}{spec.of_unit}",
        minimum=low,
        maximum=high,
        **fields,
    )


def specifications(group: type[Group]) -> tuple[Specification, ...]:
    """Return what is declared in a group class, in order."""
    return tuple(_declared[group].values())
