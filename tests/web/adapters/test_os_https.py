"""The pinned functions: under a policy, from blobs, pulled one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
import urllib.request

import pytest

from cloche.limits import Limits
from cloche.web.adapters.os_https import limits_of, sandbox, serve_https_v1, serve_sandboxed_v1
from cloche.web.adapters.os_policy import ListenDeniedError, WebPolicy, WebPolicyError
from cloche.web.adapters.os_pull import (
    PullError,
    accept_v1,
    address_v1,
    close_v1,
    http1_caps_v1,
    listen_v1,
    read_req_v1,
    tls_cfg_v1,
    write_resp_v1,
)
from cloche.web.adapters.server import ServerSettings
from cloche.web.adapters.server_errors import BindError
from cloche.web.adapters.tls import TlsSettings, self_signed
from cloche.web.app import App
from cloche.web.encodings.errors import DecodeError
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import HttpResponse, decode_request, encode_response
from cloche.web.http1.errors import Http1Error

CERTIFICATE = self_signed(["127.0.0.1"])
TLS = tls_cfg_v1(CERTIFICATE.certificates, CERTIFICATE.key)
WAIT_S = 60


def hello_app():
    """Return an application with one page."""
    app = App()

    @app.get("/ping")
    def ping() -> str:
        return "pong"

    @app.post("/")
    def take() -> str:
        return "taken"

    return app


def trusting():
    """Return a context of a client."""
    return ssl.create_default_context(cadata=CERTIFICATE.certificates.decode())


def asking(asked):
    """Return a start hook that runs a client beside the server, and then stops it."""

    def client(url):
        try:
            with urllib.request.urlopen(url, timeout=WAIT_S, context=trusting()) as found:
                asked.append((found.status, found.read()))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def started(server):
        threading.Thread(target=client, args=(f"{server.url}/ping",)).start()

    return started


def test_serving_https():
    """The server runs from blobs until it is told to stop, and its exit code is 0."""
    asked = []
    caps = http1_caps_v1(8192, 1000, 60_000, 60_000)
    code = serve_https_v1("127.0.0.1:0", TLS, hello_app(), caps, on_start=asking(asked))
    assert (code, asked) == (0, [(200, b"pong")])


def test_serving_under_a_policy():
    """An address that the policy allows is served, within its ceilings."""
    asked = []
    policy = WebPolicy(enabled=True, listen_allow=("127.0.0.0/8:0",))
    settings = ServerSettings(tls=TlsSettings(certificate=CERTIFICATE))
    code = serve_sandboxed_v1(
        ["127.0.0.1:0"], hello_app(), policy, settings=settings, on_start=asking(asked)
    )
    assert (code, asked) == (0, [(200, b"pong")])


def test_caps():
    """X7HC sets head, body and timeouts; malformed caps are an error."""
    web = limits_of(http1_caps_v1(1000, 7, 123, 456), Limits()).web
    assert (web.head_limit_bytes, web.body_limit_bytes) == (1000, 7)
    assert (web.head_timeout_ms, web.idle_timeout_ms, web.write_stall_timeout_ms) == (123, 123, 456)
    assert limits_of(b"", Limits()) == Limits()
    with pytest.raises(DecodeError):
        limits_of(b"X7HC", Limits())


@pytest.mark.parametrize(
    ("policy", "bind", "problem"),
    [
        (WebPolicy(), "127.0.0.1:80", "web is not enabled"),
        (WebPolicy(listen_allow=("127.0.0.1:80",)), "127.0.0.1:80", "web is not enabled"),
        (WebPolicy(enabled=True), "127.0.0.1:80", "no entry of listen_allow has it"),
        (
            WebPolicy(enabled=True, listen_allow=("127.0.0.1:80",)),
            "127.0.0.1:81",
            "no entry of listen_allow has it",
        ),
        (
            WebPolicy(enabled=True, listen_allow=("127.0.0.0/8:80",)),
            "0.0.0.0:80",
            "no entry of listen_allow has it",
        ),
        (
            WebPolicy(enabled=True, listen_allow=("0.0.0.0/0:1-65535", "[::]/0:80")),
            "unix:/run/a",
            "no entry of listen_allow has it",
        ),
        (
            WebPolicy(enabled=True, listen_allow=("0.0.0.0/0:0-65535",)),
            "fd:3",
            "no entry of listen_allow has it",
        ),
    ],
)
def test_what_a_policy_denies(policy, bind, problem):
    """Nothing listens where no entry says so; the number is that of a denial."""
    with pytest.raises(ListenDeniedError) as caught:
        serve_sandboxed_v1([bind], App(), policy)
    assert caught.value.fields["number"] == 1
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "bind"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("127.0.0.0/8:8000-8010", "127.1.2.3:8010"),
        ("[::1]:80", "[::1]:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ],
)
def test_what_a_policy_allows(entry, bind):
    """Addresses, networks, ranges of ports and paths can be allowed."""
    sandbox([bind], WebPolicy(enabled=True, listen_allow=(entry,)))


def test_a_policy_narrows_limits():
    """Ceilings are taken where they are lower than the limits, and never where they are higher."""
    policy = WebPolicy(
        enabled=True,
        listen_allow=("127.0.0.1:80",),
        max_conns=7,
        max_header_bytes=1000,
        max_body_bytes=1 << 40,
    )
    _, limits = sandbox(["127.0.0.1:80"], policy)
    assert limits.web.connection_count_max == 7
    assert limits.web.head_limit_bytes == 1000
    assert limits.web.body_limit_bytes == Limits().web.body_limit_bytes


def test_tls_under_a_policy():
    """A version below the policy's, and a cipher that it does not list, are denied."""
    document = {
        "enabled": True,
        "listen_allow": ["127.0.0.1:80"],
        "tls": {"min_version": "TLS1.2", "cipher_allowlist": ["ECDHE-ECDSA-AES128-GCM-SHA256"]},
    }
    policy = WebPolicy.from_document(document)
    old = TlsSettings(certificate=CERTIFICATE, min_version="TLS1.2")
    settings, _ = sandbox(["127.0.0.1:80"], policy, settings=ServerSettings(tls=old))
    assert list(settings.tls.ciphers) == ["ECDHE-ECDSA-AES128-GCM-SHA256"]
    strict = WebPolicy(enabled=True, listen_allow=("127.0.0.1:80",))
    with pytest.raises(ListenDeniedError, match=r"TLS1\.2: at least TLS1\.3"):
        sandbox(["127.0.0.1:80"], strict, settings=ServerSettings(tls=old))
    other = TlsSettings(certificate=CERTIFICATE, ciphers=["AES128-SHA"])
    with pytest.raises(ListenDeniedError, match="AES128-SHA"):
        sandbox(["127.0.0.1:80"], policy, settings=ServerSettings(tls=other))


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"enabled": "yes"},
        {"enable": True},
        {"listen_allow": ["localhost:80"]},
        {"listen_allow": ["127.0.0.1"]},
        {"listen_allow": ["127.0.0.1:9-8"]},
        {"listen_allow": ["127.0.0.1/8:80"]},
        {"listen_allow": ["unix:relative"]},
        {"max_conns": 0},
        {"tls": {"min_version": "SSL3"}},
    ],
)
def test_documents_that_are_no_policy(document):
    """A wrong name, type or entry is an error: nothing falls back to something wider."""
    with pytest.raises(WebPolicyError):
        WebPolicy.from_document(document)


