"""Cron expressions: the next time after a given one, in UTC.

    minute hour day-of-month month day-of-week

Each field is `*`, a number, a range `a-b`, a list `a,b`, with a step `/n` behind `*` or a range.
Months and days may be named (`jan`, `mon`); Sunday is 0 or 7. `@hourly`, `@daily`, `@midnight`,
`@weekly`, `@monthly`, `@yearly` and `@annually` stand for what they say. When both days are given,
a day that fits either is meant, as in cron since Version 7 of Unix.

Pure. An expression that no time ever fits (30 February) is refused when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cloche.apps.storage.errors import CronError

NS_PER_MINUTE: Final = 60_000_000_000
EXPRESSION_LENGTH_MAX: Final = 200
# The longest wait is for 29 February, over a year 2100.
_DAY_COUNT_MAX: Final = 8 * 366 + 1

_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS: Final = "sun mon tue wed thu fri sat".split()
_SUNDAY_TOO: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field(name="minute", low=0, high=59),
    _Field(name="hour", low=0, high=23),
    _Field(name="day of month", low=1, high=31),
    _Field(name="month", low=1, high=12, names=tuple(_MONTHS)),
    _Field(name="day of week", low=0, high=7, names=tuple(_DAYS)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A checked expression. Days of the week count from Sunday, 0."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def next_ns(self, after_ns: int) -> int:
        """Return the first time after a time, nanoseconds of the Unix epoch.

        Raises:
            CronError: there is none before the calendar ends.
        """
        start = datetime.fromtimestamp(after_ns // NS_PER_MINUTE * 60, UTC) + timedelta(minutes=1)
        try:
            found = self._next(start)
        except OverflowError:
            found = None
        if found is None:
            raise CronError(expression=self.text, problem="no time ever fits")
        return int(found.timestamp()) * 1_000_000_000

    def _next(self, start: datetime) -> datetime | None:
        day = start.replace(hour=0, minute=0)
        for _ in range(_DAY_COUNT_MAX):
            if self._fits(day):
                floor = max(day, start)
                for hour in self.hours:
                    for minute in self.minutes:
                        found = day.replace(hour=hour, minute=minute)
                        if found >= floor:
                            return found
            day += timedelta(days=1)
        return None

    def _fits(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        in_month = day.day in self.days
        in_week = day.isoweekday() % 7 in self.weekdays
        return in_month or in_week if self.either_day else in_month and in_week


def parse_cron(expression: str) -> Cron:
    """Return what an expression means.

    Raises:
        CronError: it means nothing, or no time ever fits.
    """
    text = " ".join(expression.split()).lower()
    if len(expression) > EXPRESSION_LENGTH_MAX:
        raise CronError(expression=text[:40], problem=f"longer than {EXPRESSION_LENGTH_MAX}")
    fields = _ALIASES.get(text, text).split()
    if len(fields) != len(_FIELDS):
        known = ", ".join(_ALIASES)
        raise CronError(
            expression=text,
            problem=f"has {len(fields)} fields; minute hour day month weekday are 5 (or {known})",
        )
    sets = [_values(field, part, text) for field, part in zip(_FIELDS, fields, strict=True)]
    weekdays = {0 if day == _SUNDAY_TOO else day for day in sets[4]}
    cron = Cron(
        text=text,
        minutes=tuple(sorted(sets[0])),
        hours=tuple(sorted(sets[1])),
        days=frozenset(sets[2]),
        months=frozenset(sets[3]),
        weekdays=frozenset(weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )
    cron.next_ns(0)
    return cron


def _values(field: _Field, part: str, text: str) -> set[int]:
    found: set[int] = set()
    for item in part.split(","):
        found |= _item(field, item, text)
    return found


def _item(field: _Field, item: str, text: str) -> set[int]:
    span, slash, step_text = item.partition("/")
    step = 1
    if slash:
        step = _number(field, step_text, text)
        if step < 1:
            raise _wrong(field, item, text)
    if span == "*":
        low, high = field.low, field.high
        if field.names and field.high == _SUNDAY_TOO:
            high = _SUNDAY_TOO - 1  # Sunday once
    else:
        first, dash, last = span.partition("-")
        low = _number(field, first, text)
        high = _number(field, last, text) if dash else low
        if slash and not dash:
            high = field.high
        if dash and high == 0 and field.high == _SUNDAY_TOO:
            high = _SUNDAY_TOO  # fri-sun
    if not field.low <= low <= high <= field.high:
        raise _wrong(field, item, text)
    return set(range(low, high + 1, step))


def _number(field: _Field, text: str, expression: str) -> int:
    if text in field.names:
        return field.names.index(text) + field.low
    if not (text.isascii() and text.isdigit() and len(text) < 3):  # noqa: PLR2004 - two digits
        raise _wrong(field, text, expression)
    return int(text)


def _wrong(field: _Field, part: str, text: str) -> CronError:
    return CronError(
        expression=text,
        problem=f"{part!r} is no {field.name}: {field.low} to {field.high}, a-b, a,b, */n",
    )
