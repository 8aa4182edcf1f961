"""Attack: one request that is two, on the way to an app that echoes all it gets."""

from __future__ import annotations

import contextlib
import json
import socket

import httpx
import pytest

from abuse.app_support import ECHO, WAIT_S, packed


@pytest.fixture(scope="module")
def echo(served):
    """The place of an app that echoes."""
    headers = {"authorization": f"Bearer {served.key}", "content-type": "application/zip"}
    made = httpx.post(
        f"{served.url}/v1/apps/echo/versions", headers=headers, content=packed(ECHO), timeout=WAIT_S
    )
    assert made.status_code == 201, made.text
    url = httpx.URL(served.url)
    return url.host, url.port


def said(place, data):
    """Return all that is answered to raw bytes, until the server closes the connection."""
    found = b""
    with socket.create_connection(place, WAIT_S) as connection:
        # A server that has closed takes nothing more; what it has said before is there to be read.
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                found += piece
    return found


HEAD = b"POST / HTTP/1.1\r\nHost: echo.localhost\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: echo.localhost\r\n\r\n"
TWO = {
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello" + SECOND,
    "length and chunks": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SECOND,
    "chunks twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunks spelled": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunks with a space": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a folded line": HEAD + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a signed length": HEAD + b"Content-Length: +0\r\n\r\n" + SECOND,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + SECOND,
    "two hosts": b"GET / HTTP/1.1\r\nHost: echo.localhost\r\nHost: 127.0.0.1\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a bare newline": b"GET / HTTP/1.1\nHost: echo.localhost\n\n" + SECOND,
    "a bare return": b"GET / HTTP/1.1\r\nHost: echo.localhost\rX: y\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: echo.localhost\r\nX: a\0b\r\n\r\n",
    "a chunk that lies": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SECOND,
    "a giant chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx" + SECOND,
    "a method with a space": b"GET  / HTTP/1.1\r\nHost: echo.localhost\r\n\r\n",
    "a target with a space": b"GET /a b HTTP/1.1\r\nHost: echo.localhost\r\n\r\n",
    "another version": b"GET / HTTP/3.0\r\nHost: echo.localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", TWO)
def test_two_in_one(echo, name):
    """What could be read as two requests is refused whole, and its connection is closed."""
    answer = said(echo, TWO[name])
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"smuggled" not in answer


def test_an_echo_is_a_body(echo):
    """A body that looks like an answer or a request is a body, there and back."""
    inner = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" + SECOND
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(inner)
    answer = said(echo, head + inner)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["body"] == inner.decode()


def test_absolute_targets(echo):
    """The host of the target is the one that counts (RFC 9112 section 3.2.2)."""
    data = b"GET http://echo.localhost/x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = said(echo, data)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["url"] == "http://echo.localhost/x"
    data = data.replace(b"echo.localhost/x", b"127.0.0.1/v1/keys")
    assert said(echo, data).startswith(b"HTTP/1.1 401")


def test_giant_heads(echo):
    """A head without an end is refused before it is held."""
    assert said(echo, HEAD + b"X: " + b"y" * (1 << 20)).startswith(b"HTTP/1.1 4")
    many = b"".join(b"X%d: y\r\n" % n for n in range(20_000))
    assert said(echo, HEAD + many + b"\r\n").startswith(b"HTTP/1.1 4")


def test_bodies_that_never_end(echo, served):
    """Clients that stop in the middle of a body keep nobody from being answered."""
    held = []
    try:
        for _ in range(40):
            connection = socket.create_connection(echo, WAIT_S)
            held.append(connection)
            connection.sendall(HEAD + b"Content-Length: 900000\r\nExpect: 100-continue\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 100")  # it waits for the body
            connection.sendall(b"x" * 300_000)
        headers = {"authorization": f"Bearer {served.key}"}
        with httpx.Client(base_url=served.url, headers=headers, timeout=WAIT_S) as client:
            assert client.get("/v1/apps").status_code == 200
            assert client.post("/v1/run", json={"language": "python", "code": "1"}).is_success
            headers["content-type"] = "application/zip"
            made = client.post("/v1/apps/other/versions", headers=headers, content=packed(ECHO))
            assert made.status_code == 201
            other = client.get("/", headers={"host": "other.localhost"})
            assert other.status_code == 200, "another app has threads of its own to run on"
    finally:
        for connection in held:
            connection.close()
    again = httpx.get(served.url, headers={"host": "echo.localhost"}, timeout=WAIT_S)
    assert again.status_code == 200
