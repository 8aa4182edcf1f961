"""All limits as one frozen value, and the defaults that depend on the machine.

Pure. `derive` computes what seed 001 derives from memory and cores; what people set on top of it
is in `layers.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cloche.limits.app_groups import AppsLimits
from cloche.limits.errors import LimitTypeError, LimitUnknownError, from_origin, shown
from cloche.limits.fields import GIB, MIB, Group, Specification, specifications
from cloche.limits.groups import (
    ArchLimits,
    CapacityLimits,
    EgressLimits,
    EngineLimits,
    GateLimits,
    GuestsLimits,
    HardwareLimits,
    NetLimits,
    RuntimeLimits,
    SessionsLimits,
    StorageLimits,
    StoreLimits,
)
from cloche.limits.script_groups import ScriptsLimits
from cloche.limits.server_groups import ServerLimits
from cloche.limits.web_groups import WebLimits

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every limit of the system. `Limits()` has the defaults of the smallest machine.

    Raises:
        LimitTypeError: on construction, a group is not of its class.
    """

    hardware: HardwareLimits = field(default_factory=HardwareLimits)
    storage: StorageLimits = field(default_factory=StorageLimits)
    runtime: RuntimeLimits = field(default_factory=RuntimeLimits)
    capacity: CapacityLimits = field(default_factory=CapacityLimits)
    net: NetLimits = field(default_factory=NetLimits)
    guests: GuestsLimits = field(default_factory=GuestsLimits)
    gate: GateLimits = field(default_factory=GateLimits)
    engine: EngineLimits = field(default_factory=EngineLimits)
    sessions: SessionsLimits = field(default_factory=SessionsLimits)
    store: StoreLimits = field(default_factory=StoreLimits)
    web: WebLimits = field(default_factory=WebLimits)
    egress: EgressLimits = field(default_factory=EgressLimits)
    scripts: ScriptsLimits = field(default_factory=ScriptsLimits)
    server: ServerLimits = field(default_factory=ServerLimits)
    apps: AppsLimits = field(default_factory=AppsLimits)
    arch: ArchLimits = field(default_factory=ArchLimits)

    def __post_init__(self) -> None:
        for name, group in GROUPS.items():
            found = getattr(self, name)
            if type(found) is not group:
                raise LimitTypeError(
                    f"{name} is {shown(found)}; it must be a {group.__name__}",
                    limit=name,
                    value=shown(found),
                )

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Return the values, nested by group: what `cloche limits --json` prints."""
        return {name: getattr(self, name).to_dict() for name in GROUPS}

    def replace(self, values: Mapping[str, Mapping[str, int]]) -> Limits:
        """Return these limits with some values changed: `{group: {name: value}}`.

        Raises:
            LimitError: unknown name, wrong type, or out of range.
        """
        groups: dict[str, Group] = {}
        for group, changes in values.items():
            for name in changes:
                find(f"{group}.{name}")
            kept = getattr(self, find_group(group))
            if changes:
                groups[group] = kept.replace(**changes)
        # To check all groups again is much, and many runs change nothing.
        return dataclasses.replace(self, **groups) if groups else self  # type: ignore[arg-type]


# --- what is declared ---

GROUPS: Final[dict[str, type[Group]]] = {
    entry.name: entry.default_factory  # type: ignore[misc]
    for entry in dataclasses.fields(Limits)
}
# Names that are gone and ruled nothing: settings may not have them, what was recorded may.
RETIRED: Final = frozenset({"guests.timer_count_max"})

SPECIFICATIONS: Final[dict[str, Specification]] = {
    spec.path: spec for group in GROUPS.values() for spec in specifications(group)
}


def find(path: str, origin: str = "") -> Specification:
    """Return what is known of a limit, by its full name.

    Raises:
        LimitUnknownError: there is none; names the nearest.
    """
    spec = SPECIFICATIONS.get(path)
    if spec is None:
        raise unknown("limit", path, tuple(SPECIFICATIONS), origin)
    return spec


def find_group(name: str, origin: str = "") -> str:
    """Return the name of a group if there is one.

    Raises:
        LimitUnknownError: there is none; names the nearest.
    """
    if name not in GROUPS:
        raise unknown("group of limits", name, tuple(GROUPS), origin)
    return name


def unknown(what: str, name: str, known: tuple[str, ...], origin: str = "") -> LimitUnknownError:
    """Return the error for a name that is not known, with the nearest that is."""
    import difflib  # noqa: PLC0415 - only for a mistake; the command line starts with this module

    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "`cloche limits` lists what there is"
    return LimitUnknownError(
        f"there is no {what} {shown(name)}{from_origin(origin)}; {hint}",
        limit=shown(name),
        origin=origin,
        nearest=near[0] if near else None,
    )


# --- the machine ---

_WHOLE_CORES: Final = 4  # beyond these each core counts half (seed 001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What was detected: memory in bytes, whole cores."""

    total_ram_bytes: int
    cpu_cores: int


def scale_factor(cpu_cores: int) -> int:
    """Return how many baseline machines (1 core, 1 GB) this one is worth."""
    return min(cpu_cores, _WHOLE_CORES) + max(cpu_cores - _WHOLE_CORES, 0) // 2


def derive(hardware: Hardware) -> Limits:
    """Return the defaults for a machine.

    Raises:
        LimitRangeError: less than no memory or no core.
    """
    return Limits().replace(derived_values(hardware))


def derived_values(hardware: Hardware) -> dict[str, dict[str, int]]:
    """Return the defaults that depend on the machine, `{group: {name: value}}`."""
    ram, factor = hardware.total_ram_bytes, scale_factor(hardware.cpu_cores)
    return {
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


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
