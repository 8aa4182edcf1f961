"""Addresses, sockets that were handed over, what proxies say."""

from __future__ import annotations

import os
import socket

import pytest

from cloche.web.adapters.listen import (
    Bind,
    address_of,
    close_socket,
    open_sockets,
    parse_bind,
    systemd_numbers,
)
from cloche.web.adapters.listen_proxy import ProxyHeaderError, parse_v1, parse_v2
from cloche.web.adapters.server import Server, ServerSettings
from cloche.web.adapters.server_errors import BindError
from cloche.web.adapters.server_forwarded import Forwarding
from cloche.web.app import App
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time

from .os_support import Raw, on_loops, serving, until


def who_app():
    """Return an application that tells who asks."""
    app = App()

    @app.get("/")
    def home(request: Request) -> str:
        return f"{request.client} {request.scheme}"

    return app


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:80", Bind(kind="tcp", host="127.0.0.1", port=80)),
        ("localhost:80", Bind(kind="tcp", host="127.0.0.1", port=80)),
        (":80", Bind(kind="tcp", host="0.0.0.0", port=80)),
        ("[::1]:80", Bind(kind="tcp", host="::1", port=80)),
        ("unix:/run/a.sock", Bind(kind="unix", host="/run/a.sock")),
        ("fd:3", Bind(kind="fd", host="", port=3)),
        ("systemd:", Bind(kind="systemd", host="")),
        ("systemd:web", Bind(kind="systemd", host="web")),
    ],
)
def test_addresses(text, bind):
    """Each form is read, and written in a form that is read again."""
    assert parse_bind(text) == bind
    assert parse_bind(str(bind)) == bind


@pytest.mark.parametrize(
    "text",
    "|80|host:80|1.2.3.4:|1.2.3.4:65536|::1:80|[1.2.3.4]:80|unix:|fd:x|1.2.3.4:-1|1.2.3.4:\u0661"
    "".split("|"),
)
def test_what_is_no_address(text):
    """Everything else is an error; a name is never looked up."""
    with pytest.raises(BindError):
        parse_bind(text)


@on_loops
async def test_ipv6_and_several_addresses():
    """A server listens on several addresses at once."""
    async with serving(who_app(), "127.0.0.1:0", "[::1]:0") as running:
        assert len(running.server.addresses) == 2
        for address, client in zip(running.server.addresses, ["127.0.0.1", "::1"], strict=True):
            async with await Raw.connect(address) as raw:
                raw.get()
                assert (await raw.reply()).body == f"{client} http".encode()


@on_loops
async def test_an_address_that_is_taken():
    """A second server on the same port is an error, and opens none of its other addresses."""
    async with serving(who_app()) as running:
        second = Server(who_app(), "127.0.0.1:0", running.server.address)
        with pytest.raises(BindError, match="Address already in use"):
            await second.start()
        assert second.addresses == []


@on_loops
async def test_unix_sockets():
    """A socket file is made, answers, is private, and is removed at the end."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "app.sock")
        async with serving(who_app(), f"unix:{path}") as running:
            assert path.stat().st_mode & 0o777 == 0o660  # noqa: ASYNC240 - a test
            async with await Raw.connect(running.server.address) as raw:
                raw.get()
                assert (await raw.reply()).body == b" http"
        assert not path.exists()  # noqa: ASYNC240 - a test


def test_socket_files_that_are_there(tmp_path):
    """A file that nobody listens on is replaced; one that is in use, or no socket, is not."""
    path = tmp_path / "app.sock"
    bind = parse_bind(f"unix:{path}")
    (first,) = open_sockets([bind])
    with pytest.raises(BindError, match="somebody listens there already"):
        open_sockets([bind])
    first.close()  # as if its process had been killed
    assert path.exists()
    (second,) = open_sockets([bind])
    close_socket(second)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(BindError, match="no socket is there"):
        open_sockets([bind])
    assert path.read_text() == "mine"


def test_a_socket_that_was_handed_over():
    """A number of a socket that listens is taken; one that does not listen is refused."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        (found,) = open_sockets([Bind(kind="fd", host="", port=given.fileno())])
        assert address_of(found) == f"127.0.0.1:{given.getsockname()[1]}"
        found.close()
    with socket.socket() as silent, pytest.raises(BindError, match="does not listen"):
        open_sockets([Bind(kind="fd", host="", port=silent.fileno())])
    with pytest.raises(BindError):
        open_sockets([Bind(kind="fd", host="", port=9999)])


def test_sockets_of_systemd():
    """Sockets are found by number and by name, and only where they are for this process."""
    environment = {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": "3",
        "LISTEN_FDNAMES": "web:admin:web",
    }
    assert systemd_numbers(parse_bind("systemd:"), environment) == [3, 4, 5]
    assert systemd_numbers(parse_bind("systemd:web"), environment) == [3, 5]
    with pytest.raises(BindError, match="has this name"):
        systemd_numbers(parse_bind("systemd:other"), environment)
    with pytest.raises(BindError, match="handed to this process"):
        systemd_numbers(parse_bind("systemd:"), {**environment, "LISTEN_PID": "1"})


