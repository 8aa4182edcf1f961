"""A response as handlers make it.

Invariants:
- a response does not change: `with_field` and its kind return another one;
- its status is a number that HTTP has, so whoever got it wrong is in the trace of the error;
- a body is bytes, or a stream of pieces; what it means for the wire is for the serializer, which
  checks every field again.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.web.encodings.messages import STATUS_MAX, STATUS_MIN
from cloche.web.errors import HttpError, ResponseError

if TYPE_CHECKING:
    from cloche.errors import ClocheError
    from cloche.web.http1.events import Field
    from cloche.web.ports import Channel

Stream = AsyncIterable[bytes] | Iterable[bytes]

TEXT: Final = b"text/plain; charset=utf-8"
HTML: Final = b"text/html; charset=utf-8"
JSON: Final = b"application/json"
BYTES: Final = b"application/octet-stream"
EVENTS: Final = b"text/event-stream"

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_encode_json: Final = msgspec.json.Encoder(order="deterministic").encode


class Upgrade(msgspec.Struct, frozen=True):
    """The body of a 101: what happens on the WebSocket that the connection becomes.

    The adapter writes the head, makes a channel, awaits `run` with it, and then ends the
    connection. `run` raises nothing and has closed the channel. `deflate` says that
    permessage-deflate was agreed on.
    """

    run: Callable[[Channel], Awaitable[None]]
    subprotocol: str | None = None
    deflate: bool = False


class Response(msgspec.Struct, frozen=True):
    """Status, fields (names in lowercase), and a body: bytes, a stream, or of a 101 an `Upgrade`.

    `length` is the size of a stream where it is known.

    Raises:
        ResponseError: on construction; the status is no number from 100 to 599.
    """

    status: int
    fields: tuple[Field, ...] = ()
    body: Any = b""
    length: int | None = None

    def __post_init__(self) -> None:
        status = self.status
        if type(status) is int and STATUS_MIN <= status <= STATUS_MAX:
            return
        if not isinstance(status, HTTPStatus):
            expected = f"a number from {STATUS_MIN} to {STATUS_MAX}"
            raise ResponseError(problem=f"the status is {status!r:.100}, not {expected}")
        msgspec.structs.force_setattr(self, "status", int(status))

    @property
    def is_stream(self) -> bool:
        """Whether the body is no bytes, but comes in pieces or is an `Upgrade`."""
        return not isinstance(self.body, bytes)

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a field."""
        return next((value for found, value in self.fields if found == name), None)

    def with_field(self, name: bytes, value: bytes) -> Response:
        """Return the response with one field more."""
        return Response(self.status, (*self.fields, (name, value)), self.body, self.length)

    def with_fields(self, fields: tuple[Field, ...]) -> Response:
        """Return the response with more fields."""
        return Response(self.status, self.fields + fields, self.body, self.length)

    def replacing(self, name: bytes, value: bytes) -> Response:
        """Return the response with one value for a field, whatever it had."""
        for found, _ in self.fields:
            if found == name:
                break
        else:
            return self.with_field(name, value)
        fields = [field for field in self.fields if field[0] != name]
        fields.append((name, value))
        return Response(self.status, tuple(fields), self.body, self.length)


_READY: Final = (Response, str, bytes)  # values that are no JSON


def text(content: str, status: int = 200) -> Response:
    """Return plain text."""
    return Response(status, ((b"content-type", TEXT),), content.encode())


def html(content: str, status: int = 200) -> Response:
    """Return a page."""
    return Response(status, ((b"content-type", HTML),), content.encode())


def data(content: bytes, status: int = 200, content_type: str = "") -> Response:
    """Return bytes of a media type."""
    found = content_type.encode("latin-1") if content_type else BYTES
    return Response(status, ((b"content-type", found),), content)


def json(value: object, status: int = 200) -> Response:
    """Return a value as JSON, keys in a fixed order.

    Raises:
        ResponseError: the value has no JSON.
    """
    try:
        body = _encode_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ResponseError(problem=f"{type(value).__name__} has no JSON: {error}") from None
    return Response(status, ((b"content-type", JSON),), body)


def empty(status: int = 204) -> Response:
    """Return a response without a body."""
    return Response(status)


def redirect(location: str, status: int = 303) -> Response:
    """Return a redirect. The location is ASCII; encode what is not.

    Raises:
        ResponseError: no status of a redirect, or characters that no location has.
    """
    if status not in REDIRECTS:
        raise ResponseError(problem=f"{status} is no redirect; use {sorted(REDIRECTS)}")
    if not location.isascii() or not location.isprintable() or " " in location or "\\" in location:
        raise ResponseError(problem="a location is visible ASCII without a backslash")
    return Response(status, ((b"location", location.encode()),))


def stream(
    pieces: Stream, content_type: str = "", status: int = 200, length: int | None = None
) -> Response:
    """Return a body that comes in pieces; `length` in bytes where it is known."""
    found = content_type.encode("latin-1") if content_type else BYTES
    return Response(status, ((b"content-type", found),), pieces, length)


def sse(events: Stream) -> Response:
    """Return a stream of events, each made by `event`."""
    fields = ((b"content-type", EVENTS), (b"cache-control", b"no-store"))
    return Response(200, fields, events)


def event(
    content: str = "",
    *,
    name: str | None = None,
    identity: str | None = None,
    retry_ms: int | None = None,
    comment: str | None = None,
) -> bytes:
    """Return one server-sent event; a comment alone is a heartbeat.

    Raises:
        ResponseError: a line end in a name or id, or NUL in an id.

    Source: the HTML standard, server-sent events.
    """
    lines = []
    if comment is not None:
        lines += [f": {line}" for line in _lines(comment)]
    for field, value in (("event", name), ("id", identity)):
        if value is not None:
            if len(_lines(value)) != 1 or "\0" in value:
                raise ResponseError(problem=f"the {field} of an event is one line without NUL")
            lines.append(f"{field}: {value}")
    if retry_ms is not None:
        lines.append(f"retry: {retry_ms}")
    if content or comment is None:
        lines += [f"data: {line}" for line in _lines(content)]
    return ("\n".join(lines) + "\n\n").encode()


def error(failure: ClocheError, status: int | None = None, **extra: object) -> Response:
    """Return the document of an error, as docs/architecture/encodings/errors-v1.md says."""
    fields: tuple[Field, ...] = ()
    if isinstance(failure, HttpError):
        status = failure.status if status is None else status
        fields = failure.response_fields()
    document = {**failure.to_document(), **extra}
    return json(document, 500 if status is None else status).with_fields(fields)


def from_value(value: object) -> Response:
    """Return what a handler's value means: text, bytes, JSON, or nothing for None."""
    if value is None:
        return empty()
    if not isinstance(value, _READY):
        return json(value)
    if isinstance(value, Response):
        return value
    return text(value) if isinstance(value, str) else data(value)


def _lines(content: str) -> list[str]:
    return content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
