"""Ports for servers that cannot be handed a socket.

A port that was free for a moment may be given to anybody in the next: the system hands out its
ephemeral ports all the time. These are below them, and each process of the tests has its own.
"""

from __future__ import annotations

import itertools
import os
import socket

FIRST = 10_000
PROCESS_COUNT = 1000  # processes that run at the same time have numbers close to each other
SIZE = 20  # of the ports of one process
_next = itertools.count()


def free_port():
    """Return a port that nobody listens on, and that nobody is given by chance."""
    first = FIRST + os.getpid() % PROCESS_COUNT * SIZE
    for _ in range(SIZE):
        port = first + next(_next) % SIZE
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"all of {SIZE} ports from {first} are taken")
