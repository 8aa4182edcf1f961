"""Numbers as people write them: "256MiB", "1.5s", "10_000".

`parse_quantity` is exact: it never rounds. `format_quantity` writes what `parse_quantity` reads
back as the same number, or marks it with "~" where a short text cannot be exact.
"""

from __future__ import annotations

import re
from typing import Final

from cloche.limits.errors import LimitQuantityError, from_origin, shown
from cloche.limits.fields import GIB, KIB, MIB, Unit

TIB: Final = 1 << 40
SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS

# Factor of each suffix, lower case. Decimal prefixes are decimal: 1 MB is 1,000,000 bytes.
_SUFFIXES: Final[dict[str, dict[str, int]]] = {
    "bytes": {
        "": 1,
        "b": 1,
        "bytes": 1,
        "k": 10**3,
        "kb": 10**3,
        "kib": KIB,
        "m": 10**6,
        "mb": 10**6,
        "mib": MIB,
        "g": 10**9,
        "gb": 10**9,
        "gib": GIB,
        "t": 10**12,
        "tb": 10**12,
        "tib": TIB,
    },
    "ms": {"": 1, "ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "min": MINUTE_MS, "h": HOUR_MS},
}
_PLAIN: Final = {"": 1}
_TEXT_LENGTH_MAX: Final = 64  # bounds the work; the largest limit has 16 digits
_QUANTITY: Final = re.compile(
    r"\s*(-?)([0-9]+(?:_[0-9]+)*)(?:\.([0-9]+))?\s*([a-zA-Z]*)\s*", re.ASCII
)
_UNITS_SHOWN: Final[dict[str, tuple[tuple[int, str], ...]]] = {
    "bytes": ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")),
    "ms": ((HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s"), (1, "ms")),
}


def parse_quantity(text: str, unit: Unit, name: str = "the value", origin: str = "") -> int:
    """Return the number that a person wrote, in `unit`, exactly.

    Digits may be grouped with `_`. Bytes take B, kB, KiB, MB, MiB, GB, GiB, TB, TiB; times take
    ms, s, min (or m), h; upper and lower case are the same. A fraction is fine if the result is
    whole: "1.5s" is 1500 ms.

    Raises:
        LimitQuantityError: not a number, an unknown suffix, or not a whole number of `unit`.
    """
    suffixes = _SUFFIXES.get(unit, _PLAIN)
    match = _QUANTITY.fullmatch(text) if len(text) <= _TEXT_LENGTH_MAX else None
    factor = suffixes.get(match[4].lower()) if match else None
    source = from_origin(origin)
    fields = {"limit": name, "value": shown(text), "origin": origin, "unit": unit}
    if match is None or factor is None:
        known = ", ".join(suffix for _, suffix in reversed(_UNITS_SHOWN.get(unit, ())))
        of_unit = "" if unit == "count" else f" of {unit}"
        allowed = f", or have a unit behind it: {known}" if known else ""
        raise LimitQuantityError(
            f"{name} is {shown(text)!r}{source}; it must be a whole number{of_unit}{allowed}",
            **fields,
        )
    fraction = match[3] or ""
    scale: int = 10 ** len(fraction)
    whole, rest = divmod(int(match[2] + fraction) * factor, scale)
    if rest:
        raise LimitQuantityError(
            f"{name} is {text!r}{source}, which is no whole number of {unit}; "
            f"write it with fewer digits or in {unit}",
            **fields,
        )
    return -whole if match[1] else whole


def format_quantity(value: int, unit: Unit) -> str:
    """Return a number as people read it: "256 MiB", "1.5 s", "10_000"; "~7.6 GiB" if not exact."""
    for size, suffix in _UNITS_SHOWN.get(unit, ()):
        if value >= size:
            tenths, rest = divmod(value * 10, size)
            whole, tenth = divmod(tenths, 10)
            digits = f"{whole}.{tenth}" if tenth else f"{whole}"
            return f"{'~' if rest else ''}{digits} {suffix}"
    if unit in _UNITS_SHOWN:
        return f"{value} {_UNITS_SHOWN[unit][-1][1]}"
    return f"{value:_}" if unit == "count" else f"{value:_} {unit}"
