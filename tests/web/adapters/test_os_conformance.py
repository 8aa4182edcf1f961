"""The conformance suite of the web room, over our own server."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from cloche.testing.web import CHECKS, sample_app
from cloche.web.adapters.server import Server, ServerSettings
from cloche.web.adapters.tls import TlsSettings, self_signed
from web.clients import HttpClient

from .os_support import LOOPS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_server(check, loop, scheme):
    """Over a socket the same application gives the same answers, with TLS and without."""
    certificate = self_signed(["127.0.0.1"])
    settings = ServerSettings(tls=TlsSettings(certificate=certificate))
    context = ssl.create_default_context(cadata=certificate.certificates.decode())

    async def run():
        secure = scheme == "https"
        server = Server(sample_app(), "127.0.0.1:0", settings=settings if secure else None)
        async with server, HttpClient(server.url, ssl=context if secure else None) as client:
            await check(client)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())
