"""The server over real sockets: order, keep-alive, bodies, what ends a connection."""

from __future__ import annotations

import asyncio

import pytest
from tests.web.support import NOT_SENDABLE

from cloche.web.adapters.server import Server
from cloche.web.adapters.server_errors import ServerStateError
from cloche.web.app import App
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, Upgrade, stream

from .os_support import Raw, on_loops, serving, until


def plain_app():
    """Return an application with one page."""
    app = App()

    @app.get("/")
    def home() -> str:
        return "hello"

    @app.post("/")
    async def echo(request: Request) -> bytes:
        return await request.read_all()

    return app


@on_loops
async def test_a_connection_is_kept():
    """Several requests are answered on one connection, with a date, and counted."""
    async with serving(plain_app()) as running, await running.connect() as client:
        for _ in range(3):
            client.get()
            reply = await client.reply()
            assert (reply.status, reply.body) == (200, b"hello")
            assert reply.fields["date"][0].endswith(" GMT")
            assert "connection" not in reply.fields
        assert running.counts.connections == 1
        assert running.counts.requests == 3


@on_loops
async def test_close_ends_the_connection():
    """What asks for the end gets it behind its response, and nothing after it is read."""
    async with serving(plain_app()) as running, await running.connect() as client:
        client.get("/", "Connection: close")
        client.get()
        reply = await client.reply()
        assert reply.fields["connection"] == ["close"]
        assert await client.rest() == b""
        assert running.counts.requests == 1


@on_loops
async def test_the_number_of_requests_is_limited():
    """A connection ends behind its last allowed request, and says so."""
    limits = {"connection_request_count_max": 2}
    async with serving(plain_app(), **limits) as running, await running.connect() as client:
        client.get()
        client.get()
        assert "connection" not in (await client.reply()).fields
        assert (await client.reply()).fields["connection"] == ["close"]
        assert await client.rest() == b""


@on_loops
async def test_pipelined_requests_are_answered_in_order():
    """The second request waits for the first, however long that takes."""
    app, may_go, order = App(), asyncio.Event(), []

    @app.get("/:name")
    async def show(name: str) -> str:
        order.append(name)
        if name == "first":
            await may_go.wait()
        return name

    async with serving(app) as running, await running.connect() as client:
        client.get("/first")
        client.get("/second")
        client.get("/third")
        await until(lambda: order == ["first"])
        may_go.set()
        bodies = [(await client.reply()).body for _ in range(3)]
        assert bodies == [b"first", b"second", b"third"]
        assert order == ["first", "second", "third"]


@on_loops
async def test_thousands_of_pipelined_requests():
    """What one piece of input holds beyond the depth is answered too, without deep calls."""
    limits = {"connection_request_count_max": 5000}
    async with serving(plain_app(), **limits) as running, await running.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
        for _ in range(5000):
            assert (await client.reply()).status == 200


@on_loops
async def test_head_has_no_body():
    """HEAD gets the head of GET, and the next response follows at once."""
    async with serving(plain_app()) as running, await running.connect() as client:
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.get()
        head = await client.reply(body=False)
        assert head.fields["content-length"] == ["5"]
        assert (await client.reply()).body == b"hello"


@on_loops
async def test_bodies_arrive():
    """Bodies of a length and in chunks reach the handler, in one piece of input or in many."""
    async with serving(plain_app()) as running, await running.connect() as client:
        whole = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        chunked = (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        )
        for message in (whole, chunked):
            client.send(message)
            assert (await client.reply()).body == b"hello"
            for index in range(len(message)):
                client.send(message[index : index + 1])
                await asyncio.sleep(0)
            assert (await client.reply()).body == b"hello"


@on_loops
async def test_continue_is_sent_when_the_body_is_wanted():
    """100 goes out when the handler reads, and only then."""
    async with serving(plain_app()) as running, await running.connect() as client:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        client.send(head)
        assert (await client.reply()).status == 100
        client.send(b"ok")
        assert (await client.reply()).body == b"ok"
        client.send(head + b"ok")  # it did not wait, so nobody tells it to go on
        assert (await client.reply()).status == 200


