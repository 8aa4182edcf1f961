"""X7TL, X7HC and EWHC: how a server is set up.

Pages: tls-server-config-v1.md, http1-server-caps-v1.md and http1-caps-v1.md in
docs/architecture/encodings.
Invariant: what is malformed is refused. Only an empty EWHC blob means the defaults: limits that
fall back silently are limits that are off when it matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cloche.web.encodings.wire import U16_MAX, U32_MAX, Format, Reader

TLS: Final = Format(name="X7TL", magic=b"X7TL", block="TLS_CONFIG")
SERVER_CAPS: Final = Format(name="X7HC", magic=b"X7HC", block="CAPS")
PARSER_CAPS: Final = Format(name="EWHC", magic=b"EWHC", block="CAPS")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsServerConfig:
    """Certificate chain and key, both PEM. The key is not in its `repr`.

    Raises:
        EncodeError: on construction; one of them is empty.
    """

    certificates: bytes
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.certificates or not self.key:
            TLS.refuse("certificate chain and key must not be empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Http1ServerCaps:
    """Limits of the server adapter. Sizes in bytes; all but the body's are above 0.

    Raises:
        EncodeError: on construction; a number is out of range.
    """

    header_limit_bytes: int
    body_limit_bytes: int
    read_timeout_ms: int
    write_timeout_ms: int

    def __post_init__(self) -> None:
        _check(SERVER_CAPS, self.header_limit_bytes, 1, U32_MAX, "header_limit_bytes")
        _check(SERVER_CAPS, self.body_limit_bytes, 0, U32_MAX, "body_limit_bytes")
        _check(SERVER_CAPS, self.read_timeout_ms, 1, U32_MAX, "read_timeout_ms")
        _check(SERVER_CAPS, self.write_timeout_ms, 1, U32_MAX, "write_timeout_ms")

    def parser_caps(self) -> Http1ParserCaps:
        """Return the caps of the parser that follow from these."""
        return Http1ParserCaps(
            header_limit_bytes=self.header_limit_bytes, body_limit_bytes=self.body_limit_bytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http1ParserCaps:
    """Limits of `parse_req_v1`. A table of headers cannot count more than 65,535 lines.

    Raises:
        EncodeError: on construction; a number is out of range.
    """

    header_limit_bytes: int = 16_384
    header_count_max: int = 64
    body_limit_bytes: int = 1_048_576

    def __post_init__(self) -> None:
        _check(PARSER_CAPS, self.header_limit_bytes, 1, U32_MAX, "header_limit_bytes")
        _check(PARSER_CAPS, self.header_count_max, 0, U16_MAX, "header_count_max")
        _check(PARSER_CAPS, self.body_limit_bytes, 0, U32_MAX, "body_limit_bytes")


def encode_tls_config(value: TlsServerConfig) -> bytes:
    """Return the X7TL bytes."""
    certificates = TLS.sized(value.certificates, "certificates")
    return TLS.magic + b"\x01\x00\x00\x00" + certificates + TLS.sized(value.key, "key")


def decode_tls_config(data: bytes) -> TlsServerConfig:
    """Return the configuration of exactly these X7TL bytes.

    Raises:
        DecodeError: the bytes are none; the message shows no part of the key.
    """
    reader = Reader(TLS, data)
    reader.magic()
    reader.version(reader.u8("version"))
    reader.zero(3, "reserved bytes")
    certificates, key = reader.sized("certificates"), reader.sized("key")
    reader.finish()
    if not certificates or not key:
        reader.fail("BAD_VALUE", "certificate chain and key must not be empty")
    return TlsServerConfig(certificates=certificates, key=key)


def encode_server_caps(value: Http1ServerCaps) -> bytes:
    """Return the X7HC bytes."""
    numbers = (
        value.header_limit_bytes,
        value.body_limit_bytes,
        value.read_timeout_ms,
        value.write_timeout_ms,
    )
    fields = b"".join(SERVER_CAPS.u32(number, "cap") for number in numbers)
    return SERVER_CAPS.magic + b"\x01\x00\x00\x00" + fields


def decode_server_caps(data: bytes) -> Http1ServerCaps:
    """Return the caps of exactly these X7HC bytes.

    Raises:
        DecodeError: the bytes are none.
    """
    reader = Reader(SERVER_CAPS, data)
    reader.magic()
    reader.version(reader.u8("version"))
    reader.zero(3, "reserved bytes")
    caps = Http1ServerCaps(
        header_limit_bytes=_ranged(reader, 1, U32_MAX, "header_limit_bytes"),
        body_limit_bytes=_ranged(reader, 0, U32_MAX, "body_limit_bytes"),
        read_timeout_ms=_ranged(reader, 1, U32_MAX, "read_timeout_ms"),
        write_timeout_ms=_ranged(reader, 1, U32_MAX, "write_timeout_ms"),
    )
    reader.finish()
    return caps


def encode_parser_caps(value: Http1ParserCaps) -> bytes:
    """Return the EWHC bytes."""
    numbers = (value.header_limit_bytes, value.header_count_max, value.body_limit_bytes)
    fields = b"".join(PARSER_CAPS.u32(number, "cap") for number in numbers)
    return PARSER_CAPS.magic + PARSER_CAPS.u16(1, "version") + fields


def decode_parser_caps(data: bytes) -> Http1ParserCaps:
    """Return the caps of exactly these EWHC bytes, without the meaning of no bytes.

    Raises:
        DecodeError: the bytes are none.
    """
    reader = Reader(PARSER_CAPS, data)
    reader.magic()
    reader.version(reader.u16("version"))
    caps = Http1ParserCaps(
        header_limit_bytes=_ranged(reader, 1, U32_MAX, "header_limit_bytes"),
        header_count_max=_ranged(reader, 0, U16_MAX, "header_count_max"),
        body_limit_bytes=_ranged(reader, 0, U32_MAX, "body_limit_bytes"),
    )
    reader.finish()
    return caps


def _check(format_: Format, value: int, minimum: int, maximum: int, name: str) -> None:
    if type(value) is not int or not minimum <= value <= maximum:
        format_.refuse(f"{name} is not from {minimum} to {maximum}")


def _ranged(reader: Reader, minimum: int, maximum: int, name: str) -> int:
    start = reader.offset
    value = reader.u32(name)
    if not minimum <= value <= maximum:
        reader.fail("BAD_VALUE", f"{name} is not from {minimum} to {maximum}", offset=start)
    return value
