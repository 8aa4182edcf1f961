"""TLS of a real server: each name has its certificate, and they change under open connections."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import ssl
import zipfile
from urllib.parse import urlsplit

import pytest
import trustme
from tests.cli.support import cloche

from .faults import WAIT_S, settled
from .process import serving

NAMES = ["a.example", "*.b.example"]


def archive(name, hosts=()):
    """Return an app that says its name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps({"name": name, "hosts": list(hosts)}))
        files.writestr("main.js", f"export default () => new Response('{name}')")
    return out.getvalue()


def write(folder, name, authority, *hosts):
    """Write a certificate and its key; return their paths."""
    issued = authority.issue_cert(*hosts)
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    issued.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return str(chain), str(key)


class Visitor:
    """A connection that asks for a name, and trusts what it is told to."""

    def __init__(self, server, host, context):
        place = urlsplit(server.url)
        sock = socket.create_connection((place.hostname, place.port), timeout=WAIT_S)
        self.sock = context.wrap_socket(sock, server_hostname=host)
        self.connection = http.client.HTTPConnection(host)
        self.connection.sock = self.sock

    def names(self):
        """Return the names in the certificate that was shown."""
        return [value for _, value in self.sock.getpeercert()["subjectAltName"]]

    def ask(self):
        """Return what is answered."""
        self.connection.request("GET", "/")
        return self.connection.getresponse().read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.connection.close()


def test_each_name_has_its_certificate(tmp_path):
    """Two apps are asked over TLS that a client checks; a reload drops nobody."""
    first, second = trustme.CA(), trustme.CA()
    own = write(tmp_path, "own", first, "localhost", "127.0.0.1")
    of_a = write(tmp_path, "a", first, "a.example")
    of_b = write(tmp_path, "b", first, "*.b.example")
    config = tmp_path / "cloche.toml"
    lines = [
        "[serve]",
        f"app_hostnames = {json.dumps(NAMES)}",
        f"tls_cert = {json.dumps(own[0])}",
        f"tls_key = {json.dumps(own[1])}",
    ]
    for host, (cert, key) in zip(NAMES, (of_a, of_b), strict=True):
        lines += ["[[serve.certificates]]", f"hosts = {json.dumps([host])}"]
        lines += [f"cert = {json.dumps(cert)}", f"key = {json.dumps(key)}"]
    config.write_text("\n".join(lines))
    context, later = ssl.create_default_context(), ssl.create_default_context()
    first.configure_trust(context)
    second.configure_trust(later)
    with (
        serving(tmp_path, "--config", str(config)) as server,
        server.client(verify=False) as client,
    ):
        client.apps.deploy("one", archive("one", ["a.example"]))
        client.apps.deploy("two", archive("two", ["x.b.example"]))
        for host, names, text in (
            ("a.example", ["a.example"], "one"),
            ("x.b.example", ["*.b.example"], "two"),
        ):
            with Visitor(server, host, context) as visitor:
                assert (visitor.names(), visitor.ask()) == (names, text)
        with Visitor(server, "localhost", context) as visitor:
            assert visitor.names() == ["localhost", "127.0.0.1"]
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            Visitor(server, "y.x.b.example", context)

        with Visitor(server, "a.example", context) as open_one:
            assert open_one.ask() == "one"
            write(tmp_path, "a", second, "a.example")
            server.process.send_signal(signal.SIGHUP)
            with settled(lambda: reached(server, "a.example", later)) as visitor:
                assert visitor.ask() == "one"
            assert open_one.ask() == "one"
            # Where one file is wrong, all of the old ones stay.
            (tmp_path / "own.key").write_text("no key")
            server.process.send_signal(signal.SIGHUP)
            settled(lambda: "reload_failed" in (tmp_path / "stderr.txt").read_text())
            assert open_one.ask() == "one"
        with Visitor(server, "a.example", later) as visitor:
            assert visitor.ask() == "one"


def reached(server, host, context):
    """Return a visitor, None while the certificate is another one."""
    try:
        return Visitor(server, host, context)
    except ssl.SSLCertVerificationError:
        return None


def test_made_certificates(tmp_path):
    """With certificates that are made now each name of an app has its own, and no other has."""
    with (
        serving(tmp_path, "--tls-self-signed") as server,
        server.client(verify=False) as client,
    ):
        client.apps.deploy("one", archive("one"))
        place = urlsplit(server.url)
        shown = shown_to(place, "one.localhost")
        context = ssl.create_default_context(cadata=shown)
        with Visitor(server, "one.localhost", context) as visitor:
            assert (visitor.names(), visitor.ask()) == (["one.localhost"], "one")
        own = shown_to(place, "localhost")
        assert own == shown_to(place, "two.localhost") != shown


def shown_to(place, name):
    """Return the certificate that is shown to who asks for a name, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((place.hostname, place.port), timeout=WAIT_S) as sock,
        context.wrap_socket(sock, server_hostname=name) as wrapped,
    ):
        return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--certificates", "a.example=c.pem:k.pem"], "give the server one of its own"),
        (["--tls-self-signed", "--certificates", "a b=c.pem:k.pem"], "'a b' is no host name"),
        (
            ["--tls-self-signed", *("--certificates", "a.example=c.pem:k.pem") * 2],
            "'a.example' has two certificates",
        ),
        (["--tls-self-signed", "--certificates", "a.example=c.pem:k.pem"], "c.pem: No such file"),
    ],
)
def test_what_cannot_be(tmp_path, options, says):
    """The server does not start, and says why."""
    found = cloche("serve", "--store", str(tmp_path / "s.db"), *options, cwd=tmp_path)
    assert found.exit_code == 2
    assert says in " ".join(found.stderr.split())
