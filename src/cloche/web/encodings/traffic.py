"""X7WT: recorded traffic, pairs with what their answers followed from.

Page: docs/architecture/encodings/web-traffic-v1.md.

Invariants:
- a file grows at its end, one whole entry at a time;
- an entry has everything that its response followed from, besides the application.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cloche.web.encodings.cassette import WebCassette, decode_cassette, encode_cassette
from cloche.web.encodings.wire import Format, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT: Final = Format(name="X7WT", magic=b"X7WT", block="CASSETTE")
HEADER: Final = FORMAT.magic + b"\x01\x00\x00\x00"

_NOW, _MONOTONIC, _RANDOM = 1, 2, 3
_U64_MAX: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One answer of the services: a time in nanoseconds, or random bytes.

    `kind` is 1 for the time of day, 2 for the time that never goes back, 3 for randomness.

    Raises:
        EncodeError: on construction; the kind is none, or the value is not of it.
    """

    kind: int
    value: int | bytes

    def __post_init__(self) -> None:
        if self.kind == _RANDOM and type(self.value) is bytes:
            return
        if self.kind in {_NOW, _MONOTONIC} and type(self.value) is int:
            if 0 <= self.value <= _U64_MAX:
                return
            FORMAT.refuse("a time does not fit 64 bits", failure="OVERFLOW")
        FORMAT.refuse("an answer is a time of kind 1 or 2, or bytes of kind 3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A pair, how it came, and what the services told while it was answered.

    Raises:
        EncodeError: on construction; the client is not ASCII.
    """

    pair: WebCassette
    is_secure: bool = False
    client: str = ""
    told: tuple[Told, ...] = ()

    def __post_init__(self) -> None:
        if not self.client.isascii():
            FORMAT.refuse("the address of a client is ASCII")


def encode_exchange(value: Exchange) -> bytes:
    """Return the bytes that an entry adds to a file."""
    told = b"".join(map(_encode_told, value.told))
    entry = b"".join(
        (
            FORMAT.u8(int(value.is_secure), "secure"),
            FORMAT.sized(value.client.encode("ascii"), "client"),
            FORMAT.sized(told, "answers"),
            encode_cassette(value.pair),
        )
    )
    return FORMAT.sized(entry, "entry")


def encode_traffic(values: Iterable[Exchange]) -> bytes:
    """Return the bytes of a file."""
    return HEADER + b"".join(map(encode_exchange, values))


def decode_traffic(data: bytes) -> tuple[Exchange, ...]:
    """Return the entries of exactly these bytes.

    Raises:
        DecodeError: of X7WT, or of the encoding inside that is broken.
    """
    reader = Reader(FORMAT, data)
    reader.magic()
    reader.version(reader.u8("version"))
    reader.zero(3, "reserved bytes")
    found = []
    while reader.offset < len(data):
        found.append(_decode_entry(reader.sized("entry")))
    return tuple(found)


def _decode_entry(data: bytes) -> Exchange:
    reader = Reader(FORMAT, data)
    secure = reader.u8("secure")
    if secure > 1:
        reader.fail("BAD_VALUE", f"secure is {secure}; it is 0 or 1")
    client = reader.sized("client")
    if not client.isascii():
        reader.fail("BAD_VALUE", "the address of a client is ASCII")
    told = _decode_told(reader.sized("answers"))
    pair = decode_cassette(data[reader.offset :])
    return Exchange(pair=pair, is_secure=bool(secure), client=client.decode("ascii"), told=told)


def _encode_told(value: Told) -> bytes:
    kind = FORMAT.u8(value.kind, "kind")
    if isinstance(value.value, bytes):
        return kind + FORMAT.sized(value.value, "random bytes")
    return kind + value.value.to_bytes(8, "little")


def _decode_told(data: bytes) -> tuple[Told, ...]:
    reader = Reader(FORMAT, data)
    found = []
    while reader.offset < len(data):
        kind = reader.u8("kind")
        if kind == _RANDOM:
            found.append(Told(kind=kind, value=reader.sized("random bytes")))
        elif kind in {_NOW, _MONOTONIC}:
            time = int.from_bytes(reader.take(8, "time"), "little")
            found.append(Told(kind=kind, value=time))
        else:
            reader.fail("BAD_VALUE", f"kind {kind} is not from 1 to 3")
    return tuple(found)
