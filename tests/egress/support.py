"""A world of servers on loopback, for tests of outbound HTTP.

Names resolve as a test says, addresses of loopback are let through (every other rule is the real
one), and servers speak real TLS with certificates of an authority of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import ssl
from dataclasses import dataclass, field

import trustme
from tests.egress import patient

from cloche.egress.adapters.egress import Egress, NetRun
from cloche.egress.addresses import blocked
from cloche.egress.allowlist import Entry, NetPolicy, RuleSet
from cloche.egress.budget import RunBudget
from cloche.egress.message import request_of
from cloche.limits import Limits

LOOPBACK = ("127.0.0.1",)
# A world that threads share has the time of the machine, and a busy machine is no slow server.
AT_LEISURE = {
    "net": {"call_timeout": 10_000, "budget": 10_000},
    "egress": {
        "connect_timeout_ms": 60_000,
        "header_timeout_ms": 60_000,
        "resolve_timeout_ms": 60_000,
        "slot_timeout_ms": 60_000,
    },
}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


@functools.cache
def authority():
    """Return the certificate authority of all tests."""
    return trustme.CA()


@functools.cache
def server_tls(*names):
    """Return the TLS context of a server with these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*names).configure_cert(context)
    return context


def client_tls():
    """Return a TLS context that trusts the authority of the tests."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority().configure_trust(context)
    return context


def response(status="200 OK", body=b"", **headers):
    """Return the bytes of a response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(location, status="302 Found"):
    """Return the bytes of a redirect."""
    return response(status, Location=location)


@dataclass
class Request:
    """What a server was sent."""

    head: bytes
    body: bytes

    @property
    def method(self):
        return self.head.split(b" ")[0].decode()

    @property
    def target(self):
        return self.head.split(b" ")[1].decode()

    @property
    def headers(self):
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(": ") for line in lines if line)
        return [(name.lower(), value) for name, _, value in pairs]

    def header(self, name):
        return [value for key, value in self.headers if key == name]


@dataclass
class Server:
    """A server that answers with what `answer(request)` returns, or does what it awaits."""

    answer: object
    port: int = 0
    requests: list = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0

    async def serve(self, reader, writer):
        self.connections += 1
        self.open_connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request = Request(head, b"")
                length = request.header("content-length")
                request.body = await reader.readexactly(int(length[0])) if length else b""
                self.requests.append(request)
                answer = self.answer(request) if callable(self.answer) else self.answer
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if callable(answer):
                    await answer(reader, writer)
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()


class World:
    """Servers, names and an egress on one event loop."""

    def __init__(self, limits=None, **egress):
        is_patient = patient.is_running()
        base = Limits() if is_patient else Limits().replace(AT_LEISURE)
        self.limits = base.replace(limits or {})
        self.names = {}
        self.lookups = []
        self.lists = {}
        self.secrets = {}
        self.used = []
        self.records = []
        self.dropped = 0
        self._servers = []
        self._stack = contextlib.AsyncExitStack()
        options = {
            "resolver": self,
            "check": self.check,
            "tls": client_tls(),
            "entries": self,
            "secrets": Secrets(self),
            "log": self,
            **({"clock": patient.clock_ns} if is_patient else {}),
            **egress,
        }
        self.egress = Egress(self.limits, **options)
        self.run = self.new_run()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        if error[:1] in ((), (None,)):
            self.check_nothing_is_left()
        await self.egress.close()
        await self._stack.aclose()

    def check_nothing_is_left(self):
        """Check that no slot is held, nobody waits, and no connection is in use."""
        assert (self.egress.slots.held, self.egress.slots.waiting) == (0, 0)
        session = self.egress._client._session
        assert session is None or not session.connector._acquired
        assert not self.egress._deadlines._open

    # --- ports ---

    async def resolve(self, host, port):
        self.lookups.append(host)
        found = self.names.get(host)
        if callable(found):
            found = found()
        if asyncio.iscoroutine(found):
            found = await found
        if found is None:
            raise OSError("no such name")
        return [ipaddress.ip_address(text) for text in found]

    @staticmethod
    def check(address):
        return (
            None if address in map(ipaddress.ip_address, (*LOOPBACK, "::1")) else blocked(address)
        )

    def rules(self, scope):
        return RuleSet(scope, self.lists.get(scope, ()))

    def store(self, records, dropped):
        self.records += records
        self.dropped += dropped

    # --- what tests do ---

    async def server(self, *names, answer=OK, tls=True, certificate=None, address="127.0.0.1"):
        """Start a server that is reached by these names; plain HTTP where `tls` is False."""
        server = Server(answer)
        context = None
        if tls:
            context = (
                tls if isinstance(tls, ssl.SSLContext) else server_tls(*(certificate or names))
            )
        listener = await asyncio.start_server(server.serve, address, 0, ssl=context, limit=1 << 22)
        self._stack.push_async_callback(self._stop, listener)
        server.port = listener.sockets[0].getsockname()[1]
        for name in names:
            self.names.setdefault(name, (address,))
        return server

    @staticmethod
    async def _stop(listener):
        listener.close()
        if hasattr(listener, "close_clients"):
            listener.close_clients()

    def new_run(self, *entries, run_id="run-1", app="", limits=None, **policy):
        """Make a run with these entries the current one, and return it."""
        self.run = NetRun(
            run_id=run_id,
            app=app,
            policy=NetPolicy(allow=list(entries), **policy),
            budget=RunBudget(limits or self.limits),
        )
        return self.run

    def allow(self, server, *hosts, **options):
        """Give the current run entries for hosts of a server, beside those it has."""
        added = [Entry(host=host, ports=(server.port,), **options) for host in hosts]
        policy = self.run.policy
        self.run = NetRun(
            run_id=self.run.run_id,
            app=self.run.app,
            policy=NetPolicy(
                allow=[*policy.allow, *added],
                scopes=policy.scopes,
                cookies=policy.cookies,
                secrets=policy.secrets,
            ),
            budget=self.run.budget,
        )

    async def fetch(self, url, run=None, **args):
        """Make a call as a guest would."""
        run = run or self.run
        request = request_of({"url": url, **args}, self.limits, cookies=run.policy.cookies)
        return await self.egress.fetch(request, run)


class Secrets:
    """The secrets of a world."""

    def __init__(self, world):
        self._world = world

    def secret(self, name, scopes=()):
        return self._world.secrets.get(name)

    def used(self, secret):
        self._world.used.append(secret.name)


def run(scenario):
    """Run a scenario on a loop of its own and check that it left no task behind.

    What the loop waits for is all that takes time there, see `tests.egress.patient`.
    """

    async def whole():
        await scenario
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        # A server may still shake hands with who has gone; only what the client left counts.
        ours = ("serve(", "_accept_connection2")
        left = [task for task in left if not any(name in repr(task) for name in ours)]
        assert not left, left

    patient.run(whole())
