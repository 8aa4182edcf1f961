"""What the tests of faults share: raw requests, and what a server's processes hold."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import time
from pathlib import Path
from urllib.parse import urlsplit

WAIT_S = 60  # of a machine that has other things to do
MIB = 1024 * 1024
_RESET = struct.pack("ii", 1, 0)  # close tells the peer that something is wrong


def pids_of(server):
    """Return the ids of a server and its workers, the server's first."""
    found = [server.process.pid]
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += map(int, (task / "children").read_text().split())
    return found


def hold(server):
    """Stop the workers of a server: what they execute goes on when they may."""
    for pid in pids_of(server)[1:]:
        os.kill(pid, signal.SIGSTOP)


def let_go(server):
    """Let the workers of a server go on."""
    for pid in pids_of(server)[1:]:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def held_port():
    """Give a port that nobody but a server of the test gets, one server after the other."""
    with socket.socket() as holder:
        # Bound and not listening: who has the same option may listen there, who asks for any port
        # is given another one.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def private_bytes(pid):
    """Return the memory that a process shares with nobody."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(map(int, re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)))


def peak_bytes(pid):
    """Return the most memory that a process ever had resident."""
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)[1])


def descriptor_count(pid, kind=""):
    """Return how many descriptors a process has open, of all kinds or such as `socket`."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += str(each.readlink()).startswith(kind)
    return found


def settled(look, timeout_s=WAIT_S):
    """Return what a function returns as soon as that is something."""
    until = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > until:
            raise AssertionError(f"it is still {found!r} after {timeout_s} s")
        time.sleep(0.02)
    return found


def address_of(server):
    """Return host and port of a server."""
    parts = urlsplit(server.url)
    return parts.hostname, parts.port


def head(server, method, target, *fields):
    """Return the beginning of a request with the admin key, without the empty line."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {server.key}",
        *fields,
    ]
    return "\r\n".join(lines).encode() + b"\r\n"


class Raw:
    """A connection that says what it is told, whatever it is."""

    def __init__(self, server, timeout_s=WAIT_S):
        self.socket = socket.create_connection(address_of(server), timeout_s)
        self.held = b""

    def send(self, data):
        """Send bytes; a peer that has enough is no failure: its answer says why."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)
        return self

    def read_until(self, mark):
        """Read until some bytes have come, or the end."""
        while mark not in self.held:
            piece = self._piece()
            if not piece:
                break
            self.held += piece
        return self.held

    def _piece(self):
        with contextlib.suppress(ConnectionResetError):
            return self.socket.recv(65_536)
        return b""

    def status(self):
        """Return the status of the answer; None when there is none."""
        found = re.match(rb"HTTP/1\.1 (\d+)", self.read_until(b"\r\n\r\n"))
        return int(found[1]) if found else None

    def document(self):
        """Return the answer's body, JSON of a length that is told."""
        first, _, rest = self.read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", first)[1])
        while len(rest) < length and (piece := self._piece()):
            rest += piece
        return json.loads(rest)

    def close(self, *, abruptly=False):
        """Close it; abruptly, the peer's next word is answered with an error."""
        if abruptly:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_problem):
        self.close()
