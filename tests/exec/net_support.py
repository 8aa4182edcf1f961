"""Servers on loopback for runs that make calls: the process's service has a world of the test."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager

from tests.egress.support import AT_LEISURE, OK, World, response

import cloche
from cloche.egress.adapters.service import NetService
from cloche.egress.open import use_service
from cloche.gate.policy import Policy

# Enough for a test that makes many calls, on any machine.
CALLS = {
    **AT_LEISURE,
    "guests": {"timeout_ms": 60_000},
    "net": {**AT_LEISURE["net"], "app_concurrency": 20, "max_calls": 20},
}


class Net:
    """The world behind the service of this process.

    Servers run on the service's own loop: `server` starts one, `policy` allows calling it.
    """

    def __init__(self, limits=None, **egress):
        self.world = None
        self._limits = limits
        self._egress = egress
        self.service = NetService(self._make)
        self.service.call(lambda egress: egress)

    def _make(self):
        self.world = World(self._limits or {}, **self._egress)
        return self.world.egress

    def server(self, *names, answer=OK, **options):
        """Start a server that is reached by these names."""
        names = names or ("a.example.com",)
        return self.service.submit(
            lambda _: self.world.server(*names, answer=answer, **options)
        ).result()

    def settle(self):
        """Wait until no call holds a slot: each look is a turn of the loop that ends calls."""
        until_s = time.monotonic() + 60
        while self.service.call(lambda egress: egress.slots.held):
            assert time.monotonic() < until_s, "a call is on its way that nobody waits for"

    def close(self):
        """Stop servers and service."""
        self.service.submit(lambda _: self.world.__aexit__()).result()
        self.service.close()


@contextmanager
def net_world(limits=None, **egress):
    """Make a world that of the process's service, until the end of the block."""
    net = Net(limits, **egress)
    use_service(net.service)
    try:
        yield net
    finally:
        use_service(None)
        net.close()


def allowing(server, *hosts, secrets=(), rules=None, **options):
    """Return a policy that allows calls to a server by these names."""
    entries = [{"host": host, "ports": [server.port]} for host in hosts or ("a.example.com",)]
    net = cloche.NetPolicy(allow=entries, secrets=tuple(secrets), **options)
    return Policy(net=net) if rules is None else Policy.from_document({**rules, "net": net})


def echo(request):
    """Answer with what was sent, as JSON."""
    sent = {
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
    }
    return response(body=json.dumps(sent).encode(), Content_Type="application/json")


def together(count, answer=OK):
    """Return an answer that is given only when `count` requests are there at once."""
    barrier = asyncio.Barrier(count)

    async def wait(request):
        await barrier.wait()
        return answer(request) if callable(answer) else answer

    return wait


async def silent(reader, writer):
    """Read, and never answer."""
    del writer
    await reader.read()
