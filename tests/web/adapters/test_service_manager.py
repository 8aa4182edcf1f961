"""The service manager is told what it asked to be told, and nobody else is troubled."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager

import pytest
from tests.cli.support import START

from cloche.web.adapters.service_manager import ServiceManager

from .test_workers import PROGRAM, WAIT_S, get

# Ten messages wait in a socket, and what comes then is dropped: ten seconds of signs of life.
FEED_USEC = "2000000"
SERVE = (*START, "web", "serve")


@pytest.fixture
def listener(tmp_path):
    """Return the socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(WAIT_S)
        yield made


def heard(listener, *, skip=b"WATCHDOG=1"):
    """Return the next message that is no sign of life."""
    while (message := listener.recv(4096)) == skip:
        pass
    return message


@contextmanager
def served(listener, *options, **environment):
    """Serve the program of the tests, in a process that a manager watches."""
    known = {**os.environ, "NOTIFY_SOCKET": listener.getsockname(), **environment}
    app = f"{PROGRAM.stem}:app"
    command = [*SERVE, app, "--dir", str(PROGRAM.parent), "--bind", "127.0.0.1:0", *options]
    with subprocess.Popen(command, env=known, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_from_start_to_end(listener, workers):
    """Ready when it listens; signs of life, from then on; a reload, and the end, when told to."""
    with served(listener, "--workers", workers, WATCHDOG_USEC=FEED_USEC) as process:
        assert heard(listener) == b"READY=1"
        address = process.stdout.readline().decode().rpartition("/")[2].strip()
        assert get(address).startswith(b'{"process":')
        for _ in range(2):
            assert heard(listener, skip=None) == b"WATCHDOG=1"
        process.send_signal(signal.SIGHUP)
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", heard(listener))
        assert heard(listener) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert heard(listener) == b"STOPPING=1"
        assert process.wait(WAIT_S) == 0


def test_an_application_that_cannot_start_is_not_ready(listener, tmp_path):
    """One whose start hook fails says nothing."""
    (tmp_path / "broken.py").write_text(
        "from cloche.web.app import App\napp = App()\n"
        "@app.on_start\nasync def start(state):\n    raise ValueError\n"
    )
    known = {**os.environ, "NOTIFY_SOCKET": listener.getsockname()}
    command = [*SERVE, "broken:app", "--dir", str(tmp_path), "--bind", "127.0.0.1:0"]
    done = subprocess.run(command, env=known, capture_output=True, check=False, timeout=WAIT_S)
    assert done.returncode != 0
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(1)


def test_abstract_sockets():
    """A name that begins with @ is no file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"\0cloche-test-{os.getpid()}")
        manager = ServiceManager.from_environment({"NOTIFY_SOCKET": f"@cloche-test-{os.getpid()}"})
        assert manager.ready()
        assert made.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative/path", "/none/notify"])
def test_nobody_listens(address):
    """Then nobody is told, and nothing fails."""
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": address})
    assert not manager.ready()


def test_a_manager_that_does_not_read(listener):
    """It blocks nobody: what it has no room for is dropped."""
    manager = ServiceManager(listener.getsockname())
    told = [manager.alive() for _ in range(10_000)]
    assert (told[0], told[-1]) == (True, False)


@pytest.mark.parametrize(
    ("variables", "feed_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog(variables, feed_s):
    """It is fed twice in its time, and only where it waits for this process."""
    found = ServiceManager.from_environment({"NOTIFY_SOCKET": "/run/notify", **variables})
    assert found.feed_s == feed_s
