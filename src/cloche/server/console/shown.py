"""How values look on a page: times, durations, sizes, cut texts. Pure.

Everything here returns plain text: escaping is the templates' part, and they escape everything.
"""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Row = TypeVar("Row")
MS_PER_S: Final = 1000
_TOO_LATE: Final = "after the year 9999"
_S_PER_MINUTE: Final = 60
_KIB: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB")


def time_text(time_ms: int | None) -> str:
    """Return a time as UTC to the second; milliseconds of the Unix epoch."""
    if time_ms is None:
        return "never"
    at = _time(time_ms)
    return _TOO_LATE if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def time_attribute(time_ms: int | None) -> str:
    """Return a time as the attribute `datetime` has it."""
    at = None if time_ms is None else _time(time_ms)
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _time(time_ms: int) -> datetime | None:
    """Return a time, None for one that no calendar has: a page shows whatever is kept."""
    try:
        return datetime.fromtimestamp(time_ms / MS_PER_S, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def duration_text(duration_ms: float | None) -> str:
    """Return a duration in the unit that people would choose."""
    if duration_ms is None:
        return "–"  # noqa: RUF001 - a dash for people
    if 0 < duration_ms < 1:
        return f"{duration_ms:.2f} ms"
    if duration_ms < MS_PER_S:
        return f"{duration_ms:.0f} ms"
    seconds = duration_ms / MS_PER_S
    if seconds < _S_PER_MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _S_PER_MINUTE)} min {int(seconds % _S_PER_MINUTE)} s"


def took_text(duration_ms: int | None) -> str:
    """Return a duration that was counted in whole milliseconds: none of them is less than one."""
    return "< 1 ms" if duration_ms == 0 else duration_text(duration_ms)


def size_text(size_bytes: int | None) -> str:
    """Return a size in binary units."""
    if size_bytes is None:
        return "–"  # noqa: RUF001 - a dash for people
    size, unit = float(size_bytes), 0
    while size >= _KIB and unit < len(_UNITS) - 1:
        size, unit = size / _KIB, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def cut(text: str, most: int) -> str:
    """Return a text with at most so many characters; what is missing is said."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n… {len(text) - most} more characters"


class Room:
    """How much of a page is left for a list whose items may be long.

    Args:
        size_bytes: of the list, as it is sent.
    """

    def __init__(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes

    def takes(self, *texts: str) -> bool:
        """Take room for texts; False from the first one on that there is none for."""
        for text in texts:
            self._left_bytes -= len(html.escape(text).encode("utf-8", "replace"))
        if self._left_bytes < 0:
            self._left_bytes = -1
        return self._left_bytes >= 0


def fitting(
    rows: Sequence[Row], room_bytes: int, texts: Callable[[Row], tuple[str, ...]]
) -> list[Row]:
    """Return the first rows that a page has room for.

    Args:
        rows: of a list.
        room_bytes: for all of them.
        texts: returns what is sent of a row.
    """
    room = Room(room_bytes)
    return list(takewhile(lambda row: room.takes(*texts(row)), rows))


def pretty(value: Any) -> str:
    """Return a value of JSON as people read it."""
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=False)


def compact(value: Any) -> str:
    """Return a value of JSON in one line."""
    return json.dumps(value, ensure_ascii=False)


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "compact": compact,
    "cut": cut,
    "duration": duration_text,
    "pretty": pretty,
    "size": size_text,
    "time": time_text,
    "time_attribute": time_attribute,
    "took": took_text,
}
