"""One application through every adapter: the same checks, the same answers."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme

from cloche.testing.web import CHECKS, sample_app
from cloche.web.adapters.asgi import AsgiApp
from cloche.web.adapters.asgi_client import AsgiBridge
from cloche.web.adapters.fixture import run_now
from cloche.web.adapters.server import Server, ServerSettings
from cloche.web.adapters.tls import TlsSettings
from cloche.web.encodings.settings import TlsServerConfig

from .clients import AsgiClient, FixtureClient, HttpClient
from .ports import free_port

TESTS = Path(__file__).parents[1]
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "--port", "{port}", "--log-level", "error", "{app}"],
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "{app}"],
    "granian": [
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--port",
        "{port}",
        "--no-access-log",
        "--log-level",
        "critical",
        "{app}",
    ],
}
START_S = 90


def named(check):
    """Return what a check is called in a report."""
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", CHECKS, ids=named)
def test_fixture(check):
    """The deterministic adapter keeps every rule, and nothing in the suite waits."""
    run_now(check(FixtureClient(sample_app())))


@pytest.mark.parametrize("check", CHECKS, ids=named)
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_asgi(check, size):
    """The ASGI application keeps every rule, however its server cuts bodies."""
    asyncio.run(check(AsgiClient(AsgiApp(sample_app()), size=size)))


@pytest.mark.parametrize("check", CHECKS, ids=named)
@pytest.mark.parametrize("server", COMMANDS)
def test_asgi_server(check, server, running):
    """Under a real server the same."""
    asyncio.run(ask(check, running(server)))


@pytest.mark.parametrize("check", CHECKS, ids=named)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_server(check, tls):
    """Behind the server of this project the same, with TLS and without."""
    asyncio.run(served(check, sample_app(), tls=tls))


@pytest.mark.parametrize("check", CHECKS, ids=named)
def test_server_with_asgi(check):
    """As an ASGI application behind the server of this project the same."""
    asyncio.run(served(check, AsgiBridge(AsgiApp(sample_app())), tls=False))


async def served(check, app, *, tls):
    """Run a check against an application behind the server."""
    context, settings = None, None
    if tls:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        certificate = TlsServerConfig(certificates=chain, key=issued.private_key_pem.bytes())
        settings = ServerSettings(tls=TlsSettings(certificate=certificate))
        context = ssl.create_default_context()
        authority.configure_trust(context)
    async with (
        Server(app, "127.0.0.1:0", settings=settings) as server,
        HttpClient(server.url, ssl=context) as client,
    ):
        await check(client)


async def ask(check, base):
    """Run a check against an address."""
    async with HttpClient(base) as client:
        await check(client)


@pytest.fixture(scope="module")
def running():
    """Return a function that starts a server once, and gives its address."""
    found = {}

    def start(server):
        pytest.importorskip(server)
        if server not in found:
            found[server] = started(server)
        return found[server][1]

    yield start
    for process, _ in found.values():
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)


def started(server):
    """Start a server; return its process and address when it answers."""
    port = free_port()
    values = {"port": port, "app": "web.sample:asgi"}
    arguments = [part.format(**values) for part in COMMANDS[server]]
    process = subprocess.Popen([sys.executable, *arguments], cwd=TESTS)
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"http://127.0.0.1:{port}"
        assert process.poll() is None, "the server ended"
        time.sleep(0.05)
    process.kill()
    raise TimeoutError(server)
