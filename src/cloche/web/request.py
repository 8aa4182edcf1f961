"""A request as handlers see it.

Invariants:
- names of fields are lowercase; what is derived (query, cookies) is parsed when it is asked for;
- a body is read once, with a limit that whoever reads it states;
- nothing here knows a connection: the same request comes from a socket and from a cassette.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from cloche.web.cookies import parse_cookies
from cloche.web.errors import (
    BadRequestError,
    BodyTakenError,
    ContentTooLargeError,
    UnsupportedMediaTypeError,
    ValidationFailedError,
)
from cloche.web.multipart import MultipartCaps, MultipartReader, Part, boundary_of
from cloche.web.target import Pairs, authority_of, parse_pairs, split_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.web.http1.events import Field
    from cloche.web.ports import BodySource, Services

Value = TypeVar("Value")

BODY_LIMIT_BYTES: Final = 1_048_576  # the default of limits.web.body_limit_bytes
FORM_TYPE: Final = "application/x-www-form-urlencoded"


class Request:
    """One request. Made by adapters; handlers and middleware read it.

    `context` is for what middleware adds for those behind it: the session, the user, the id.
    """

    __slots__ = (
        "_body",
        "_cookies",
        "_found",
        "_found_in",
        "_path",
        "_query",
        "_query_text",
        "client",
        "context",
        "fields",
        "method",
        "params",
        "route",
        "scheme",
        "services",
        "target",
        "template",
    )

    def __init__(
        self,
        *,
        method: str,
        target: str,
        services: Services,
        fields: Sequence[Field] = (),
        body: bytes | BodySource = b"",
        scheme: str = "http",
        client: str = "",
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.scheme = scheme
        self.client = client
        self.services = services
        self.params: dict[str, str] = {}
        self.template = ""  # of the route that answers; set by the application
        self.context: dict[str, Any] = {}
        self._body: bytes | BodySource | None = body
        self._query: Pairs | None = None
        self._cookies: dict[str, str] | None = None
        self._found: dict[bytes, bytes] = {}  # the last value of each field
        self._found_in: Sequence[Field] = ()  # the fields that `_found` was made of
        if target.startswith("/"):
            self._path, _, self._query_text = target.partition("?")
        else:
            self._path, self._query_text = split_target(target)

    @property
    def path(self) -> str:
        """The path as it arrived, without the query."""
        return self._path

    @property
    def host(self) -> str:
        """The host that the request is for, with its port."""
        return authority_of(self.target, self.header("host") or "")

    @property
    def query(self) -> Pairs:
        """The query.

        Raises:
            BadRequestError: it is malformed.
        """
        if self._query is None:
            self._query = parse_pairs(self._query_text)
        return self._query

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies; what is malformed is not among them."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers("cookie"))
        return self._cookies

    def header(self, name: str) -> str | None:
        """Return the values of a field joined with `, `, or None."""
        values = self.headers(name)
        if len(values) == 1:
            return values[0]
        return ", ".join(values) if values else None

    def headers(self, name: str) -> list[str]:
        """Return each value of a field, in order of arrival."""
        fields = self.fields
        if self._found_in is not fields:
            self._found, self._found_in = dict(fields), fields
        wanted, found = name.lower().encode("latin-1"), self._found
        if wanted not in found:
            return []
        if len(found) == len(fields):  # none comes twice
            return [found[wanted].decode("latin-1")]
        return [value.decode("latin-1") for field, value in fields if field == wanted]

    @property
    def media_type(self) -> str:
        """The content-type without its parameters, in lowercase; empty if there is none."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def body_reader(self) -> BodySource:
        """Return the body as a stream. It can be taken once.

        Raises:
            BodyTakenError: the body was taken before.
        """
        body = self._take()
        return _Whole(body) if isinstance(body, bytes) else body

    async def read_all(self, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
        """Return the whole body; again, the same bytes.

        Raises:
            ContentTooLargeError: it is longer than the limit.
            BodyTakenError: it was taken as a stream before.
        """
        body = self._body
        if not isinstance(body, bytes):
            body = await _read_all(self.body_reader(), limit_bytes)
            self._body = body
        if len(body) > limit_bytes:
            raise ContentTooLargeError(limit_bytes=limit_bytes)
        return body

    async def json(self, type_: type[Value], limit_bytes: int = BODY_LIMIT_BYTES) -> Value:
        """Return the body as a value of a type, checked.

        Raises:
            UnsupportedMediaTypeError: the content-type is not JSON.
            BadRequestError: the body is no JSON.
            ValidationFailedError: it is, and has not this type.
            ContentTooLargeError: as `read_all`.
        """
        media_type = self.media_type
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaTypeError(found=media_type, expected="application/json")
        return decode_json(await self.read_all(limit_bytes), type_)

    async def form(self, limit_bytes: int = BODY_LIMIT_BYTES) -> Pairs:
        """Return the pairs of an urlencoded form.

        Raises:
            UnsupportedMediaTypeError: the content-type is not that of a form.
            BadRequestError: the body is malformed.
            ContentTooLargeError: as `read_all`.
        """
        if self.media_type != FORM_TYPE:
            raise UnsupportedMediaTypeError(found=self.media_type, expected=FORM_TYPE)
        body = await self.read_all(limit_bytes)
        try:
            text = body.decode("ascii")
        except UnicodeDecodeError:
            raise BadRequestError(where="form", problem="it has bytes that are no ASCII") from None
        return parse_pairs(text, where="form")

    async def multipart(self, caps: MultipartCaps | None = None) -> list[Part]:
        """Return the parts of a form with files, all in memory, within their limits.

        Raises:
            UnsupportedMediaTypeError: the content-type is not that of such a form.
            BadRequestError: the body is malformed.
            ContentTooLargeError: it is over a limit.
            BodyTakenError: it was taken as a stream before.
        """
        reader = MultipartReader(boundary_of(self.header("content-type") or ""), caps)
        body = self.body_reader()
        parts: list[Part] = []
        while piece := await body.read():
            parts += reader.feed(piece)
        reader.finish()
        return parts

    def limit_body(self, limit_bytes: int) -> None:
        """Let nobody behind this point read more than so many bytes of the body."""
        body = self._body
        if isinstance(body, bytes):
            if len(body) > limit_bytes:
                raise ContentTooLargeError(limit_bytes=limit_bytes)
        elif body is not None:
            self._body = _Limited(body, limit_bytes)

    def _take(self) -> bytes | BodySource:
        body = self._body
        if body is None:
            raise BodyTakenError
        self._body = None
        return body


def decode_json(body: bytes, type_: type[Value]) -> Value:
    """Return a JSON text as a value of a type.

    Raises:
        BadRequestError: the text is no JSON.
        ValidationFailedError: the value has not this type.
    """
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise ValidationFailedError(where="body", name="", problem=str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error) if isinstance(error, msgspec.DecodeError) else "it is no JSON text"
        raise BadRequestError(where="body", problem=problem) from None


class _Whole:
    """A body that is already here."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body


class _Limited:
    """A body that ends with an error at a limit."""

    def __init__(self, source: BodySource, limit_bytes: int) -> None:
        self._source = source
        self._left = limit_bytes
        self._limit_bytes = limit_bytes

    async def read(self) -> bytes:
        piece = await self._source.read()
        self._left -= len(piece)
        if self._left < 0:
            raise ContentTooLargeError(limit_bytes=self._limit_bytes)
        return piece


async def _read_all(source: BodySource, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await source.read():
        size += len(piece)
        if size > limit_bytes:
            raise ContentTooLargeError(limit_bytes=limit_bytes)
        pieces.append(piece)
    return b"".join(pieces)
