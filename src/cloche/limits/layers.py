"""How settings from several places become one `Limits`, with the origin of each value.

Pure. A layer is `{path: value}` from one place. Layers are given from the weakest to the
strongest, and every value of every layer is checked, so a mistake does not hide under a stronger
layer. Text is read as a quantity in the unit of its limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from cloche.limits.errors import LimitReadOnlyError, LimitTypeError, from_origin, shown
from cloche.limits.fields import check
from cloche.limits.limits import (
    SPECIFICATIONS,
    Hardware,
    Limits,
    derived_values,
    find,
    find_group,
)
from cloche.limits.quantity import parse_quantity

ORIGIN_DEFAULT: Final = "default"
ORIGIN_DETECTED: Final = "detected"
ORIGIN_DERIVED: Final = "derived from the machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Settings from one place. `origin` names it in messages; `origins` does for single paths."""

    origin: str
    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Limits with the place that each value came from, by path."""

    limits: Limits
    origins: Mapping[str, str]


@cache
def defaults(hardware: Hardware | None = None) -> Resolved:
    """Return the weakest layer: the declared defaults, or those of a machine. Made once."""
    origins = dict.fromkeys(SPECIFICATIONS, ORIGIN_DEFAULT)
    if hardware is None:
        return Resolved(limits=Limits(), origins=MappingProxyType(origins))
    derived = derived_values(hardware)
    for group, values in derived.items():
        origin = ORIGIN_DETECTED if group == "hardware" else ORIGIN_DERIVED
        origins.update(dict.fromkeys((f"{group}.{name}" for name in values), origin))
    return Resolved(limits=Limits().replace(derived), origins=MappingProxyType(origins))


def merge(layers: Sequence[Layer], base: Resolved | None = None) -> Resolved:
    """Apply layers to `base` (the declared defaults), the last one strongest.

    Raises:
        LimitError: unknown path, read-only, wrong type, malformed, or out of range.
    """
    base = base or defaults()
    changes: dict[str, dict[str, int]] = {}
    origins = dict(base.origins)
    for layer in layers:
        for path, raw in layer.values.items():
            origin = layer.origins.get(path, layer.origin)
            value = _read(path, raw, origin)
            group, _, name = path.partition(".")
            changes.setdefault(group, {})[name] = value
            origins[path] = origin
    return Resolved(limits=base.limits.replace(changes), origins=origins)


def _read(path: str, raw: object, origin: str) -> int:
    spec = find(path, origin)
    if spec.read_only:
        raise LimitReadOnlyError(
            f"{path} cannot be set{from_origin(origin)}: it is detected or estimated; remove it",
            limit=path,
            value=shown(raw),
            origin=origin,
        )
    value = parse_quantity(raw, spec.unit, path, origin) if isinstance(raw, str) else raw
    return check(spec, value, origin)


def flatten(document: Mapping[str, Any], origin: str) -> Layer:
    """Turn a nested document, `{group: {name: value}}`, into a layer.

    Raises:
        LimitUnknownError: no such group.
        LimitTypeError: a group is not a table.
    """
    values: dict[str, Any] = {}
    for group, entries in document.items():
        find_group(group, origin)
        if not isinstance(entries, Mapping):
            raise LimitTypeError(
                f"{group} is {shown(entries)}{from_origin(origin)}; it must be a table of limits",
                limit=group,
                value=shown(entries),
                origin=origin,
            )
        values.update({f"{group}.{name}": value for name, value in entries.items()})
    return Layer(origin=origin, values=values)
