"""Applications of `cloche.web` as apps: the same code answers inside the guest."""

from __future__ import annotations

import asyncio
import json
import sys
from types import ModuleType

import pytest

from apps.adapters.test_host_streams import Pieces, Slow
from apps.adapters.test_sockets import Client
from apps.support import Log, ask, build, host, parts
from cloche.apps.adapters.guest_web import ROOT, wants_web, web_files
from cloche.apps.messages import AppRequest
from cloche.web.adapters.fixture import FixtureServices
from cloche.web.request import Request

CODE = """
import enum
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cloche.web.app import App
from cloche.web.docs_page import add_docs
from cloche.web.request import Request
from cloche.web.response import Response, html, redirect, sse, stream, text

app = App()


class Item(msgspec.Struct):
    name: str
    count: int = 1


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Box:
    "A box of items."

    items: list[Item]
    colour: Colour | None = None


@app.get("/users/:id")
def user(id: int, q: str = "none") -> dict:
    return {"id": id, "q": q}


@app.post("/items")
async def make(item: Item) -> Item:
    return item


@app.get("/page")
def page():
    return html("<p>ä</p>").with_field(b"set-cookie", b"a=1").with_field(b"set-cookie", b"b=2")


@app.get("/away")
def away():
    return redirect("/page")


@app.post("/form")
async def form(request: Request):
    pairs = await request.form()
    return {"a": pairs.get("a"), "cookie": request.cookies.get("k"), "client": request.client}


@app.post("/size")
async def size(request: Request):
    return {"size": len(await request.read_all(10_000_000))}


@app.get("/stream")
def pieces():
    async def parts():
        for n in range(3):
            yield b"%d;" % n
    return stream(parts(), "text/plain")


@app.get("/broken")
def broken():
    raise ValueError("inside")


@app.get("/boxes")
def boxes(most: Annotated[int, msgspec.Meta(ge=1, description="How many.")] = 10) -> list[Box]:
    "List boxes."
    return []


@app.use
async def stamp(request, inner):
    response = await inner(request)
    return response.with_field(b"x-stamp", b"s")


add_docs(app, title="Items", version="1")
"""


@pytest.fixture(scope="module")
def built():
    """Return the application, built."""
    return build(CODE, "python")


def outside(method, target, fields, body):
    """Return what the same application answers without a guest."""
    names = vars(sys.modules.setdefault("outside", ModuleType("outside")))
    exec(compile(CODE, "main.py", "exec"), names)  # our own text
    request = Request(
        method=method,
        target=target,
        services=FixtureServices(),
        fields=fields,
        body=body,
        scheme="https",
        client="192.0.2.1",
    )
    return asyncio.run(names["app"].handle(request))


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("GET", "/users/5?q=x", {}, b""),
        ("GET", "/users/x", {}, b""),
        ("GET", "/none", {}, b""),
        ("DELETE", "/users/5", {}, b""),
        ("OPTIONS", "/users/5", {}, b""),
        ("GET", "/page", {}, b""),
        ("GET", "/away", {}, b""),
        ("POST", "/items", {"content-type": "application/json"}, b'{"name": "a", "count": 3}'),
        ("POST", "/items", {"content-type": "application/json"}, b'{"count": 3}'),
        ("POST", "/items", {"content-type": "application/json"}, b"{"),
        ("POST", "/items", {"content-type": "text/plain"}, b"{}"),
        ("POST", "/form", {"content-type": "application/x-www-form-urlencoded", "cookie": "k=v"},
         b"a=1%202"),
        ("GET", "/broken", {}, b""),
        ("GET", "/openapi.json", {}, b""),
        ("GET", "/docs", {}, b""),
    ],
)  # fmt: skip
def test_it_answers_as_on_a_server(built, method, target, headers, body):
    """Status, fields and body are those of the same application outside."""
    asked = ask(built, target, method=method, headers=headers, body=body)
    lines = {"host": "app.example", **headers}
    fields = tuple((name.encode(), value.encode()) for name, value in lines.items())
    expected = outside(method, target, fields, body)
    assert asked.execution.failure is None, asked.printed
    assert asked.status == expected.status
    assert asked.reply.lines == [f for f in expected.fields if f[0] != b"content-length"]
    if b'"code":"WEB_BAD_REQUEST"' in expected.body:  # the words are the parser's own
        assert asked.json["code"] == "WEB_BAD_REQUEST"
    else:
        assert bytes(asked.reply.body) == expected.body


def test_streams_and_large_bodies(built):
    """Pieces go out one by one, and come in one by one."""
    reply = Slow()
    ask(built, "/stream", reply=reply)
    assert reply.pieces == [b"0;", b"1;", b"2;"]
    asked = ask(built, "/size", method="POST", body=Pieces(b"a" * 70_000, b"b"))
    assert asked.json == {"size": 70_001}


def test_failures_are_in_the_log(built):
    """The client gets nothing of the inside; the app's log does."""
    asked = ask(built, "/broken")
    ((level, message, fields),) = asked.log
    assert (level, message, fields["type"], fields["message"]) == (
        "error", "failure", "ValueError", "inside",
    )  # fmt: skip
    assert "inside" not in asked.text