def test_no_address():
    """A server needs an address."""
    with pytest.raises(BindError, match="give at least one address"):
        sandbox([], WebPolicy(enabled=True))


@pytest.fixture
def listener():
    """A listener on any free port."""
    found = listen_v1("127.0.0.1:0")
    yield found
    assert close_v1(found) == 0
    assert close_v1(found) == 1


def client(listener, data, *, tls=False):
    """Send bytes from a thread; return a function that waits for the answer."""
    host, port = address_v1(listener).split(":")
    found = []

    def run():
        with socket.create_connection((host, int(port)), WAIT_S) as plain:
            raw = trusting().wrap_socket(plain, server_hostname=host) if tls else plain
            raw.sendall(data)
            with contextlib.suppress(ConnectionError):
                while piece := raw.recv(1000):
                    found.append(piece)
            raw.close()

    thread = threading.Thread(target=run)
    thread.start()

    def answer():
        thread.join(WAIT_S)
        return b"".join(found)

    return answer


@pytest.mark.parametrize("tls", [b"", TLS])
def test_pulling(listener, tls):
    """A request is accepted, read, answered and closed by hand, with TLS and without."""
    request = b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
    answer = client(listener, request, tls=bool(tls))
    stream = accept_v1(listener, tls)
    found = decode_request(read_req_v1(stream))
    assert (found.method.value, found.target, found.body) == ("POST", b"/a?b", b"hi")
    headers = HeaderTable(((b"x-a", b"1"),))
    response = encode_response(HttpResponse(status=200, headers=headers, body=b"ok"))
    assert write_resp_v1(stream, response) == 0
    assert close_v1(stream) == 0
    assert answer() == b"HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 0x6214),
        (b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 0x6202),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n", 0x6211),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            0x620C,
        ),
    ],
)
def test_requests_that_are_refused(listener, request_, number):
    """What is no request raises the code that the parser says."""
    answer = client(listener, request_)
    stream = accept_v1(listener)
    with pytest.raises(Http1Error) as caught:
        read_req_v1(stream, http1_caps_v1(1000, 50, 60_000, 60_000))
    assert caught.value.fields["number"] == number
    close_v1(stream)
    answer()


def test_clients_that_do_not_come(listener):
    """Waiting for a connection, and for a request, ends in time with a number of NET_ERR."""
    caps, patient = http1_caps_v1(1000, 10, 20, 20), http1_caps_v1(1000, 10, 60_000, 60_000)
    with pytest.raises(PullError) as caught:
        accept_v1(listener, b"", caps)
    assert caught.value.fields["name"] == "NET_ERR_TIMEOUT"
    host, port = address_v1(listener).split(":")
    with socket.create_connection((host, int(port))) as silent:
        stream = accept_v1(listener, b"", patient)
        with pytest.raises(PullError) as caught:
            read_req_v1(stream, caps)
        assert caught.value.fields["number"] == 3
        silent.shutdown(socket.SHUT_WR)
        with pytest.raises(PullError) as caught:
            read_req_v1(stream, patient)
        assert caught.value.fields["name"] == "NET_ERR_CONNECT"
    close_v1(stream)


def test_plain_bytes_where_tls_is_expected(listener):
    """A handshake that fails is told apart."""
    answer = client(listener, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    with pytest.raises(PullError) as caught:
        accept_v1(listener, TLS)
    assert caught.value.fields["name"] == "NET_ERR_TLS"
    answer()


def test_handles_that_are_none():
    """A number that names nothing is an error, not a crash."""
    for call in (accept_v1, read_req_v1, address_v1):
        with pytest.raises(PullError):
            call(10**9)
