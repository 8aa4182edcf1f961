"""What is raised when bytes break their encoding, or a value cannot have one.

Invariants:
- every error has a `number` of the registry (`codes`) and its `name`, so that it can cross any
  boundary as four bytes;
- a message never shows payload bytes: they may be a private key or a cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.errors import ClocheError

if TYPE_CHECKING:
    from cloche.web.encodings.codes import Code


class DecodeError(ClocheError):
    """Bytes are no valid blob of their format. State: nothing was made of them."""

    code = "WEB_DECODE"
    blame = "remote"

    def __init__(self, *, encoding: str, reason: Code, offset: int, problem: str) -> None:
        super().__init__(
            f"{encoding} at byte {offset}: {problem} ({reason.name}, {reason.number})",
            encoding=encoding,
            number=reason.number,
            name=reason.name,
            offset=offset,
            problem=problem,
        )


class EncodeError(ClocheError):
    """A value breaks a rule of its format, so it has no bytes. State: no value was made."""

    code = "WEB_ENCODE"
    blame = "caller"

    def __init__(self, *, encoding: str, reason: Code, problem: str) -> None:
        super().__init__(
            f"{encoding}: {problem} ({reason.name}, {reason.number})",
            encoding=encoding,
            number=reason.number,
            name=reason.name,
            problem=problem,
        )
