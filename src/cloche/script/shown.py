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
_SECRET: Final = re.compile(
    r"passw|secret|token|apikey|api_key|auth(?!or(?!i[sz]))|credential|private_?key|^key$"
)

# A name, `:` or `=`, perhaps with a type before it, and a literal.
_ASSIGNED: Final = re.compile(
    r"(?P<before>(?P<quote>['\"]?)(?P<name>[A-Za-z_$][\w$-]{0,99})(?P=quote)\s{0,9}"
    r"(?::\s{0,9}\w{1,30}\s{0,9}=|[:=](?!=))\s{0,9})"
    r"(?:[rbuRBU]{0,2}(?:'{3}.*?(?:'{3}|\Z)|\"{3}.*?(?:\"{3}|\Z)"
    r"|\"(?:[^\"\\\n]|\\.)*+\"?|'(?:[^'\\\n]|\\.)*+'?)|`(?:[^`\\]|\\.)*+`?|-?\d[\w.]*)",
    re.DOTALL,
)
SECRET_CHARACTERS_MIN: Final = 4  # a shorter text is in many places that have nothing to do with it


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


def redact_lines(text: str, args: Any, names: AbstractSet[str] = frozenset()) -> str:
    """Return lines of a program without what is secret, as far as it stands there in plain words.

    That is: the texts of secret arguments, and literals behind a name that says so. What a program
    computes, or writes in another way, is not found.

    Args:
        text: the lines.
        args: of the call, plain JSON.
        names: the secret arguments of the tool.
    """
    found = sorted(_secret_texts(args, names), key=len, reverse=True)
    for secret in found:
        text = text.replace(secret, REDACTED)

    def hidden(match: re.Match[str]) -> str:
        name = match["name"]
        secret = name in names or _SECRET.search(name.lower())
        return match["before"] + REDACTED if secret else match[0]

    return _ASSIGNED.sub(hidden, text)


def _secret_texts(args: Any, names: AbstractSet[str], *, hidden: bool = False) -> set[str]:
    if isinstance(args, str):
        return {args} if hidden and len(args) >= SECRET_CHARACTERS_MIN else set()
    if isinstance(args, list):
        inner = [(item, hidden) for item in args]
    elif isinstance(args, dict):
        inner = [
            (item, hidden or name in names or bool(_SECRET.search(name.lower())))
            for name, item in args.items()
        ]
    else:
        return set()
    return {text for item, is_in in inner for text in _secret_texts(item, names, hidden=is_in)}


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