def test_start_hooks_run_before_the_first_request():
    """They may ask for what the top level may not, in each instance."""
    code = """
from cloche.web.app import App
app = App()
@app.on_start
async def begin(state):
    state["n"] = state.get("n", 0) + 1
@app.get("/")
def count():
    return {"n": app.state["n"]}
"""
    built = build(code, "python")
    assert [ask(built).json for _ in range(2)] == [{"n": 1}, {"n": 1}]


SOCKETS = """
import asyncio
from cloche.web.app import App
from cloche.web.errors import BadRequestError
from cloche.web.websocket.channel import WebSocket

app = App()

@app.on_start
async def start(state):
    state["n"] = 1

@app.get("/")
def page():
    return "page"

@app.websocket("/rooms/:id", subprotocols=("chat",))
async def talk(socket: WebSocket, id: int, room: str = "none"):
    await socket.send_json({"id": id, "room": room, "n": app.state["n"]})
    async for message in socket:
        if message == "bad":
            raise BadRequestError(where="message", problem="it is bad")
        if message == "break":
            raise ValueError("broken")
        if message == "bye":
            await socket.close(4001, "tschüß")
            await socket.send("nobody hears it")
        await socket.send(message)

@app.websocket("/ticks")
async def ticks(socket: WebSocket):
    async def tick():
        for n in range(3):
            await socket.send(str(n))
            await asyncio.sleep(0.01)
    ticking = asyncio.create_task(tick())
    await socket.receive()
    await ticking
    await socket.send("end")
"""
HANDSHAKE = (
    (b"host", b"app.example"),
    (b"connection", b"upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-protocol", b"other, chat"),
)


def connect(target, *says, code=SOCKETS, log=None, client=None):
    """Open a WebSocket of an application and say something; return client and execution."""
    client = client or Client(*says)
    request = AppRequest(method="GET", target=target, lines=HANDSHAKE, host="app.example")
    return client, host().handle_socket(build(code, "python"), request, client, log=log)


def test_websockets():
    """Routes take them as on a server: arguments, subprotocol, texts and bytes; beside a page."""
    client, execution = connect("/rooms/7?room=a", "hi", b"\x00", None)
    assert execution.failure is None
    assert client.protocol == "chat"
    assert json.loads(client.got[0]) == {"id": 7, "room": "a", "n": 1}
    assert client.got[1:] == ["hi", b"\x00"]
    assert client.closed == (1000, "")
    assert ask(build(SOCKETS, "python")).text == "page"


@pytest.mark.parametrize(
    ("says", "closed"),
    [
        ("bye", (4001, "tschüß")),
        ("bad", (1008, "WEB_BAD_REQUEST")),
        ("break", (1011, "")),
    ],
)
def test_how_websockets_end(says, closed):
    """By the code that the handler says, or by what it raises; what broke stands in the log."""
    log = Log()
    client, execution = connect("/rooms/7", says, "more", log=log)
    assert execution.failure is None
    assert (client.closed, len(client.got)) == (closed, 1)
    assert ("broken" in str(log.lines)) is (says == "break")


def test_websockets_that_are_refused():
    """A path that takes none, and arguments that are none: nothing is accepted."""
    for target in ("/", "/nothing", "/rooms/x"):
        client, execution = connect(target)
        assert (client.protocol, execution.status) == ("not accepted", 403)


class Patient(Client):
    """Says something when it has heard three messages."""

    def receive(self, timeout_s):
        """Return a message, in time."""
        if len(self.got) < 3:
            self.heard.acquire(timeout=timeout_s)
            raise TimeoutError
        return "go on"


def test_talking_while_nothing_comes():
    """A handler sends while it waits for a message."""
    client, execution = connect("/ticks", client=Patient())
    assert execution.failure is None
    assert client.got == ["0", "1", "2", "end"]


def test_who_takes_websockets():
    """A function of the module goes first; without routes there is no handler."""
    assert "websocket" in build(SOCKETS, "python").handlers
    assert "websocket" not in build(CODE, "python").handlers
    own = SOCKETS + "\ndef websocket(socket):\n    socket.accept()\n    socket.send('own')\n"
    assert connect("/rooms/7", code=own)[0].got == ["own"]


def test_only_who_imports_it_has_it():
    """Apps without it have neither the folder nor the names; a handler beside it goes first."""
    plain = build("import os\ndef handle(r): return str(os.path.isdir('/web'))", "python")
    assert ask(plain).text == "False"
    code = "from cloche.web.app import App\napp = App()\ndef handle(r): return 'mine'"
    assert ask(build(code, "python")).text == "mine"
    assert not any("/adapters/" in path for path in web_files())
    assert f"{ROOT}/msgspec.py" in web_files()
    for text, wanted in (
        ("import cloche.web.app", True),
        ("  from cloche.web import app", True),
        ("# from cloche.web import app", False),
        ("from cloche.website import x", False),
    ):
        bundle, _ = parts(text, "python")
        assert wants_web(bundle) is wanted
