"""What one message and one connection may use. Made from `limits.web`, or from an EWHC blob."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cloche.limits.web_groups import WebLimits
    from cloche.web.encodings.settings import Http1ParserCaps

METHOD_LIMIT_BYTES = 32  # the longest registered method, UPDATEREDIRECTREF, has 17
LEADING_LINE_COUNT_MAX = 2  # empty lines before a request: RFC 9112 section 2.2 asks for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Http1Caps:
    """Sizes in bytes. Lines count without their CRLF, the head with every CRLF.

    `http_1_0` admits requests of HTTP/1.0; without it they are answered with 505.
    """

    request_line_limit_bytes: int = 8192
    field_line_limit_bytes: int = 8192
    head_limit_bytes: int = 32_768
    field_count_max: int = 100
    body_limit_bytes: int = 1_048_576
    chunk_line_limit_bytes: int = 320
    chunk_overhead_limit_bytes: int = 65_536
    trailer_limit_bytes: int = 4096
    trailer_count_max: int = 16
    pipelining_depth_max: int = 16
    http_1_0: bool = False
    # A head that is no larger breaks none of the three limits, which is nearly every head.
    small_head_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        smallest = min(
            self.request_line_limit_bytes, self.field_line_limit_bytes, self.head_limit_bytes
        )
        object.__setattr__(self, "small_head_bytes", smallest)

    @classmethod
    def from_limits(cls, limits: WebLimits, *, http_1_0: bool = False) -> Self:
        """Return the caps that the settings say."""
        values = {name: value for name, value in limits.to_dict().items() if name in _OF_MESSAGES}
        return cls(http_1_0=http_1_0, **values)

    @classmethod
    def from_parser_caps(cls, caps: Http1ParserCaps) -> Self:
        """Return the caps of one-shot parsing: lines may be as long as the head."""
        return cls(
            request_line_limit_bytes=caps.header_limit_bytes,
            field_line_limit_bytes=caps.header_limit_bytes,
            head_limit_bytes=caps.header_limit_bytes,
            field_count_max=caps.header_count_max,
            body_limit_bytes=caps.body_limit_bytes,
        )


_OF_MESSAGES = frozenset(each.name for each in fields(Http1Caps) if each.init)