@on_loops
async def test_a_body_that_is_not_wanted():
    """Where the handler does not read, no 100 is sent, and the connection ends."""
    app = App()

    @app.post("/")
    def refuse() -> Response:
        return Response(403)

    async with serving(app) as running, await running.connect() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        reply = await client.reply()
        assert (reply.status, reply.fields["connection"]) == (403, ["close"])
        assert await client.rest() == b""


@on_loops
async def test_a_body_that_nobody_read_is_passed_over():
    """What is left of a small body is dropped, and the next request is answered."""
    app = App()

    @app.post("/")
    def refuse() -> Response:
        return Response(403)

    async with serving(app) as running, await running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234")
        assert (await client.reply()).status == 403
        client.send(b"56789")
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert (await client.reply()).status == 403


@on_loops
async def test_a_large_body_that_nobody_read_ends_the_connection():
    """More than the limit of what is dropped is not read; the answer arrives all the same."""
    app = App()

    @app.post("/")
    def refuse() -> Response:
        return Response(403)

    limits = {"discard_limit_bytes": 1000}
    async with serving(app, **limits) as running, await running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        assert (await client.reply()).status == 403
        client.send(bytes(1001))
        assert await client.rest() == b""


@on_loops
async def test_a_refused_request():
    """Bytes that are no HTTP get one answer with a stable code; nothing behind them is read."""
    async with serving(plain_app()) as running, await running.connect() as client:
        client.get()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        client.get()
        assert (await client.reply()).status == 200
        reply = await client.reply()
        assert reply.status == 400
        assert b'"name":"SPEC_ERR_HTTP1_BAD_HOST"' in reply.body
        assert reply.fields["connection"] == ["close"]
        assert await client.rest() == b""
        assert running.counts.requests == 1
        assert running.counts.rejected == 1


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"GET / HTTP/1.1\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.0\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            (
                b"POST / HTTP/1.1\r\nHost: a\r\n"
                b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"
            ),
            400,
        ),
    ],
)
@on_loops
async def test_statuses_of_refusals(message, status):
    """Each kind of refusal has the status that its code says."""
    async with serving(plain_app()) as running, await running.connect() as client:
        client.send(message)
        assert (await client.reply()).status == status


@on_loops
async def test_a_body_that_breaks():
    """A handler that reads a broken body fails with the code of the fault, once."""
    async with serving(plain_app()) as running, await running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        reply = await client.reply()
        assert reply.status == 400
        assert b"SPEC_ERR_HTTP1_BAD_CHUNK" in reply.body
        assert await client.rest() == b""


@on_loops
async def test_a_body_over_the_limit():
    """Chunks that are more than the limit are 413, though the handler was at work."""
    limits = {"body_limit_bytes": 10}
    async with serving(plain_app(), **limits) as running, await running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"6\r\n123456\r\n6\r\n")
        assert (await client.reply()).status == 413
        assert await client.rest() == b""


@on_loops
async def test_half_closed_clients_are_answered():
    """A client that has said everything and closes its side still gets its answers."""
    async with serving(plain_app()) as running, await running.connect() as client:
        client.get()
        client.get()
        client.writer.write_eof()
        assert (await client.reply()).body == b"hello"
        assert (await client.reply()).body == b"hello"
        assert await client.rest() == b""


@on_loops
async def test_a_request_that_ends_early():
    """Input that ends inside of a head is answered with 400, inside of a body likewise."""
    for message in (
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    ):
        async with serving(plain_app()) as running, await running.connect() as client:
            client.send(message)
            client.writer.write_eof()
            assert (await client.reply()).status == 400
            assert await client.rest() == b""


@on_loops
async def test_responses_cannot_be_split():
    """A field that would end its line is 500, and no byte of it is written."""
    app = App()

    @app.get("/")
    def home(next: str) -> Response:  # noqa: A002 - the name of the parameter
        return Response(200, ((b"x-next", next.encode()),), b"ok")

    async with serving(app) as running, await running.connect() as client:
        client.get("/?next=a%0d%0aset-cookie:%20b=1")
        reply = await client.reply()
        assert reply.status == 500
        assert "set-cookie" not in reply.fields
        assert [record["event"] for record in running.records] == ["failure"]
        client.get("/?next=fine")
        assert (await client.reply()).fields["x-next"] == ["fine"]


