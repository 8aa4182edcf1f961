"""Who the client is where a proxy stands before us: `X-Forwarded-For` or `Forwarded`.

Invariants:
- a field is believed only where the peer is a proxy that was named, and from its end backwards only
  as far as each hop is one: a client can write what it likes before that;
- one of the two fields is read, the one that was chosen; what is malformed ends the walk.

Source: RFC 7239.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.web.http1.events import Field

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PAIR: Final = re.compile(r'\s*+([A-Za-z]++)=(?:"([^"\\]*+)"|([^\s;,"]*+))\s*+')
_SCHEMES: Final = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """Which proxies are believed, and which field they write.

    `trusts_unix` believes whoever speaks over a Unix socket.
    """

    networks: tuple[Network, ...] = ()
    field: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    trusts_unix: bool = False

    @classmethod
    def of(cls, *networks: str, field: Literal["x-forwarded-for", "forwarded"]) -> Forwarding:
        """Return the settings for networks as text."""
        return cls(networks=tuple(map(ipaddress.ip_network, networks)), field=field)

    def resolve(self, fields: Sequence[Field], peer: str, scheme: str) -> tuple[str, str]:
        """Return the address of the client, and the scheme that it used."""
        if not self._is_trusted(peer):
            return peer, scheme
        hops = self._hops(fields)
        client, found = peer, scheme
        for address, hop_scheme in reversed(hops):
            parsed = _address(address)
            if parsed is None:
                break
            client = parsed
            if hop_scheme in _SCHEMES:
                found = hop_scheme
            if not self._is_trusted(client):
                break
        return client, found

    def _is_trusted(self, peer: str) -> bool:
        if not peer:
            return self.trusts_unix
        address = ipaddress.ip_address(peer.partition("%")[0])
        return any(address in network for network in self.networks)

    def _hops(self, fields: Sequence[Field]) -> list[tuple[str, str]]:
        name = self.field.encode()
        text = ",".join(value.decode("latin-1") for found, value in fields if found == name)
        if not text:
            return []
        if self.field == "forwarded":
            return [_element(part) for part in text.split(",")]
        schemes = [value for found, value in fields if found == b"x-forwarded-proto"]
        # One value for the whole way is what proxies write: the scheme at the first of them.
        scheme = schemes[0].decode("latin-1").lower() if len(schemes) == 1 else ""
        return [(part.strip(), scheme) for part in text.split(",")]


def _element(text: str) -> tuple[str, str]:
    address = scheme = ""
    for part in text.split(";"):
        match = _PAIR.fullmatch(part)
        if match is None:
            return "", ""
        value = match[2] if match[2] is not None else match[3]
        if match[1].lower() == "for":
            address = value
        elif match[1].lower() == "proto":
            scheme = value.lower()
    return address, scheme


def _address(text: str) -> str | None:
    """Return an IP address without its port and brackets, or None where it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
