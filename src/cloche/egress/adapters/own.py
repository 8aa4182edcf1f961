"""The addresses of this machine, from what the kernel says of its interfaces."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cloche.egress.url import Address

_TRIE: Final = Path("/proc/net/fib_trie")
_IF_INET6: Final = Path("/proc/net/if_inet6")
_LOCAL_4: Final = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")


def own_addresses(trie: Path = _TRIE, if_inet6: Path = _IF_INET6) -> frozenset[Address]:
    """Return all addresses that this machine answers to; none where the kernel does not tell.

    Args:
        trie: the kernel's IPv4 routes.
        if_inet6: the kernel's IPv6 interfaces.
    """
    found: set[Address] = {ipaddress.IPv4Address(text) for text in _LOCAL_4.findall(_text(trie))}
    for line in _text(if_inet6).splitlines():
        digits = line.split(" ", 1)[0]
        if re.fullmatch(r"[0-9a-f]{32}", digits):
            found.add(ipaddress.IPv6Address(int(digits, 16)))
    return frozenset(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""  # another system: the table of addresses still holds
