"""Front proxies and we agree where a message ends: what passes both is one request in both.

Bytes are sent to a proxy that stands before our server. A message that two programs read in two
ways lets a client smuggle a request; so for each case there are as many answers as requests that
our server saw, and what is hidden in a body that is plain never becomes one.
"""

from __future__ import annotations

import shutil
import socket
import string
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from cloche.limits import Limits
from cloche.limits.web_groups import WebLimits
from cloche.web.adapters.server import ServerSettings
from cloche.web.adapters.server_forwarded import Forwarding
from cloche.web.app import App
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time

from ..ports import free_port  # noqa: TID252 - the tests of a room are one package
from .background import Background

WAIT_S = 60
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
# What is good HTTP beyond doubt, and comes through.
PLAIN = ("get", "pipelined", "length", "chunked", "chunked-hidden", "get-with-body", "expect")
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

NGINX = """
daemon off; master_process off; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ }}
http {{
  access_log off; underscores_in_headers on;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream app {{ server {app}; keepalive 4; }}
  server {{
    listen {address};
    keepalive_timeout 1s; client_body_timeout 60s;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_request_buffering off;
      proxy_buffering off; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 100
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
  timeout http-request 60s
  timeout http-keep-alive 1s
  option forwardfor
  http-reuse always
frontend front
  bind {address}
  default_backend app
backend app
  server app {app} {more}
"""


def app_that_tells():
    """Return an application that keeps what it was asked."""
    app = App()
    app.state["seen"] = []

    async def tell(request: Request) -> str:
        body = await request.read_all()
        app.state["seen"].append((request.host, (request.method, request.path, body)))
        return f"{request.client} {len(body)}"

    for method in ("GET", "POST"):
        app.route(method, "/*path")(tell)
        app.route(method, "/")(tell)
    return app


