"""All limits as one frozen value, and the rules by which layers of settings become one.

Pure. `merge` applies layers from the weakest to the strongest and remembers where each value came
from; `derive` computes the defaults that depend on the machine (seed 001).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cloche.limits.fields import (
    GIB,
    KIB,
    MIB,
    Group,
    LimitError,
    Specification,
    Unit,
    check,
    specifications,
)
from cloche.limits.groups import (
    ArchLimits,
    CapacityLimits,
    EngineLimits,
    GateLimits,
    GuestsLimits,
    HardwareLimits,
    NetLimits,
    RuntimeLimits,
    StorageLimits,
)

ORIGIN_DEFAULT: Final = "default"
ORIGIN_DERIVED: Final = "derived from the machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every limit of the system. `Limits()` has the defaults of the smallest machine."""

    hardware: HardwareLimits = field(default_factory=HardwareLimits)
    storage: StorageLimits = field(default_factory=StorageLimits)
    runtime: RuntimeLimits = field(default_factory=RuntimeLimits)
    capacity: CapacityLimits = field(default_factory=CapacityLimits)
    net: NetLimits = field(default_factory=NetLimits)
    guests: GuestsLimits = field(default_factory=GuestsLimits)
    gate: GateLimits = field(default_factory=GateLimits)
    engine: EngineLimits = field(default_factory=EngineLimits)
    arch: ArchLimits = field(default_factory=ArchLimits)

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Return the values, nested by group: what `GET /api/system/limits` returns."""
        return dataclasses.asdict(self)

    def replace(self, values: Mapping[str, Mapping[str, int]]) -> Limits:
        """Return these limits with some values changed.

        Raises:
            LimitError: unknown name, or out of range.
        """
        groups = {
            name: dataclasses.replace(
                getattr(self, name), **{key: _known(name, key) and value[key] for key in value}
            )
            for name, value in values.items()
            if _known_group(name)
        }
        return dataclasses.replace(self, **groups)


GROUPS: Final[dict[str, type[Group]]] = {
    entry.name: entry.default_factory  # type: ignore[misc]
    for entry in dataclasses.fields(Limits)
}
SPECIFICATIONS: Final[dict[str, Specification]] = {
    spec.path: spec for group in GROUPS.values() for spec in specifications(group)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Settings from one place. `origin` names it in messages; one origin per path may differ."""

    origin: str
    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Limits with the place that each value came from, by path."""

    limits: Limits
    origins: dict[str, str]


def merge(base: Resolved, layers: Sequence[Layer]) -> Resolved:
    """Apply layers, each `{path: value}`, the last one strongest.

    Raises:
        LimitError: unknown path, read-only, not a number, out of range.
    """
    changes: dict[str, dict[str, int]] = {}
    origins = dict(base.origins)
    for layer in layers:
        for path, raw in layer.values.items():
            origin = layer.origins.get(path, layer.origin)
            spec = find(path, origin)
            if spec.read_only:
                raise LimitError(
                    f"{path} cannot be set (from {origin}): it is detected or estimated",
                    limit=path,
                    origin=origin,
                )
            value = parse_quantity(raw, spec.unit, path) if isinstance(raw, str) else raw
            changes.setdefault(spec.group, {})[spec.name] = check(spec, value, origin)
            origins[path] = origin
    return Resolved(limits=base.limits.replace(changes), origins=origins)


def flatten(document: Mapping[str, Any], origin: str) -> Layer:
    """Turn a nested document, as in a file, into a layer.

    Raises:
        LimitError: a group is not a table.
    """
    values: dict[str, Any] = {}
    for group, entries in document.items():
        if not isinstance(entries, Mapping):
            raise LimitError(f"limits.{group} must be a table (from {origin})", limit=group)
        values.update({f"{group}.{name}": value for name, value in entries.items()})
    return Layer(origin=origin, values=values)


def find(path: str, origin: str = "") -> Specification:
    """Return what is known of a limit.

    Raises:
        LimitError: there is none; names the nearest.
    """
    spec = SPECIFICATIONS.get(path)
    if spec is None:
        near = difflib.get_close_matches(path, SPECIFICATIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see `cloche limits`"
        source = f" (from {origin})" if origin else ""
        raise LimitError(f"there is no limit {path}{source}{hint}", limit=path, origin=origin)
    return spec


def _known_group(group: str) -> bool:
    if group not in GROUPS:
        find(group)
    return True


def _known(group: str, name: str) -> bool:
    find(f"{group}.{name}")
    return True


# --- the machine ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What was detected: memory in bytes, whole cores."""

    total_ram_bytes: int
    cpu_cores: int


def scale_factor(cpu_cores: int) -> int:
    """Return how many times the baseline machine (1 core) this one is: half for each after 4."""
    return cpu_cores if cpu_cores <= 4 else 4 + (cpu_cores - 4) // 2  # noqa: PLR2004 - seed 001


def derive(hardware: Hardware) -> Resolved:
    """Return the defaults for a machine."""
    ram, factor = hardware.total_ram_bytes, scale_factor(hardware.cpu_cores)
    derived: dict[str, dict[str, int]] = {
        "hardware": {
            "total_ram": ram,
            "available_ram": ram,
            "cpu_cores": hardware.cpu_cores,
        },
        "storage": {
            "max_vfs": _clamp(ram // 4, 10 * MIB, GIB),
            "max_upload": _clamp(ram // 10, 10 * MIB, 100 * MIB),
        },
        "capacity": {
            "users": 50 * factor,
            "users_max": 100 * factor,
            "reads": 200 * factor,
            "writes": 100 + 25 * (factor - 1),
            "mixed": 150 * factor,
        },
        "net": {"concurrency": _clamp(10 * factor, 20, 100)},
    }
    origins = dict.fromkeys(SPECIFICATIONS, ORIGIN_DEFAULT)
    for group, values in derived.items():
        origins.update({f"{group}.{name}": ORIGIN_DERIVED for name in values})
    return Resolved(limits=Limits().replace(derived), origins=origins)


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


# --- numbers as people write them ---

_SUFFIXES: Final[dict[str, dict[str, int]]] = {
    "bytes": {
        "": 1,
        "b": 1,
        "k": 1000,
        "kb": 1000,
        "kib": KIB,
        "m": 10**6,
        "mb": 10**6,
        "mib": MIB,
        "g": 10**9,
        "gb": 10**9,
        "gib": GIB,
    },
    "ms": {"": 1, "ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000},
}
_QUANTITY: Final = re.compile(r"\s*([0-9][0-9_]*)(?:\.([0-9]+))?\s*([a-zA-Z]*)\s*")


def parse_quantity(text: str, unit: Unit, name: str = "the value") -> int:
    """Return the number that a person wrote, exactly: "256MiB", "1.5s", "10_000".

    Raises:
        LimitError: not a number, an unknown suffix, or not a whole number of the unit.
    """
    suffixes = _SUFFIXES.get(unit, {"": 1})
    match = _QUANTITY.fullmatch(text)
    factor = suffixes.get(match[3].lower()) if match else None
    if match is None or factor is None:
        known = ", ".join(suffix for suffix in suffixes if suffix)
        allowed = f", with {known} behind it if you like" if known else ""
        raise LimitError(
            f"{name} is {text!r}; it must be a number of {unit}{allowed}", limit=name, value=text
        )
    fraction = match[2] or ""
    scaled = int(match[1] + fraction) * factor
    whole, rest = divmod(scaled, 10 ** len(fraction))
    if rest:
        raise LimitError(f"{name} is {text!r}, which is no whole number of {unit}", limit=name)
    return whole
