"""Forms with files: multipart/form-data (RFC 7578), read piece by piece.

Owns the cutting of a body into parts, with a limit on everything that a client chooses.
Invariants:
- any split of the same bytes gives the same parts;
- a body that is not exactly what a browser sends is refused: no preamble, CRLF only, one
  Content-Disposition with a name, the closing delimiter at the end;
- a file name is what the client says, never a path to use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from cloche.web.errors import (
    BadRequestError,
    ContentTooLargeError,
    PartTooLargeError,
    TooManyPartsError,
    UnsupportedMediaTypeError,
)
from cloche.web.http1.head import FIELD

MULTIPART_TYPE: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(
    r"multipart/form-data *; *boundary="
    r"(?:\"([0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?])\""
    r"|([0-9A-Za-z'+_\-.]{1,70})) *",
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(
    r" *; *([a-z]++\*?)=(?:\"((?:[^\"\\]|\\.)*+)\"|([!#$%&'*+\-.^_`|~0-9A-Za-z]++))",
    re.IGNORECASE,
)
_ALLOWED: Final = frozenset({"content-disposition", "content-type", "content-transfer-encoding"})
_DASHES: Final = b"--"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartCaps:
    """What a form may have. Sizes in bytes."""

    part_count_max: int = 64
    head_limit_bytes: int = 16_384  # of one part
    part_limit_bytes: int = 1_048_576
    total_limit_bytes: int = 8_388_608


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One field of a form. `filename` is None where it is no file."""

    name: str
    content: bytes = field(repr=False)
    filename: str | None = None
    content_type: str = "text/plain"

    def text(self) -> str:
        """Return the content as text.

        Raises:
            BadRequestError: it is no UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            raise BadRequestError(where="form", problem=f"{self.name!r} is no UTF-8") from None


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a content-type names.

    Raises:
        UnsupportedMediaTypeError: it is no form with files, or has no valid boundary.
    """
    match = _BOUNDARY.fullmatch(content_type.strip())
    if match is None:
        expected = "multipart/form-data; boundary=..."
        raise UnsupportedMediaTypeError(found=content_type, expected=expected)
    return (match[1] or match[2]).encode("ascii")


