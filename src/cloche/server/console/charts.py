"""Numbers of the last hour as shapes that a page draws. Pure.

Invariants: a chart has one column for each minute, the oldest at the left; a minute in which
nothing ended has no latency, which is a gap and no zero; shapes stay inside of their frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MINUTE_COUNT: Final = 60
WIDTH: Final = 600
HEIGHT: Final = 120
_MINUTE_MS: Final = 60_000
_GAP: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A run: when it began, how long it took if it has ended, whether it failed."""

    created_ms: int
    duration_ms: int | None
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What began in one minute. Latencies are None when nothing of it has ended."""

    count: int
    failed: int
    middle_ms: int | None
    slow_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a chart, in units of its frame."""

    x: float
    y: float
    width: float
    height: float
    value: int


def minutes_of(samples: Iterable[Sample], now_ms: int) -> list[Minute]:
    """Return the last hour by minutes, the oldest first; what is older is left out."""
    last = now_ms // _MINUTE_MS
    found: list[list[Sample]] = [[] for _ in range(MINUTE_COUNT)]
    for sample in samples:
        age = last - sample.created_ms // _MINUTE_MS
        if 0 <= age < MINUTE_COUNT:
            found[MINUTE_COUNT - 1 - age].append(sample)
    return [_minute(each) for each in found]


def _minute(samples: Sequence[Sample]) -> Minute:
    durations = sorted(each.duration_ms for each in samples if each.duration_ms is not None)
    return Minute(
        count=len(samples),
        failed=sum(each.failed for each in samples),
        middle_ms=quantile(durations, 0.5),
        slow_ms=quantile(durations, 0.95),
    )


def quantile(ordered: Sequence[int], share: float) -> int | None:
    """Return the value below which a share of ordered values lies; None of nothing."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def bars(values: Sequence[int]) -> list[Bar]:
    """Return a bar for each value above 0; the highest fills the frame."""
    most = max(values, default=0)
    if most <= 0:
        return []
    step = WIDTH / len(values)
    return [
        Bar(
            x=round(index * step + _GAP / 2, 1),
            y=round(HEIGHT - HEIGHT * value / most, 1),
            width=round(step - _GAP, 1),
            height=round(HEIGHT * value / most, 1),
            value=value,
        )
        for index, value in enumerate(values)
        if value > 0
    ]


def line(values: Sequence[int | None], most: int) -> str:
    """Return the path of a line with gaps; a value alone is a short stroke.

    Args:
        values: one for each column.
        most: the value at the upper edge.
    """
    step = WIDTH / max(1, len(values))
    parts: list[str] = []
    is_down = False
    for index, value in enumerate(values):
        if value is None:
            is_down = False
            continue
        x, y = (index + 0.25) * step, HEIGHT - HEIGHT * min(1.0, value / max(1, most))
        parts.append(f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}h{step / 2:.1f}")
        is_down = True
    return "".join(parts)
