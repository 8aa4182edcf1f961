"""The PROXY protocol: what a proxy says about its client before the first byte of the client.

Invariants:
- the header is read to its last byte and not one further, so that TLS or HTTP begins behind it;
- a header has at most 107 bytes in version 1 and `_V2_LIMIT_BYTES` in version 2;
- what is not exactly a header is refused.

Source: the PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt).
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cloche.errors import ClocheError

if TYPE_CHECKING:
    import asyncio
    import socket

_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD_SIZE: Final = 16
_V2_LIMIT_BYTES: Final = 1024  # behind the head: addresses and what else a proxy tells
_V1_LIMIT_BYTES: Final = 107
_V1_BEGIN: Final = b"PROXY "
_FIRST_SIZE: Final = len(_V2_SIGNATURE)  # no header of either version is shorter
_PORT_MAX: Final = 65_535
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_SIZES: Final = {_TCP4: 4, _TCP6: 16}


class ProxyHeaderError(ClocheError):
    """A connection does not begin with a PROXY header. State: it is of no use; close it."""

    code = "WEB_PROXY_HEADER"
    blame = "remote"

    def __init__(self, *, problem: str) -> None:
        super().__init__(
            f"the connection has no header of the PROXY protocol: {problem}", problem=problem
        )


async def read_proxy_header(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> str:
    """Return the address of the client, empty where the proxy speaks for itself or does not know.

    Raises:
        ProxyHeaderError: there is no header, or a malformed one.
        OSError: the connection broke.
    """
    first = await _read(loop, accepted, _FIRST_SIZE)
    if first == _V2_SIGNATURE:
        rest = await _read(loop, accepted, _V2_HEAD_SIZE - _FIRST_SIZE)
        size = int.from_bytes(rest[2:], "big")
        if size > _V2_LIMIT_BYTES:
            raise ProxyHeaderError(problem="it is too long")
        return parse_v2(rest[0], rest[1], await _read(loop, accepted, size))
    if not first.startswith(_V1_BEGIN):
        raise ProxyHeaderError(problem="the first bytes are those of neither version")
    return parse_v1(first + await _read_line(loop, accepted, _V1_LIMIT_BYTES - _FIRST_SIZE))


def parse_v1(line: bytes) -> str:
    """Return the client of a header of version 1, its CRLF included.

    Raises:
        ProxyHeaderError: it is malformed.
    """
    words = line.removesuffix(b"\r\n").decode("latin-1").split(" ")
    if not line.endswith(b"\r\n") or words[0] != "PROXY":
        raise ProxyHeaderError(problem="a line of version 1 ends with CRLF")
    if words[1] == "UNKNOWN":
        return ""
    versions = {"TCP4": 4, "TCP6": 6}
    if len(words) != 6 or words[1] not in versions:  # noqa: PLR2004 - protocol, 2 addresses, 2 ports
        raise ProxyHeaderError(problem="a line of version 1 has six words")
    try:
        source, target = ipaddress.ip_address(words[2]), ipaddress.ip_address(words[3])
    except ValueError:
        raise ProxyHeaderError(problem="an address is none") from None
    if {source.version, target.version} != {versions[words[1]]}:
        raise ProxyHeaderError(problem="an address is of another version")
    if not all(map(_is_port, words[4:])):
        raise ProxyHeaderError(problem="a port is none")
    return str(source)


def parse_v2(command: int, family: int, rest: bytes) -> str:
    """Return the client of a header of version 2.

    Raises:
        ProxyHeaderError: it is malformed.
    """
    if command == _LOCAL:
        return ""
    if command != _PROXY:
        raise ProxyHeaderError(problem="the version or command is not known")
    size = _SIZES.get(family)
    if size is None:
        return ""  # a Unix socket, or not known: the specification asks to take the real peer
    if len(rest) < 2 * size + 4:  # two addresses, two ports
        raise ProxyHeaderError(problem="the addresses are not complete")
    return str(ipaddress.ip_address(rest[:size]))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= _PORT_MAX


async def _read(loop: asyncio.AbstractEventLoop, accepted: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = await loop.sock_recv(accepted, size - len(found))
        if not piece:
            raise ProxyHeaderError(problem="the connection ended inside of it")
        found += piece
    return found


async def _read_line(loop: asyncio.AbstractEventLoop, accepted: socket.socket, limit: int) -> bytes:
    """Return the rest of a line; nothing behind it is taken from the socket."""
    import socket  # noqa: PLC0415 - only for a flag

    found = b""
    while not found.endswith(b"\n"):
        if len(found) >= limit:
            raise ProxyHeaderError(problem="the line is too long")
        seen = b""
        with suppress(BlockingIOError):
            seen = accepted.recv(limit - len(found), socket.MSG_PEEK)
        end = seen.find(b"\n")
        size = end + 1 if end >= 0 else max(1, len(seen))
        found += await _read(loop, accepted, size)
    return found
