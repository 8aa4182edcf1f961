"""`cloche serve` in a world of the test: its names lead to this machine, its clock can be moved.

    python -m tests.server.serve_in_world serve …

`WORLD_NAMES` are the hosts that are at 127.0.0.1, separated by commas; `WORLD_CA` is the file of
the authority that signed their certificates. Everything else about outbound HTTP is the real thing.
Each SIGUSR1 takes the clock of apps a minute ahead.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import signal
import ssl
import time

from cloche.cli import main
from cloche.egress import addresses
from cloche.egress import open as outbound
from cloche.egress.adapters.egress import Egress
from cloche.server import serve

MINUTE_NS = 60_000_000_000
SLOWNESS = 1000


class Names:
    """Says that the names of the world are here (a `Resolver`)."""

    async def resolve(self, host, port):
        """Return the addresses of a host."""
        del port
        if host not in os.environ["WORLD_NAMES"].split(","):
            raise OSError("no such name")
        return [ipaddress.ip_address("127.0.0.1")]


def blocked(address, *, own):
    """Return why an address may not be called; loopback may."""
    return None if address.is_loopback else addresses.blocked(address, own=own)


class Clock:
    """A clock that goes on so slowly that no minute ends before it is told so."""

    def __init__(self):
        self.ahead_ns = 0
        self._minute_ns = time.time_ns() // MINUTE_NS * MINUTE_NS
        self._begun_ns = time.monotonic_ns()

    def forward(self, number, frame):
        """Go a minute ahead."""
        del number, frame
        self.ahead_ns += MINUTE_NS

    def __call__(self):
        gone_ns = time.monotonic_ns() - self._begun_ns
        return self._minute_ns + self.ahead_ns + gone_ns // SLOWNESS


if __name__ == "__main__":
    tls = ssl.create_default_context(cafile=os.environ["WORLD_CA"])
    outbound.Egress = functools.partial(Egress, resolver=Names(), tls=tls)
    outbound.blocked = blocked
    clock = Clock()
    signal.signal(signal.SIGUSR1, clock.forward)
    serve.open_apps = functools.partial(serve.open_apps, now_ns=clock)
    main()