@contextmanager
def behind(kind, folder, *, more=""):
    """Put a proxy before the application; give its address and what the application saw."""
    program = shutil.which(kind, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip(f"{kind} is not installed")
    app = app_that_tells()
    settings = ServerSettings(
        forwarding=None if more else Forwarding.of("127.0.0.0/8", field="x-forwarded-for"),
        proxy_protocol=bool(more),
    )
    web = WebLimits(body_limit_bytes=1 << 20)
    with Background(app, settings=settings, limits=Limits(web=web)) as server:
        address = free_address()
        file = folder / "proxy.conf"
        text = NGINX if kind == "nginx" else HAPROXY
        file.write_text(text.format(folder=folder, app=server.address, address=address, more=more))
        command = (
            [program, "-c", str(file)] if kind == "nginx" else [program, "-f", str(file), "-db"]
        )
        if kind == "nginx":
            command += ["-p", str(folder)]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                wait_for(address, process)
                yield address, app.state["seen"]
            finally:
                process.terminate()


def free_address():
    """Return an address that nobody listens on."""
    return f"127.0.0.1:{free_port()}"


def wait_for(address, process):
    """Wait until a program listens."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        assert process.poll() is None, process.stderr.read().decode()
        try:
            connect(address).close()
        except ConnectionRefusedError:
            process.poll()
        else:
            return
    raise AssertionError("the proxy does not listen")


def connect(address):
    """Return a connection."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), WAIT_S)


def ask(address, data):
    """Send bytes; return the statuses of all answers, without those that only ask for more.

    The proxy closes when it has waited in vain for another request, or for the rest of one.
    """
    with connect(address) as client:
        client.sendall(data)
        answers = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(65_536):
                answers += piece
    found = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    return [status for status in found if status >= 200]


def ask_each(address, seen, names):
    """Send cases, each in the name of a host of its own; return the answers and what was seen."""
    seen.clear()
    hosts = dict(zip(names, string.ascii_lowercase, strict=False))
    assert len(hosts) == len(names)

    def one(name):
        return ask(address, named(CASES[name][0], hosts[name]))

    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = list(pool.map(one, hosts))
    found = {}
    for (name, host), statuses in zip(hosts.items(), answers, strict=True):
        requests = [request for asked, request in seen if asked == host]
        meant = CASES[name][1]
        if meant is not None:
            meant = [(method, path, named(body, host)) for method, path, body in meant]
        found[name] = (statuses, requests, meant)
    return found


def named(data, host):
    """Return a case in the name of another host; its lengths stay right."""
    return data.replace(b"Host: a\r\n", b"Host: %b\r\n" % host.encode())


# What is sent, and what the application may be asked: nothing but this.
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CASES = {
    "get": (b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", [("GET", "/a", b"")]),
    "pipelined": (
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + HIDDEN,
        [("GET", "/a", b"")] * 2 + [("GET", "/hidden", b"")],
    ),
    "length": (
        POST + b"Content-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
        [("POST", "/a", HIDDEN)],
    ),
    "chunked": (
        CHUNKED + CHUNKS,
        [("POST", "/a", b"hello")],
    ),
    "chunked-hidden": (
        CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
        [("POST", "/a", HIDDEN)],
    ),
    "chunk-extension": (
        CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n",
        [("POST", "/a", b"hello")],
    ),
    "trailer": (
        CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        [("POST", "/a", b"hello")],
    ),
    "te-and-cl": (
        POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n%b" % (5 + len(HIDDEN), HIDDEN),
        None,
    ),
    "cl-and-te": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
        None,
    ),
    "two-lengths": (
        POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
        None,
    ),
    "list-of-lengths": (
        POST + b"Content-Length: 5, 5\r\n\r\nhello",
        [("POST", "/a", b"hello")],
    ),
    "plus": (POST + b"Content-Length: +5\r\n\r\nhello", None),
    "space-before-colon": (
        POST + b"Transfer-Encoding : chunked\r\n"
        b"Content-Length: %d\r\n\r\n0\r\n\r\n%b" % (5 + len(HIDDEN), HIDDEN),
        None,
    ),
    "tab-before-chunked": (
        POST + b"Transfer-Encoding:\tchunked\r\n\r\n" + CHUNKS,
        [("POST", "/a", b"hello")],
    ),
    "vertical-tab": (
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKS,
        None,
    ),
    "chunked-twice": (
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKS,
        None,
    ),
    "identity": (
        POST + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKS,
        None,
    ),
    "folded": (
        POST + b"X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
        None,
    ),
    "bare-lf-in-chunk": (
        CHUNKED + b"5\nhello\r\n0\r\n\r\n",
        None,
    ),
    "chunk-size-too-large": (
        CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        None,
    ),
    "chunk-size-0x": (
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        None,
    ),
    "underscore": (
        POST + b"Transfer_Encoding: chunked\r\nContent-Length: 15\r\n\r\n" + CHUNKS,
        [("POST", "/a", CHUNKS)],
    ),
    "get-with-body": (
        b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
        [("GET", "/a", HIDDEN)],
    ),
    "expect": (
        POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        [("POST", "/a", b"hello")],
    ),
}


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_where_a_message_ends(kind, tmp_path):
    """Each case is the requests it means, or refused; both count the same requests."""
    with behind(kind, tmp_path) as (address, seen):
        found = ask_each(address, seen, CASES)
        seen.clear()
        # Connections behind the proxy are kept, and the next one finds nothing of another in them.
        for _ in range(8):
            assert ask(address, LAST) == [200]
        assert seen == [("a", ("GET", "/last", b""))] * 8
    for name, (statuses, requests, meant) in found.items():
        about = (name, statuses, requests)
        assert statuses.count(200) == len(requests), about
        # What has two meanings may come through in one of them, if that is the proxy's own.
        assert meant is None or requests in ([], meant), about
    plain = {name: requests for name, (_, requests, _) in found.items() if name in PLAIN}
    assert plain == {name: found[name][2] for name in PLAIN}


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_the_client_is_known(kind, tmp_path):
    """The client is the first on the way back whom nobody vouches for."""
    with behind(kind, tmp_path) as (address, _), connect(address) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7\r\n"
            b"Connection: close\r\n\r\n"
        )
        answer = b""
        while piece := client.recv(65_536):
            answer += piece
    # Here the proxy and its client both have trusted addresses.
    assert answer.endswith(b"198.51.100.7 0")


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_the_proxy_protocol_of_haproxy(version, tmp_path):
    """Both versions of its header are read, and the client is the one they name."""
    with behind("haproxy", tmp_path, more=version) as (address, seen):
        assert ask(address, LAST) == [200]
        assert seen == [("a", ("GET", "/last", b""))]
