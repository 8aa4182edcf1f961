"""Which representation of something a request gets: preconditions, ranges, codings, dates.

Pure rules of RFC 9110 sections 12 to 14, shared by middleware and static files.
Invariants:
- what is malformed is as if it were not there, except a precondition that names no known tag;
- at most one range is answered: several are refused or ignored, never assembled.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from cloche.web.request import Request

NOT_MODIFIED: Final = 304
PRECONDITION_FAILED: Final = 412
_TAG: Final = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")
_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_DAYS: Final = "Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_CODING_COUNT_MAX: Final = 32


class Span(msgspec.Struct, frozen=True):
    """A range of bytes, both ends included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.last - self.first + 1

    def content_range(self, total: int) -> bytes:
        """Return the value of `content-range` for a whole of so many bytes."""
        return b"bytes %d-%d/%d" % (self.first, self.last, total)


def precondition(request: Request, tag: str, modified: datetime | None) -> int | None:
    """Return 304 or 412 where a precondition says so, in the order of section 13.2.2.

    Args:
        request: a GET or HEAD.
        tag: the ETag of what would be sent, empty if there is none.
        modified: when it was changed last, if that is known, in whole seconds.
    """
    wanted = request.header("if-match")
    if wanted is not None:
        if not _has_tag(wanted, tag, strong=True):
            return PRECONDITION_FAILED
    elif _is_later(modified, request.header("if-unmodified-since")):
        return PRECONDITION_FAILED
    known = request.header("if-none-match")
    if known is not None:
        return NOT_MODIFIED if _has_tag(known, tag, strong=False) else None
    since = parse_date(request.header("if-modified-since") or "")
    unchanged = since is not None and modified is not None and modified <= since
    return NOT_MODIFIED if unchanged else None


def find_span(
    request: Request, size: int, tag: str, modified: datetime | None
) -> Span | Literal["none"] | None:
    """Return the range that a GET asks for, "none" where it has no byte of it, None for all.

    Several ranges, other units and a range whose condition does not hold mean all (section 14.2).
    """
    wanted = request.header("range")
    condition = request.header("if-range")
    if (
        wanted is None
        or request.method != "GET"
        or (condition is not None and not _is_same(condition, tag, modified))
    ):
        return None
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match[0] == "bytes=-":
        return None
    if match[1]:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return None
    else:
        first, last = max(0, size - int(match[2])), size - 1
    return "none" if first > last else Span(first, last)


def accepts_coding(accepted: str, coding: str) -> bool:
    """Return whether an Accept-Encoding takes a coding: by name or `*`, and not with weight 0."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(",")[:_CODING_COUNT_MAX]:
        name, _, parameter = part.partition(";")
        weight = 1.0
        if parameter.strip().startswith("q="):
            try:
                weight = float(parameter.strip()[2:])
            except ValueError:
                weight = 0.0
        weights[name.strip()] = weight
    return weights.get(coding, weights.get("*", 0.0)) > 0


def parse_date(text: str) -> datetime | None:
    """Return the time of an IMF-fixdate (section 5.6.7); None for any other text."""
    match = _DATE.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    month = _MONTHS.index(match[2]) + 1
    day, year, hour, minute, second = (int(match[index]) for index in (1, 3, 4, 5, 6))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def write_date(time: datetime) -> bytes:
    """Return a time as IMF-fixdate. Not `strftime`, whose names follow the locale."""
    utc = time.astimezone(UTC)
    day, month = _DAYS[utc.weekday()], _MONTHS[utc.month - 1]
    return f"{day}, {utc.day:02} {month} {utc.year:04} {utc:%H:%M:%S} GMT".encode()


def _has_tag(wanted: str, tag: str, *, strong: bool) -> bool:
    if wanted.strip() == "*":
        return True
    tags = _TAG.findall(wanted)
    if strong:
        return not tag.startswith("W/") and tag in tags
    return tag.removeprefix("W/") in [found.removeprefix("W/") for found in tags]


def _is_later(modified: datetime | None, than: str | None) -> bool:
    date = parse_date(than or "")
    return date is not None and modified is not None and modified > date


def _is_same(condition: str, tag: str, modified: datetime | None) -> bool:
    if _TAG.fullmatch(condition):
        return not tag.startswith("W/") and condition == tag
    return modified is not None and parse_date(condition) == modified
