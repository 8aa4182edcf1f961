"""What the service manager of the machine is told: the server is ready, reloads, lives, stops.

The other half of socket activation (`listen`). A message is one datagram to the socket that the
variable `NOTIFY_SOCKET` names; where there is none, nobody is told and nothing else changes.

Invariants:
- telling never blocks and never raises: a manager that does not listen ends no server;
- the watchdog is fed twice in the time that it waits, and only where it waits for this process.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

READY: Final = b"READY=1"
STOPPING: Final = b"STOPPING=1"
ALIVE: Final = b"WATCHDOG=1"
_RELOADING: Final = b"RELOADING=1\nMONOTONIC_USEC=%d"

_US_PER_S: Final = 1_000_000
_NS_PER_US: Final = 1000
_FEEDS_IN_A_WAIT: Final = 2  # as the manual page advises


class ServiceManager:
    """Tells a service manager about this process.

    Args:
        address: its socket, a path or `@name`; empty where nobody listens.
        watchdog_s: how long it waits for a sign of life; 0 where it does not.
    """

    def __init__(self, address: str = "", *, watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.feed_s = watchdog_s / _FEEDS_IN_A_WAIT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the manager that a process was given; one that nobody listens to is fine."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        wait_us = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        waits = is_ours and wait_us.isascii() and wait_us.isdecimal()
        return cls(address, watchdog_s=int(wait_us) / _US_PER_S if waits else 0.0)

    def ready(self) -> bool:
        """Say that the server listens, or does again after a reload."""
        return self._tell(READY)

    def reloading(self) -> bool:
        """Say that certificates are read again; `ready` says that they were."""
        return self._tell(_RELOADING % (time.monotonic_ns() // _NS_PER_US))

    def stopping(self) -> bool:
        """Say that the server ends."""
        return self._tell(STOPPING)

    def alive(self) -> bool:
        """Give a sign of life."""
        return self._tell(ALIVE)

    def _tell(self, message: bytes) -> bool:
        """Return whether somebody was told."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(message, self._address)
        except OSError:
            return False
        return True
