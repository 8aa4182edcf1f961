"""The handshake: accepted exactly, refused with an answer that says why."""

from __future__ import annotations

import pytest

from cloche.web.adapters.fixture import FixtureServices
from cloche.web.errors import HttpError
from cloche.web.request import Request
from cloche.web.websocket.handshake import accept_handshake

ALL_PARAMETERS = (
    b"client_max_window_bits",
    b"client_no_context_takeover",
    b"server_no_context_takeover",
)
FIELDS = {
    b"host": b"a.example",
    b"upgrade": b"websocket",
    b"connection": b"keep-alive, Upgrade",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
}


def request(changes=None, method="GET"):
    """Return a handshake with some fields changed, or taken away with None."""
    fields = {
        name: value for name, value in (FIELDS | (changes or {})).items() if value is not None
    }
    return Request(
        method=method,
        target="/chat",
        fields=list(fields.items()),
        services=FixtureServices(),
        scheme="https",
    )


def test_the_example_of_the_standard():
    """RFC 6455 section 1.3."""
    found = accept_handshake(request())
    assert found.fields == (
        (b"connection", b"upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    )
    assert (found.subprotocol, found.deflate) == (None, False)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({b"upgrade": None}, 426),
        ({b"upgrade": b"h2c"}, 426),
        ({b"upgrade": b"h2c, WebSocket"}, 101),
        ({b"connection": None}, 400),
        ({b"connection": b"keep-alive"}, 400),
        ({b"sec-websocket-version": None}, 426),
        ({b"sec-websocket-version": b"8"}, 426),
        ({b"sec-websocket-key": None}, 400),
        ({b"sec-websocket-key": b"x"}, 400),
        ({b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25j"}, 400),
        ({b"sec-websocket-key": b"dGhlIHNhbXBs!ZSBub25jZQ=="}, 400),
        ({b"sec-websocket-key": b"dGhlIHNhbXBs\xe4SBub25jZQ=="}, 400),
        ({b"origin": b"https://a.example"}, 101),
        ({b"origin": b"https://b.example"}, 101),
        ({b"origin": b"http://a.example"}, 403),
        ({b"origin": b"https://evil.example"}, 403),
        ({b"origin": b"null"}, 403),
    ],
)
def test_each_part(changes, status):
    """Every field has to be right; another site is refused."""
    try:
        accept_handshake(request(changes), origins=("https://b.example",))
        found = 101
    except HttpError as error:
        found = error.status
    assert found == status


def test_the_method():
    """Only GET."""
    with pytest.raises(HttpError):
        accept_handshake(request(method="POST"))


def test_another_version_is_told_ours():
    """The answer says which version is spoken."""
    with pytest.raises(HttpError) as caught:
        accept_handshake(request({b"sec-websocket-version": b"7"}))
    assert (b"sec-websocket-version", b"13") in caught.value.response_fields()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(b"a", None), (b"a, c,b", "b"), (b"b", "b"), (b"B", None), (b"", None), (b"c", "c")],
)
def test_subprotocols(offered, chosen):
    """The application's first choice among what the client offers, or none."""
    offer = request({b"sec-websocket-protocol": offered})
    found = accept_handshake(offer, subprotocols=("b", "c"))
    assert found.subprotocol == chosen
    assert ((b"sec-websocket-protocol", (chosen or "").encode()) in found.fields) is bool(chosen)


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (b"permessage-deflate", True),
        (b"permessage-deflate; client_max_window_bits", True),
        (b"x, permessage-deflate; client_max_window_bits=12; client_no_context_takeover", True),
        (b"permessage-deflate; client_max_window_bits; server_no_context_takeover", True),
        (b"permessage-deflate; " + b"; ".join(ALL_PARAMETERS), True),
        (b"permessage-deflate; server_max_window_bits=10", False),
        (b"permessage-deflate; server_max_window_bits=10, permessage-deflate", True),
        (b"x-webkit-deflate-frame", False),
        (b"", False),
    ],
)
def test_extensions(offered, agreed):
    """Compression where it is wanted here and there, with nothing kept between messages."""
    offer = request({b"sec-websocket-extensions": offered})
    assert accept_handshake(offer, deflate=True).deflate is agreed
    assert accept_handshake(offer).deflate is False
