"""Worker processes: who is killed is replaced, nobody's connection is refused, exit codes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cloche.web.adapters.server_errors import BindError
from cloche.web.adapters.workers import Supervisor
from cloche.web.app import App

PROGRAM = Path(__file__).with_name("workers_app.py")
WAIT_S = 60


class Program:
    """The program, started; use as a context manager."""

    def __init__(self, bind="127.0.0.1:0", *options):
        command = [sys.executable, PROGRAM, bind, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.process.kill()
        self.process.wait(WAIT_S)
        self.process.stdout.close()
        self.process.stderr.close()

    def started(self):
        """Return address and number of the next process that listens."""
        address, number = self.process.stdout.readline().decode().split()
        return address, int(number)

    def stop(self, number=signal.SIGTERM):
        """Tell it to stop; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


def get(address, target="/"):
    """Return the body of a page."""
    connection = http.client.HTTPConnection(address, timeout=WAIT_S)
    try:
        connection.request("GET", target)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_processes_share_an_address():
    """All processes listen on one port and answer; a stop ends them with 0."""
    with Program() as program:
        (address, first), (other, second) = program.started(), program.started()
        assert (address, first != second) == (other, True)
        seen = {get(address) for _ in range(64)}
        assert seen == {b'{"process":%d}' % first, b'{"process":%d}' % second}
        assert program.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            get(address)


@pytest.mark.parametrize("killed", [True, False])
def test_a_process_that_ends_is_replaced(killed):
    """One that is killed, or ends by itself, is replaced; meanwhile no connection is refused."""
    with Program() as program:
        address, first = program.started()
        program.started()
        if killed:
            os.kill(first, signal.SIGKILL)
        else:
            with pytest.raises((http.client.BadStatusLine, ConnectionError)):
                get(address, "/end")
        for _ in range(64):
            assert get(address).startswith(b'{"process":')
        again, third = program.started()
        assert (again, third != first) == (address, True)
        assert program.stop() == 0


def test_requests_end_when_it_stops():
    """What runs when the stop comes is answered."""
    with Program() as program:
        address, _ = program.started()
        program.started()
        connection = http.client.HTTPConnection(address, timeout=WAIT_S)
        connection.request("GET", "/slow")
        assert program.process.stdout.readline() == b"slow\n"
        program.process.send_signal(signal.SIGTERM)
        assert connection.getresponse().read() == b"done"
        connection.close()
        assert program.process.wait(WAIT_S) == 0


def test_an_application_that_cannot_start():
    """Processes that fail again and again are not started for ever; the exit code says so."""
    with Program("127.0.0.1:0", "--broken") as program:
        assert program.process.wait(WAIT_S) == 1
        assert b"no database" in program.process.stderr.read()


def test_unix_sockets(tmp_path):
    """A Unix socket is shared by all processes, and its file is removed at the end."""
    path = tmp_path / "app.sock"
    with Program(f"unix:{path}") as program:
        program.started()
        program.started()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert program.stop() == 0
        assert not path.exists()


@pytest.mark.parametrize("count", [0, 65])
def test_the_number_of_processes_is_limited(count):
    """There is at least one process, and no more than the limit."""
    with pytest.raises(BindError, match=r"processes are not 1 to web\.worker_count_max, 64"):
        Supervisor(App(), "127.0.0.1:0", worker_count=count)