class MultipartReader:
    """Reads one form. After an error it is not used again."""

    __slots__ = (
        "_buffer",
        "_caps",
        "_count",
        "_delimiter",
        "_head",
        "_is_complete",
        "_searched",
        "_total",
    )

    def __init__(self, boundary: bytes, caps: MultipartCaps | None = None) -> None:
        self._caps = MultipartCaps() if caps is None else caps
        self._delimiter = b"\r\n" + _DASHES + boundary
        # The first delimiter has no line before it; with one it is like all others.
        self._buffer = bytearray(b"\r\n")
        self._head: dict[str, str] | None = None  # of the part whose content is read
        self._searched = 0
        self._count = -1  # parts that began; -1 before the first delimiter
        self._total = 0
        self._is_complete = False

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts that these bytes complete.

        Raises:
            BadRequestError: the body is no form.
            ContentTooLargeError: it is over a limit.
        """
        self._total += len(data)
        if self._total > self._caps.total_limit_bytes:
            raise ContentTooLargeError(limit_bytes=self._caps.total_limit_bytes)
        self._buffer += data
        parts: list[Part] = []
        while not self._is_complete and self._step(parts):
            pass
        if self._is_complete and bytes(self._buffer) not in {b"", b"\r", b"\r\n"}:
            raise _malformed("bytes follow the closing delimiter")
        return parts

    def finish(self) -> None:
        """Say that no more bytes come.

        Raises:
            BadRequestError: the form is not complete.
        """
        if not self._is_complete or self._buffer == b"\r":
            raise _malformed("it ends without the closing delimiter")

    def _step(self, parts: list[Part]) -> bool:
        if self._count < 0:
            return self._skip_first()
        return self._read_head() if self._head is None else self._read_content(parts)

    def _skip_first(self) -> bool:
        start = bytes(self._buffer[: len(self._delimiter)])
        if not self._delimiter.startswith(start):
            raise _malformed("it does not begin with its delimiter")
        return len(start) == len(self._delimiter) and self._pass_delimiter(0)

    def _pass_delimiter(self, at: int) -> bool:
        """Go behind a delimiter at this place, with what follows it; False if that is not here."""
        end = at + len(self._delimiter)
        mark = bytes(self._buffer[end : end + 2])
        if len(mark) < len(_DASHES):
            return False
        if mark not in {_DASHES, b"\r\n"}:
            raise _malformed("a delimiter is not followed by a line end")
        del self._buffer[: end + 2]
        self._searched = 0
        self._head = None
        self._count += 1
        self._is_complete = mark == _DASHES
        if not self._is_complete and self._count >= self._caps.part_count_max:
            raise TooManyPartsError(part_count_max=self._caps.part_count_max)
        return True

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        limit = self._caps.head_limit_bytes
        if end > limit or (end < 0 and len(self._buffer) > limit + 3):
            raise PartTooLargeError(what="the head of a part", limit_bytes=limit)
        if end < 0:
            self._searched = max(0, len(self._buffer) - 3)
            return False
        self._head = _read_fields(bytes(self._buffer[:end]))
        # The line end before the content may be that of the delimiter: a part can be empty.
        del self._buffer[: end + 2]
        self._searched = 0
        return True

    def _read_content(self, parts: list[Part]) -> bool:
        at = self._buffer.find(self._delimiter, self._searched)
        size = (at if at >= 0 else len(self._buffer) - len(self._delimiter) - 2) - 2
        if size > self._caps.part_limit_bytes:
            limit_bytes = self._caps.part_limit_bytes
            raise PartTooLargeError(what="a part", limit_bytes=limit_bytes)
        if at < 0:
            self._searched = max(0, len(self._buffer) - len(self._delimiter) + 1)
            return False
        content = bytes(self._buffer[2:at])
        head = self._head
        assert head is not None
        if not self._pass_delimiter(at):
            self._searched = at
            return False
        parts.append(_part(head, content))
        return True


def _read_fields(block: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in block.split(b"\r\n"):
        if FIELD.fullmatch(line) is None:
            raise _malformed("a line of a part's head is no field")
        name, _, value = line.partition(b":")
        key = name.decode("ascii").lower()
        if key in fields or key not in _ALLOWED:
            raise _malformed(f"a part has the field {key} twice, or must not have it")
        try:
            fields[key] = value.strip(b" \t").decode()
        except UnicodeDecodeError:
            raise _malformed("a field of a part is no UTF-8") from None
    return fields


def _part(head: dict[str, str], content: bytes) -> Part:
    kind, _, rest = head.get("content-disposition", "").partition(";")
    parameters: dict[str, str] = {}
    position, rest = 0, ";" + rest if rest else ""
    while position < len(rest):
        match = _PARAMETER.match(rest, position)
        if match is None or match[1].lower() in parameters:
            raise _malformed("a Content-Disposition is malformed")
        parameters[match[1].lower()] = match[3] or _unescaped(match[2] or "")
        position = match.end()
    if kind.strip().lower() != "form-data" or "name" not in parameters:
        raise _malformed("a part is no form-data with a name")
    # RFC 7578 section 4.2: `filename*` is never sent in a form.
    if not set(parameters) <= {"name", "filename"}:
        raise _malformed("the Content-Disposition of a part has more than name and filename")
    if "\0" in parameters["name"] + parameters.get("filename", ""):
        raise _malformed("a name has a NUL")
    return Part(
        name=parameters["name"],
        content=content,
        filename=parameters.get("filename"),
        content_type=head.get("content-type", "text/plain"),
    )


def _unescaped(text: str) -> str:
    # Browsers write %22 for a quote and nothing else; older programs write a backslash before it.
    return text.replace('\\"', '"').replace("%22", '"')


def _malformed(problem: str) -> BadRequestError:
    return BadRequestError(where="form", problem=problem)
