"""A process that runs out of files: it goes on, and serves whoever comes afterwards."""

from __future__ import annotations

import http.client
import json
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from tests.cli.support import START, environment

from cloche.web.adapters.tls import self_signed

FILES = 48  # of which the program itself has some twenty
CLIENTS = 150
WAIT_S = 60
SOON = ("--limit", "web.head_timeout_ms=100", "--limit", "web.linger_timeout_ms=100")
SOURCE = """
import resource
from cloche.web.app import App

app = App()

@app.get("/")
def home() -> str:
    return "hello"

@app.get("/file")
def file() -> bytes:
    with open(__file__, "rb") as found:
        return found.read()
"""


class Limited:
    """A server in a process that may have few files. Use as a context."""

    def __init__(self, folder, *options, files=0):
        (folder / "limited.py").write_text(SOURCE)
        command = [*START, "web", "serve", "limited:app", "--bind", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(
            [*within(files), *command, "--log", "log.jsonl"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._log = folder / "log.jsonl"

    def __enter__(self):
        line = self.process.stdout.readline().decode()
        assert line, self.process.stderr.read().decode()
        host, _, port = line.rpartition("/")[2].strip().rpartition(":")
        self.address = (host, int(port))
        return self

    def __exit__(self, *failure):
        self.process.send_signal(signal.SIGTERM)
        self.stderr = self.process.communicate(timeout=WAIT_S)[1].decode()

    def get(self, target="/", context=None):
        """Ask as anybody would; return the status and the body."""
        client = http.client.HTTPConnection(*self.address, timeout=WAIT_S)
        if context is not None:
            client = http.client.HTTPSConnection(*self.address, timeout=WAIT_S, context=context)
        try:
            client.request("GET", target)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def records(self):
        """Return what was logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


def within(files):
    """Return the start of a command that may have so many files; 0 for as many as there are."""
    return ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"] if files else []


def hold(stack, server, kind):
    """Connect often, and do little with it."""
    held = []
    for _ in range(CLIENTS):
        client = stack.enter_context(socket.create_connection(server.address, WAIT_S))
        held.append(client)
        if kind == "asked":
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        elif kind == "head":
            client.sendall(b"GET / HTTP/1.1\r\nX-")
    if kind == "reset":
        for client in held:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()


def got_at_last(server, target, context):
    """Ask until a handshake was fast enough: a client that is slow is cut like those that wait."""
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            return server.get(target, context)
        except (ConnectionError, ssl.SSLError):
            assert time.monotonic() < until_s


def check_end(server):
    """Check that it ended well, and that nothing of the application failed."""
    assert (server.process.returncode, server.stderr) == (0, "")
    assert [each for each in server.records() if each["event"] == "failure"] == []


@pytest.mark.parametrize("kind", ["idle", "asked", "head", "reset"])
def test_more_clients_than_files(kind, tmp_path):
    """Clients that hold connections take the files of nobody: neither a client's nor the pages'."""
    with Limited(tmp_path, *SOON, files=FILES) as server, ExitStack() as stack:
        hold(stack, server, kind)
        assert server.get("/file")[0] == 200
        assert server.process.poll() is None
        stack.close()
        assert server.get("/file")[0] == 200
    check_end(server)


@pytest.mark.parametrize("kind", ["idle", "asked", "head", "reset"])
def test_files_that_are_taken_away(kind, tmp_path):
    """Where nothing can be accepted for want of a file, it is accepted as soon as one is free."""
    with Limited(tmp_path, *SOON) as server, ExitStack() as stack:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        hold(stack, server, kind)
        assert server.get() == (200, b"hello")
        stack.close()
        assert server.get() == (200, b"hello")
    check_end(server)


def test_more_handshakes_than_files(tmp_path):
    """The same over TLS, with handshakes that are never finished."""
    certificate = self_signed(["127.0.0.1"])
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate.certificates)
    key.write_bytes(certificate.key)
    options = ("--certificate", str(chain), "--key", str(key))
    options += ("--limit", "web.handshake_timeout_ms=200")
    context = ssl.create_default_context(cadata=certificate.certificates.decode())
    with Limited(tmp_path, *options, files=FILES) as server, ExitStack() as stack:
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection(server.address, WAIT_S))
            client.sendall(b"\x16\x03\x01")
        assert got_at_last(server, "/file", context)[0] == 200
    check_end(server)


def test_the_ceiling():
    """Files are kept for the application; the system's limit is raised as far as it goes."""
    code = (
        "import resource as r\n"
        "from cloche.web.adapters.open_files import allow_connections, connections_within\n"
        "print(connections_within(1000))\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (100, 2000)); print(connections_within(1000))\n"
        "print(allow_connections(1000), r.getrlimit(r.RLIMIT_NOFILE))\n"
        "print(allow_connections(10), r.getrlimit(r.RLIMIT_NOFILE))\n"
        "print(allow_connections(9000), r.getrlimit(r.RLIMIT_NOFILE))\n"
    )
    command = [*within(4000), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "1000",
        "50",
        "1000 (1256, 2000)",
        "10 (1256, 2000)",
        "1744 (2000, 2000)",
    ]
