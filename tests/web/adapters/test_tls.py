"""TLS: versions, names, what is agreed on, certificates that change."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import trustme

from cloche.web.adapters.server import ServerSettings
from cloche.web.adapters.server_errors import ServerStateError, TlsError
from cloche.web.adapters.tls import CertificateFiles, TlsContexts, TlsSettings, self_signed
from cloche.web.app import App
from cloche.web.encodings.settings import TlsServerConfig

from .os_support import Raw, on_loops, serving, until

AUTHORITY = trustme.CA()


def issue(*names):
    """Return a certificate of the tests' authority."""
    leaf = AUTHORITY.issue_cert(*names)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return TlsServerConfig(certificates=chain, key=leaf.private_key_pem.bytes())


def client_context(*, old=False):
    """Return a context that trusts the authority."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    if old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def hello_app():
    """Return an application that tells the scheme."""
    from cloche.web.request import Request

    app = App()

    async def home(request: Request) -> str:
        return request.scheme

    home.__annotations__ = {"request": Request, "return": str}
    app.add("GET", "/", home)
    return app


async def connect(running, name="localhost", **more):
    """Return a client over TLS."""
    context = client_context(**more)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return await Raw.connect(running.server.address, ssl=context, server_hostname=name)


def names_of(client):
    """Return the names in the certificate that a client was shown."""
    found = client.writer.get_extra_info("peercert")
    return [value for _, value in found["subjectAltName"]]


@on_loops
async def test_version_and_protocol():
    """TLS 1.3 and http/1.1 are agreed on, and the application knows that it is https."""
    settings = ServerSettings(tls=TlsSettings(certificate=issue("localhost")))
    async with serving(hello_app(), settings=settings) as running:
        client = await connect(running)
        found = client.writer.get_extra_info("ssl_object")
        assert (found.version(), found.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        client.get()
        assert (await client.reply()).body == b"https"
        await client.close()


@on_loops
async def test_tls_1_2_is_opted_into():
    """A client of TLS 1.2 is refused, unless the settings allow it."""
    strict = ServerSettings(tls=TlsSettings(certificate=issue("localhost")))
    async with serving(hello_app(), settings=strict) as running:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(running, old=True)
        await until(lambda: running.counts.handshake_failures == 1)
    tls = TlsSettings(certificate=issue("localhost"), min_version="TLS1.2")
    async with serving(hello_app(), settings=ServerSettings(tls=tls)) as running:
        client = await connect(running, old=True)
        name, version, _ = client.writer.get_extra_info("cipher")
        assert version == "TLSv1.2"
        assert name.startswith("ECDHE-")
        await client.close()


@on_loops
async def test_a_client_checks_the_name():
    """A client holds us to our certificate: another name, or an unknown issuer, ends it."""
    settings = ServerSettings(tls=TlsSettings(certificate=issue("localhost")))
    async with serving(hello_app(), settings=settings) as running:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await connect(running, "other.test")
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
            await Raw.connect(
                running.server.address,
                ssl=ssl.create_default_context(),
                server_hostname="localhost",
            )
        await until(lambda: running.counts.open == 0)
        assert not running.records


@on_loops
async def test_certificates_by_name():
    """A client is shown the certificate of the name it asked for, else the default one."""
    tls = TlsSettings(
        certificate=issue("localhost", "other.test"),
        names={"one.test": issue("one.test"), "*.two.test": issue("*.two.test")},
    )
    async with serving(hello_app(), settings=ServerSettings(tls=tls)) as running:
        for asked, shown in (
            ("one.test", ["one.test"]),
            ("ONE.test", ["one.test"]),
            ("a.two.test", ["*.two.test"]),
            ("other.test", ["localhost", "other.test"]),
        ):
            client = await connect(running, asked)
            assert names_of(client) == shown
            await client.close()


@on_loops
async def test_certificates_that_are_made():
    """A name without a certificate gets one when somebody makes it, once until the next reload."""
    made = []

    def make(name):
        made.append(name)
        return issue(name) if name.endswith(".app.test") else None

    tls = TlsSettings(
        certificate=issue("localhost"), names={"one.app.test": issue("one.app.test")}, make=make
    )
    async with serving(hello_app(), settings=ServerSettings(tls=tls)) as running:
        for asked in ("one.app.test", "two.app.test", "TWO.app.test", "localhost"):
            client = await connect(running, asked)
            assert names_of(client) == [asked.lower()]
            await client.close()
        assert made == ["two.app.test", "localhost"]
        running.server.reload_tls()
        client = await connect(running, "two.app.test")
        await client.close()
        assert made[2:] == ["two.app.test"]


def test_made_certificates_are_bounded():
    """Of many names the ones that were asked for last are kept."""
    made = []

    def make(name):
        made.append(name)
        return certificate

    certificate = issue("localhost")
    contexts = TlsContexts(TlsSettings(certificate=certificate, make=make))
    for number in (*range(300), 299, 0):
        contexts.find(f"{number}.test")
    assert made == [f"{number}.test" for number in (*range(300), 0)]


@on_loops
async def test_reload():
    """New connections get new certificates, open ones go on; a wrong file changes nothing."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        files = CertificateFiles(chain=Path(folder, "chain.pem"), key=Path(folder, "key.pem"))
        _write(files, issue("localhost"))
        settings = ServerSettings(tls=TlsSettings(certificate=files))
        async with serving(hello_app(), settings=settings) as running:
            first = await connect(running)
            _write(files, issue("localhost", "new.test"))
            running.server.reload_tls()
            second = await connect(running, "new.test")
            assert names_of(second) == ["localhost", "new.test"]
            files.chain.write_bytes(b"nonsense")
            with pytest.raises(TlsError):
                running.server.reload_tls()
            third = await connect(running, "new.test")
            for client in (first, second, third):
                client.get()
                assert (await client.reply()).status == 200
                await client.close()