V2 = b"\r\n\r\n\x00\r\nQUIT\n"
HEADERS = [
    (b"PROXY TCP4 192.0.2.9 192.0.2.1 1000 80\r\n", "192.0.2.9"),
    (b"PROXY TCP6 2001:db8::9 2001:db8::1 1000 80\r\n", "2001:db8::9"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY UNKNOWN what ever\r\n", "127.0.0.1"),
    (V2 + b"\x21\x11\x00\x0c\xc0\x00\x02\x09\xc0\x00\x02\x01\x03\xe8\x00\x50", "192.0.2.9"),
    (V2 + b"\x21\x11\x00\x0f\xc0\x00\x02\x09\xc0\x00\x02\x01\x03\xe8\x00\x50\x04\0\0", "192.0.2.9"),
    (V2 + b"\x20\x00\x00\x00", "127.0.0.1"),
]


@pytest.mark.parametrize(("header", "client"), HEADERS)
@on_loops
async def test_proxy_headers(header, client):
    """The client is the one that the proxy says, with the request behind it or byte by byte."""
    settings = ServerSettings(proxy_protocol=True)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    async with serving(who_app(), settings=settings) as running:
        async with await running.connect() as raw:
            raw.send(header + request)
            assert (await raw.reply()).body == f"{client} http".encode()
        async with await running.connect() as raw:
            for byte in header + request:
                raw.send(bytes([byte]))
                await raw.writer.drain()
            assert (await raw.reply()).body == f"{client} http".encode()


@on_loops
async def test_connections_without_a_proxy_header():
    """A connection that has none, or a malformed one, is closed without an answer."""
    settings = ServerSettings(proxy_protocol=True)
    async with serving(who_app(), settings=settings) as running:
        for first in (
            b"GET / HTTP/1.1\r\n",
            b"PROXY TCP4 " + b"1" * 200,
            V2 + b"\x21\x11\xff\xff",
            b"PROXY ",
        ):
            async with await running.connect() as raw:
                raw.send(first)
                raw.writer.write_eof()
                assert await raw.rest() == b""
        await until(lambda: running.counts.handshake_failures == 4)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1000 80\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1000\r\n",
        b"PROXY TCP4 2001:db8::9 2001:db8::1 1000 80\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1000 99999\r\n",
        b"PROXY TCP4 a b 1 2\r\n",
        b"PROXY UDP4 192.0.2.9 192.0.2.1 1 2\r\n",
    ],
)
def test_lines_that_are_no_proxy_header(line):
    """A line of version 1 is exact or refused."""
    with pytest.raises(ProxyHeaderError):
        parse_v1(line)


@pytest.mark.parametrize(("command", "rest"), [(0x11, bytes(12)), (0x22, b""), (0x21, bytes(11))])
def test_binary_headers_that_are_none(command, rest):
    """So is a header of version 2."""
    with pytest.raises(ProxyHeaderError):
        parse_v2(command, 0x11, rest)


FOR = b"x-forwarded-for"
PROTO = b"x-forwarded-proto"


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ([], ("10.0.0.1", "http")),
        ([(FOR, b"192.0.2.9")], ("192.0.2.9", "http")),
        ([(FOR, b"192.0.2.9"), (PROTO, b"https")], ("192.0.2.9", "https")),
        ([(FOR, b"6.6.6.6, 192.0.2.9")], ("192.0.2.9", "http")),
        ([(FOR, b"6.6.6.6, 192.0.2.9, 10.0.0.2")], ("192.0.2.9", "http")),
        ([(FOR, b"6.6.6.6"), (FOR, b"192.0.2.9")], ("192.0.2.9", "http")),
        ([(FOR, b"nonsense")], ("10.0.0.1", "http")),
        ([(FOR, b"192.0.2.9:1234")], ("192.0.2.9", "http")),
        ([(FOR, b"[2001:db8::9]:1234")], ("2001:db8::9", "http")),
        ([(b"forwarded", b"for=6.6.6.6")], ("10.0.0.1", "http")),
        ([(FOR, b"192.0.2.9"), (PROTO, b"ftp")], ("192.0.2.9", "http")),
    ],
)
def test_forwarded_for(fields, client):
    """The last address that no trusted proxy has is the client; what stands before it is not."""
    forwarding = Forwarding.of("10.0.0.0/8", field="x-forwarded-for")
    assert forwarding.resolve(fields, "10.0.0.1", "http") == client
    assert forwarding.resolve(fields, "192.0.2.200", "http") == ("192.0.2.200", "http")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"for=192.0.2.9;proto=https", ("192.0.2.9", "https")),
        (b'for="[2001:db8::9]:47"', ("2001:db8::9", "http")),
        (b"for=6.6.6.6, For=192.0.2.9;by=10.0.0.1", ("192.0.2.9", "http")),
        (b"for=_hidden", ("10.0.0.1", "http")),
        (b"for=192.0.2.9;;", ("10.0.0.1", "http")),
    ],
)
def test_forwarded(value, client):
    """The standard field is read likewise, where it was chosen."""
    forwarding = Forwarding.of("10.0.0.0/8", field="forwarded")
    assert forwarding.resolve([(b"forwarded", value)], "10.0.0.1", "http") == client


@on_loops
async def test_the_word_of_a_proxy():
    """The application sees the client that a trusted proxy tells, and by default never."""
    for forwarding, body in (
        (None, b"127.0.0.1 http"),
        (Forwarding.of("127.0.0.0/8", field="x-forwarded-for"), b"192.0.2.9 https"),
    ):
        settings = ServerSettings(forwarding=forwarding)
        app = who_app()
        async with serving(app, settings=settings) as running, await running.connect() as raw:
            raw.get("/", "X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https")
            assert (await raw.reply()).body == body
