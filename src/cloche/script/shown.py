"""What people and records see of arguments: no secrets, and no more than fits.

Pure. What is cut is marked; the hash of the real arguments stands beside it wherever it is shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from cloche.limits import Limits

REDACTED: Final = "<redacted>"
_SECRET: Final = re.compile(r"passw|secret|token|apikey|api_key|auth|credential|private_?key|^key$")


def redact(value: Any, names: AbstractSet[str] = frozenset(), *, outermost: bool = True) -> Any:
    """Return a value without what is secret: by the names a tool gives, or by what a name says.

    Args:
        value: plain JSON.
        names: secret members of the outermost object.
        outermost: whether `value` is it.
    """
    if isinstance(value, list):
        return [redact(item, outermost=False) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: REDACTED
        if (outermost and name in names) or _SECRET.search(name.lower())
        else redact(inner, outermost=False)
        for name, inner in value.items()
    }


def shorten(value: Any, *, limits: Limits) -> Any:
    """Return a value with long texts and lists cut; a mark says how much is missing."""
    text_max, count_max = limits.scripts.shown_text_limit_bytes, limits.scripts.shown_count_max
    if isinstance(value, str):
        data = value.encode("utf-8", "replace")
        if len(data) <= text_max:
            return value
        shown = data[:text_max].decode("utf-8", "ignore")
        return f"{shown}<{len(data) - len(shown.encode())} more bytes>"
    if isinstance(value, list):
        kept = [shorten(item, limits=limits) for item in value[:count_max]]
        more = len(value) - count_max
        return [*kept, f"<{more} more>"] if more > 0 else kept
    if isinstance(value, dict):
        return {name: shorten(inner, limits=limits) for name, inner in value.items()}
    return value
