"""Which addresses may be connected to: none that is not reachable from everywhere.

Owns the table of what is blocked and the unwrapping of IPv4 addresses that hide in IPv6 ones.
Invariants:
- an IPv4 address is judged the same in every form that a network would bring to it;
- what no row names is refused too where the registry of the internet has not given it out for
  global use (IPv6 outside 2000::/3);
- the verdict depends on the address alone, and on the addresses that the caller calls its own.

It does not resolve names. Python's `is_global` is not used: it calls multicast, NAT64 and 6to4
addresses global.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from cloche.egress.url import Address

_VERDICT_CACHE_COUNT: Final = 4096


class Blocked(NamedTuple):
    """Why an address is refused: what it is, and where that is laid down."""

    reason: str
    source: str


# (network, what it is, source). The first row that holds the address gives the reason, so that
# narrow rows stand before wide ones.
_ROWS_4: Final = (
    ("168.63.129.16/32", "cloud metadata", "Azure: virtual public IP of the host"),
    ("169.254.169.254/32", "cloud metadata", "AWS, Azure, Google Cloud, DigitalOcean, Oracle"),
    ("169.254.170.2/32", "cloud metadata", "AWS: credentials of ECS tasks"),
    ("169.254.170.23/32", "cloud metadata", "AWS: credentials of EKS pods"),
    ("100.100.100.200/32", "cloud metadata", "Alibaba Cloud"),
    ("192.0.0.192/32", "cloud metadata", "Oracle Cloud classic"),
    ("0.0.0.0/8", "this network", "RFC 1122 3.2.1.3, RFC 6890"),
    ("10.0.0.0/8", "private", "RFC 1918"),
    ("100.64.0.0/10", "shared by carriers", "RFC 6598"),
    ("127.0.0.0/8", "loopback", "RFC 1122 3.2.1.3"),
    ("169.254.0.0/16", "link-local", "RFC 3927"),
    ("172.16.0.0/12", "private", "RFC 1918"),
    ("192.0.0.0/24", "protocol assignments", "RFC 6890"),
    ("192.0.2.0/24", "documentation", "RFC 5737"),
    ("192.31.196.0/24", "AS112 sink", "RFC 7535"),
    ("192.52.193.0/24", "multicast tunnels", "RFC 7450"),
    ("192.88.99.0/24", "6to4 relays", "RFC 7526"),
    ("192.168.0.0/16", "private", "RFC 1918"),
    ("192.175.48.0/24", "AS112 sink", "RFC 7534"),
    ("198.18.0.0/15", "benchmarking", "RFC 2544"),
    ("198.51.100.0/24", "documentation", "RFC 5737"),
    ("203.0.113.0/24", "documentation", "RFC 5737"),
    ("224.0.0.0/4", "multicast", "RFC 5771"),
    ("255.255.255.255/32", "broadcast", "RFC 919"),
    ("240.0.0.0/4", "reserved", "RFC 1112 section 4"),
)
_ROWS_6: Final = (
    ("fd00:ec2::254/128", "cloud metadata", "AWS"),
    ("fd20:ce::254/128", "cloud metadata", "Google Cloud"),
    ("fd00:c1::a9fe:a9fe/128", "cloud metadata", "Oracle Cloud"),
    ("::/128", "unspecified", "RFC 4291 2.5.2"),
    ("::1/128", "loopback", "RFC 4291 2.5.3"),
    ("64:ff9b:1::/48", "translation for local use", "RFC 8215"),
    ("100::/64", "discard only", "RFC 6666"),
    ("100:0:0:1::/64", "dummy prefix", "RFC 9780"),
    ("2001:2::/48", "benchmarking", "RFC 5180"),
    ("2001:10::/28", "ORCHID", "RFC 4843"),
    ("2001:20::/28", "ORCHIDv2", "RFC 7343"),
    ("2001:30::/28", "drone identifiers", "RFC 9374"),
    ("2001:db8::/32", "documentation", "RFC 3849"),
    ("2001::/23", "protocol assignments", "RFC 2928"),
    ("2620:4f:8000::/48", "AS112 sink", "RFC 7534"),
    ("3fff::/20", "documentation", "RFC 9637"),
    ("3ffe::/16", "returned 6bone", "RFC 3701"),
    ("5f00::/16", "segment routing", "RFC 9602"),
    ("fc00::/7", "unique local", "RFC 4193"),
    ("fe80::/10", "link-local", "RFC 4291 2.5.6"),
    ("fec0::/10", "site-local", "RFC 3879"),
    ("ff00::/8", "multicast", "RFC 4291 2.7"),
)
_OUTSIDE_6: Final = Blocked("not given out for global use", "RFC 4291 2.4, IANA")

# IPv6 networks whose addresses carry an IPv4 address: (network, bits to the right of it, source).
_CARRIERS: Final = (
    ("::ffff:0:0/96", 0, "RFC 4291 2.5.5.2, mapped"),
    ("::ffff:0:0:0/96", 0, "RFC 2765 2.1, translated"),
    ("64:ff9b::/96", 0, "RFC 6052, NAT64"),
    ("2002::/16", 80, "RFC 3056, 6to4"),
    ("::/96", 0, "RFC 4291 2.5.5.1, compatible"),
)
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")  # RFC 4380: server and, inverted, client
_TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765 2.1
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")

_MASK_4: Final = (1 << 32) - 1
_Row = tuple[int, int, Blocked]


def _rows(table: tuple[tuple[str, str, str], ...]) -> tuple[_Row, ...]:
    networks = ((ipaddress.ip_network(text), Blocked(what, by)) for text, what, by in table)
    return tuple(
        (int(network.network_address), int(network.broadcast_address), blocked)
        for network, blocked in networks
    )


_TABLE_4: Final = _rows(_ROWS_4)
_TABLE_6: Final = _rows(_ROWS_6)
_CARRIER_NETWORKS: Final = tuple(
    (ipaddress.IPv6Network(text), shift) for text, shift, _ in _CARRIERS
)


def carried(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 one carries; none for all others.

    `::` and `::1` are addresses of their own, not IPv4 addresses in the compatible form.
    """
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:
        return ()
    value = int(address)
    if address in _TEREDO:
        return (
            ipaddress.IPv4Address(value >> 64 & _MASK_4),
            ipaddress.IPv4Address(~value & _MASK_4),
        )
    for network, shift in _CARRIER_NETWORKS:
        if address in network:
            return (ipaddress.IPv4Address(value >> shift & _MASK_4),)
    return ()