@pytest.mark.parametrize(("response", "problem"), NOT_SENDABLE)
@on_loops
async def test_a_response_that_is_no_response(response, problem):
    """What cannot be written at all is 500, and in the log; the connection goes on."""
    app = App()
    app.get("/")(lambda: response)
    app.get("/good")(lambda: "good")

    async with serving(app) as running, await running.connect() as client:
        client.get()
        assert (await client.reply()).status == 500
        client.get("/good")
        assert (await client.reply()).body == b"good"
        (record,) = running.records
        assert problem in record["message"]


@on_loops
async def test_the_log_names_the_handler_of_a_wrong_status():
    """The client learns nothing but 500; the log has the value and the line of the handler."""
    app = App()

    @app.get("/")
    def home() -> Response:
        return Response("200")

    async with serving(app) as running, await running.connect() as client:
        client.get()
        assert (await client.reply()).status == 500
        (record,) = running.records
        assert record["message"] == (
            "no response can be made: the status is '200', not a number from 100 to 599"
        )
        assert any(line.endswith(".home") for line in record["where"])


@on_loops
async def test_a_stream_of_what_is_no_bytes():
    """Its beginning is out already: the connection ends in the middle, and the log says why."""
    app = App()
    app.get("/")(lambda: stream(["text"]))
    async with serving(app) as running, await running.connect() as client:
        client.get()
        assert (await client.rest()).endswith(b"\r\n\r\n")
        assert [record["event"] for record in running.records] == ["failure"]


@on_loops
async def test_a_websocket_for_nobody():
    """A handler that answers a plain request with a WebSocket has failed."""
    app = App()

    async def run(channel):
        raise AssertionError

    @app.get("/")
    def home() -> Response:
        return Response(101, (), Upgrade(run))

    async with serving(app) as running, await running.connect() as client:
        client.get()
        assert (await client.reply()).status == 500


@on_loops
async def test_stopping_lets_requests_end():
    """A stop closes what is idle, lets what runs end, and says that nothing was broken off."""
    app, began, may_go = App(), asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def home() -> str:
        began.set()
        await may_go.wait()
        return "done"

    stopped = []
    app.on_stop(_append(stopped))
    async with serving(app, stopped=False) as running:
        idle, busy = await running.connect(), await running.connect()
        await until(lambda: running.counts.connections == 2)
        busy.get()
        await began.wait()
        stopping = asyncio.ensure_future(running.server.stop())
        assert await idle.rest() == b""
        assert not stopped
        with pytest.raises(ServerStateError):
            assert running.server.address
        may_go.set()
        reply = await busy.reply()
        assert (reply.body, reply.fields["connection"]) == (b"done", ["close"])
        await idle.close()
        await busy.close()
        assert await stopping
        assert stopped == [True]


@on_loops
async def test_stopping_does_not_wait_for_ever():
    """What does not end in time is cut, its handler cancelled, and that is said."""
    app, began = App(), asyncio.Event()

    @app.get("/")
    async def home() -> None:
        began.set()
        await asyncio.Event().wait()

    async with serving(app, stopped=False) as running:
        client = await running.connect()
        client.get()
        await began.wait()
        assert not await running.server.stop(timeout_ms=1)
        assert await client.rest() == b""
        await client.close()


@on_loops
async def test_an_application_that_does_not_start():
    """What a start hook raises is raised, and nothing is left open."""
    app = App()

    @app.on_start
    async def start(state):
        raise ValueError("no database")

    server = Server(app, "127.0.0.1:0")
    with pytest.raises(ValueError, match="no database"):
        await server.start()
    assert server.addresses == []
    with pytest.raises(ServerStateError, match="was started before"):
        await server.start()


@on_loops
async def test_http_1_0():
    """Where it is allowed, a request of HTTP/1.0 is answered and its connection ends."""
    from cloche.web.adapters.server import ServerSettings

    app = plain_app()

    @app.get("/stream")
    def show() -> Response:
        return stream([b"one", b"two"])

    settings = ServerSettings(http_1_0=True)
    async with serving(app, settings=settings) as running:
        for target, body in (("/", b"hello"), ("/stream", b"onetwo")):
            client = await Raw.connect(running.server.address)
            client.send(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            assert (await client.reply()).body == body
            assert await client.rest() == b""
            await client.close()


def _append(found):
    async def hook(state):
        found.append(True)

    return hook
