"""What can be wrong with a limit, as errors. Nothing is changed when one is raised.

Every error is the caller's to mend and names the limit, what was found, and where it came from.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from cloche.errors import ClocheError

_SHOWN_BITS_MAX = 128  # longer numbers are described; Python refuses to print very long ones


class LimitError(ClocheError):
    """A limit, or a setting of one, that cannot be. The root of the room's errors."""

    code = "LIMIT_INVALID"
    blame = "caller"


class LimitRangeError(LimitError):
    """A number outside of the range of its limit."""

    code = "LIMIT_OUT_OF_RANGE"


class LimitTypeError(LimitError):
    """A value that is no whole number, or no group of limits."""

    code = "LIMIT_WRONG_TYPE"


class LimitUnknownError(LimitError):
    """A name that no limit, group or table has."""

    code = "LIMIT_UNKNOWN"


class LimitReadOnlyError(LimitError):
    """A setting for what is detected or estimated."""

    code = "LIMIT_READ_ONLY"


class LimitQuantityError(LimitError):
    """A text that is no number with a unit."""

    code = "LIMIT_MALFORMED"


class LimitFileError(LimitError):
    """A configuration file that is missing, unreadable, too large or no TOML."""

    code = "LIMIT_FILE"


def shown(value: object) -> Any:
    """Return a value as an error may hold it: JSON-ready and short."""
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS_MAX:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)  # JSON has no nan and no infinity
    text = value if isinstance(value, str) else repr(value)
    text = text.encode(errors="backslashreplace").decode()  # a variable need not be UTF-8
    return text if len(text) <= _SHOWN_BITS_MAX else text[:_SHOWN_BITS_MAX] + "…"


def from_origin(origin: str) -> str:
    """Return the words that name an origin, or none."""
    return f" (from {origin})" if origin else ""
