"""What the parser says: a head, pieces of a body, the end of a message, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from cloche.web.encodings.codes import Code

Field = tuple[bytes, bytes]


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """A request without its body.

    `target` is as it arrived. `fields` are in order of arrival, names in lowercase, values without
    white space around them. `content_length` is the size of the body, None where chunks say it.
    `keep_alive` is false where no request can follow. `expects_continue` asks for 100 before the
    body is sent. `upgrades` is true where another protocol was offered or a tunnel was asked for:
    nothing behind this request is read as HTTP before it was answered.
    """

    method: str
    target: str
    version: Literal["1.1", "1.0"]
    fields: list[Field]
    content_length: int | None
    keep_alive: bool
    expects_continue: bool
    upgrades: bool


class Data(msgspec.Struct, frozen=True, gc=False):
    """A piece of the body, not empty. Where pieces end says nothing."""

    data: bytes


class End(msgspec.Struct, frozen=True, gc=False):
    """The request is complete."""


class Reject(msgspec.Struct, frozen=True, gc=False):
    """The connection cannot go on: answer with `code.status` and close. Always the last event."""

    code: Code


Event = RequestHead | Data | End | Reject
END: Final = End()