def _write(files, certificate):
    files.chain.write_bytes(certificate.certificates)
    files.key.write_bytes(certificate.key)


@on_loops
async def test_broken_handshakes():
    """Handshakes that are broken off, or are none, are counted and leave nothing behind."""
    settings = ServerSettings(tls=TlsSettings(certificate=issue("localhost")))
    async with serving(hello_app(), settings=settings) as running:
        hello = _client_hello()
        for size in (0, 1, 5, 100, len(hello)):
            client = await running.connect()
            client.send(hello[:size])
            await client.close()
        client = await running.connect()
        client.get()  # plain HTTP to a server of TLS
        assert b"HTTP" not in await client.rest()
        await client.close()
        await until(lambda: running.counts.handshake_failures == 6)
        assert running.counts.open == 0
        assert running.counts.connections == 0
        client = await connect(running)
        client.get()
        assert (await client.reply()).status == 200
        await client.close()


@on_loops
async def test_a_handshake_has_a_deadline():
    """A client that says nothing does not hold its connection, which counts from the beginning."""
    settings = ServerSettings(tls=TlsSettings(certificate=issue("localhost")))
    async with serving(hello_app(), settings=settings) as running:
        client = await running.connect()
        await until(lambda: running.counts.open == 1)
        await client.close()
    limits = {"handshake_timeout_ms": 20}
    async with serving(hello_app(), settings=settings, **limits) as running:
        client = await running.connect()
        assert await client.rest() == b""
        await until(lambda: running.counts.open == 0)
        assert running.counts.handshake_failures == 1
        await client.close()


def _client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    found = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        found.do_handshake()
    return outgoing.read()


def test_self_signed():
    """The helper's certificate has the names, and a client that trusts it connects."""
    certificate = self_signed(["localhost", "127.0.0.1"])
    contexts = TlsContexts(TlsSettings(certificate=certificate))
    trusting = ssl.create_default_context(cadata=certificate.certificates.decode())
    left, right = socket.socketpair()
    with left, right:

        async def run():
            server = asyncio.to_thread(contexts.context.wrap_socket, left, server_side=True)
            client = asyncio.to_thread(trusting.wrap_socket, right, server_hostname="127.0.0.1")
            return await asyncio.gather(server, client)

        for each in asyncio.run(run()):
            assert each.version() == "TLSv1.3"
            each.close()


@pytest.mark.parametrize(
    "certificate",
    [
        TlsServerConfig(certificates=b"no PEM", key=b"no PEM"),
        TlsServerConfig(certificates=issue("a.test").certificates, key=issue("a.test").key),
    ],
)
def test_certificates_that_cannot_be_used(certificate):
    """What is no PEM, or a key of another certificate, is an error that shows no key."""
    with pytest.raises(TlsError) as caught:
        TlsContexts(TlsSettings(certificate=certificate))
    assert "PRIVATE" not in str(caught.value)


def test_an_encrypted_key_is_refused():
    """Nobody is asked for a password."""
    from cryptography.hazmat.primitives import serialization

    certificate = self_signed(["a.test"])
    key = serialization.load_pem_private_key(certificate.key, None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(TlsError, match="the key is encrypted"):
        TlsContexts(
            TlsSettings(
                certificate=TlsServerConfig(certificates=certificate.certificates, key=locked)
            )
        )


@on_loops
async def test_a_server_without_tls_has_nothing_to_reload():
    """Reloading certificates of a plain server is an error."""
    async with serving(App()) as running:
        with pytest.raises(ServerStateError, match="the server speaks no TLS"):
            running.server.reload_tls()
