"""Handlers of WebSockets in an application, on pinned messages."""

from __future__ import annotations

import msgspec
import pytest

from cloche.web.adapters.fixture import FixtureChannel, FixtureServices, converse
from cloche.web.app import App
from cloche.web.errors import ChannelClosedError, RouteError
from cloche.web.middleware.basics import request_id
from cloche.web.openapi import describe
from cloche.web.response import text
from cloche.web.websocket.channel import WebSocket  # noqa: TC001 - signatures are read at run time

from .support import ask


class Move(msgspec.Struct):
    """A message for tests."""

    x: int


def game():
    """Return an application with WebSockets of each kind."""
    app = App()
    app.use(request_id())

    @app.websocket("/echo/:room", subprotocols=("chat",))
    async def echo(socket: WebSocket, room: int, loud: bool = False):
        await socket.send(f"room {room}, {socket.subprotocol}")
        async for message in socket:
            await socket.send(message.upper() if loud else message)

    @app.websocket("/move")
    async def move(socket: WebSocket):
        found = await socket.receive_json(Move)
        await socket.send_json({"x": found.x + 1})
        await socket.close(4000, "done")

    @app.websocket("/text")
    async def words(socket: WebSocket):
        await socket.send(await socket.receive_text())

    return app


def test_messages_come_and_go():
    """A handler gets its arguments and every message, and its end closes with 1000."""
    channel = converse(game(), "/echo/7?loud=true", ["a", b"b"])
    assert isinstance(channel, FixtureChannel)
    assert channel.sent == ["room 7, None", "A", b"B"]
    assert channel.close_code == 1000


def test_a_subprotocol_is_agreed_on():
    """The first that both speak is told to the handler."""
    offered = ((b"sec-websocket-protocol", b"other, chat"),)
    channel = converse(game(), "/echo/7", fields=offered)
    assert channel.sent == ["room 7, chat"]


def test_json_messages():
    """A message is read as a type, and a handler may close with a code of its own."""
    channel = converse(game(), "/move", ['{"x":1}'])
    assert channel.sent == ['{"x":2}']
    assert (channel.close_code, channel.close_reason) == (4000, "done")


@pytest.mark.parametrize(
    ("target", "message", "code"),
    [("/move", "{}", "WEB_VALIDATION"), ("/text", b"a", "WEB_BAD_REQUEST")],
)
def test_a_message_that_is_refused(target, message, code):
    """It closes with 1008 and the code of the error."""
    channel = converse(game(), target, [message])
    assert (channel.sent, channel.close_code, channel.close_reason) == ([], 1008, code)


def test_a_handler_that_fails():
    """It closes with 1011, and what it was stands in the log alone."""
    app = App()

    @app.websocket("/")
    async def broken(socket: WebSocket):
        raise ZeroDivisionError

    services = FixtureServices()
    channel = converse(app, "/", services=services)
    assert (channel.close_code, channel.close_reason) == (1011, "")
    assert [record["type"] for record in services.records] == ["ZeroDivisionError"]


def test_a_client_that_goes_away():
    """A handler that waits for a message just ends; nothing is logged."""
    services = FixtureServices()
    channel = converse(game(), "/text", [], services=services)
    assert (channel.sent, channel.close_code, services.records) == ([], 1000, [])


def test_wrong_arguments_open_nothing():
    """What cannot be converted is answered over HTTP, before the handshake."""
    assert converse(game(), "/echo/seven").status == 422


def test_a_plain_request_is_told_to_upgrade():
    """A GET without a handshake is 426, and middleware sees it like any response."""
    response = ask(game(), "GET", "/move")
    assert response.status == 426
    assert response.get(b"x-request-id")


def test_another_site_is_refused():
    """An origin that is not listed opens nothing."""
    assert converse(game(), "/move", fields=((b"origin", b"https://evil"),)).status == 403


def test_below_a_prefix():
    """A mounted application keeps its WebSockets and their settings."""
    app = App()
    app.mount("/v1", game())
    offered = ((b"sec-websocket-protocol", b"chat"),)
    assert converse(app, "/v1/echo/1", fields=offered).sent == ["room 1, chat"]
    assert describe(app, title="t", version="1")["paths"] == {}


def test_signatures_that_cannot_work():
    """They are found when the handler is added."""
    app = App()

    async def no_socket():
        return None

    def not_async(socket: WebSocket):
        return None

    async def with_body(socket: WebSocket, move: Move):
        return None

    for handler in (no_socket, not_async, with_body):
        with pytest.raises(RouteError, match="takes one WebSocket"):
            app.add_websocket("/", handler)
    with pytest.raises(RouteError, match="add it with"):
        app.get("/")(not_async)
    app.get("/")(lambda: text("free"))


def test_a_closed_channel_stays_closed():
    """Its first code counts, and nothing more is sent or received."""

    async def late(channel):
        await channel.close(4001)
        await channel.close(4002)
        with pytest.raises(ChannelClosedError, match="closed with 4001"):
            await channel.send("a")
        with pytest.raises(ChannelClosedError):
            await channel.receive()

    channel = FixtureChannel(["a"])
    with pytest.raises(StopIteration):
        late(channel).send(None)