def blocked(address: Address, own: Collection[Address] = frozenset()) -> Blocked | None:
    """Return why an address must not be connected to, None if it may.

    Args:
        address: as a resolver gave it, or as a URL named it.
        own: addresses of this machine; they are refused in every form.
    """
    if own and (address in own or any(inner in own for inner in carried(address))):
        return Blocked("an address of this machine", "own addresses")
    return _verdict(address)


@functools.lru_cache(maxsize=_VERDICT_CACHE_COUNT)
def _verdict(address: Address) -> Blocked | None:
    value = int(address)
    if isinstance(address, ipaddress.IPv4Address):
        return _first(_TABLE_4, value)
    if address.scope_id is not None:
        return Blocked("bound to one link", "RFC 4007")
    inner = carried(address)
    if inner:
        # All of them: a Teredo address goes through its server and to its client.
        return next(filter(None, map(_verdict, inner)), None) or _tunnel(address)
    found = _first(_TABLE_6, value)
    if found is None and address not in _GLOBAL:
        return _OUTSIDE_6
    return found


def _tunnel(address: ipaddress.IPv6Address) -> Blocked | None:
    """Return why an address that carries a public one is refused all the same."""
    if address in _TEREDO:
        return Blocked("Teredo", "RFC 4380")
    if not int(address) >> 32:
        return Blocked("IPv4-compatible", "RFC 4291 2.5.5.1")
    if address in _TRANSLATED:
        return Blocked("IPv4-translated", "RFC 2765 2.1")
    return None


def _first(table: tuple[_Row, ...], value: int) -> Blocked | None:
    for low, high, reason in table:
        if low <= value <= high:
            return reason
    return None


def table() -> tuple[tuple[str, str, str], ...]:
    """Return all rows as (network, what it is, source), for people and for tests."""
    return _ROWS_4 + _ROWS_6
