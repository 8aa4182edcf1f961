"""Recording traffic and asking again: the same world gives the same bytes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.adapters.asgi import AsgiApp
from cloche.web.adapters.asyncio_services import AsyncioServices
from cloche.web.adapters.fixture import FixtureServices
from cloche.web.adapters.replay import replay
from cloche.web.adapters.traffic_file import TrafficFileError
from cloche.web.app import App
from cloche.web.encodings.cassette import WebCassette
from cloche.web.encodings.errors import DecodeError, EncodeError
from cloche.web.encodings.traffic import (
    HEADER,
    Exchange,
    Told,
    decode_traffic,
    encode_exchange,
    encode_traffic,
)
from cloche.web.middleware.basics import access_log, request_id, timeout
from cloche.web.middleware.security import security_headers
from cloche.web.middleware.sessions import sessions
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import stream
from cloche.web.signing import KeyRing
from cloche.web.traffic import DivergedError, Recorder, RecordingServices, RepeatingServices
from cloche.web.websocket.channel import WebSocket  # noqa: TC001 - likewise

from .clients import AsgiClient
from .encodings.formats import REQUESTS, RESPONSES

PAGE = Path(__file__).parents[2] / "docs/architecture/encodings/web-traffic-v1.md"
TOLD = st.one_of(
    st.builds(Told, kind=st.sampled_from([1, 2]), value=st.integers(0, (1 << 64) - 1)),
    st.builds(Told, kind=st.just(3), value=st.binary(max_size=20)),
)
EXCHANGES = st.builds(
    Exchange,
    pair=st.builds(WebCassette, request=REQUESTS, response=RESPONSES),
    is_secure=st.booleans(),
    client=st.text(st.characters(codec="ascii"), max_size=10),
    told=st.lists(TOLD, max_size=3).map(tuple),
)


@settings(deadline=None)
@given(st.lists(EXCHANGES, max_size=3).map(tuple))
def test_entries_survive(values):
    """What was encoded is decoded, and a file is its header and its entries."""
    data = encode_traffic(values)
    assert decode_traffic(data) == values
    assert data == HEADER + b"".join(map(encode_exchange, values))


@settings(deadline=None)
@given(EXCHANGES, st.data())
def test_bytes_are_refused_or_canonical(value, data):
    """Any change is a typed error, or another file in its only form."""
    blob = bytearray(encode_traffic([value, value]))
    at = data.draw(st.integers(0, len(blob)))
    blob[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        found = decode_traffic(bytes(blob))
    except DecodeError:
        return
    assert encode_traffic(found) == blob


@settings(deadline=None)
@given(EXCHANGES)
def test_a_file_that_was_cut(value):
    """Only the border of an entry is an end."""
    data = encode_traffic([value])
    for end in range(len(data)):
        if end == len(HEADER):
            assert decode_traffic(data[:end]) == ()
        else:
            with pytest.raises(DecodeError):
                decode_traffic(data[:end])


def test_the_vector_of_the_page():
    """The page shows a file, and what is in it."""
    shown = PAGE.read_text(encoding="utf-8").partition("```hex\n")[2].partition("\n```")[0]
    (entry,) = decode_traffic(bytes.fromhex(shown))
    assert entry.pair.request.target == b"/hello"
    assert (entry.is_secure, entry.client) == (True, "192.0.2.1")
    assert entry.told == (Told(kind=2, value=5), Told(kind=3, value=b"ab"))
    assert encode_traffic([entry]).hex() == "".join(shown.split())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Told(kind=4, value=1),
        lambda: Told(kind=3, value=1),
        lambda: Told(kind=1, value=b""),
        lambda: Told(kind=1, value=1 << 64),
        lambda: Told(kind=2, value=-1),
    ],
)
def test_answers_that_are_none(wrong):
    """They cannot exist."""
    with pytest.raises(EncodeError):
        wrong()


def build(greeting="hello"):
    """Return an application that uses all of the world that it is given."""
    app = App()
    for each in (request_id(), access_log(), timeout(1000), security_headers()):
        app.use(each)
    app.use(sessions(KeyRing((b"k" * 32,))))

    @app.get("/hello")
    def hello(request: Request):
        session = request.context["session"]
        session["count"] = session.get("count", 0) + 1
        return {"greeting": greeting, "now": request.services.now_ns(), "seen": session["count"]}

    @app.post("/up")
    async def up(request: Request):
        return len(await request.read_all())

    @app.get("/stream")
    def pieces(request: Request):
        async def made():
            for _ in range(3):
                await asyncio.sleep(0)
                yield request.services.random_bytes(4)

        return stream(made())

    @app.websocket("/socket")
    async def socket(socket: WebSocket):
        return None

    return app


REQUESTS_MADE = [
    ("GET", "/hello"),
    ("HEAD", "/hello"),
    ("POST", "/up", ((b"cookie", b"a=b"),), b"x" * 5000),
    ("GET", "/none?q=1"),
    ("GET", "/secret", ((b"authorization", b"Bearer secret"),)),
]


def recorded(app, requests, **options):
    """Return what a client got, the recorder, and the bytes of a file."""
    entries = []
    recorder = Recorder(entries.append, **options)
    app.wrap(recorder.middleware())

    async def run():
        client = AsgiClient(AsgiApp(app, services=AsyncioServices()))
        return [await client.request(*request) for request in requests]

    answers = asyncio.run(run())
    return answers, recorder, HEADER + b"".join(entries)


def test_real_traffic_again():
    """Real clocks and randomness were recorded, so the same application gives the same bytes."""
    answers, recorder, data = recorded(build(), REQUESTS_MADE)
    assert (recorder.recorded_count, recorder.skipped_count) == (5, 0)
    exchanges = decode_traffic(data)
    assert [exchange.pair.response.status for exchange in exchanges] == [
        answer.status for answer in answers
    ]
    assert exchanges[0].pair.response.body == answers[0].body
    found = list(replay(build(), exchanges))
    assert [each.problem for each in found] == [""] * 5
    assert [(each.method, each.target, each.status) for each in found[:2]] == [
        ("GET", "/hello", 200),
        ("HEAD", "/hello", 200),
    ]


def test_another_application():
    """What differs is said: the body, the fields, the status, or the question to the world."""
    data = recorded(build(), REQUESTS_MADE)[2]
    exchanges = decode_traffic(data)
    found = list(replay(build("good morning"), exchanges[:1]))
    assert found[0].problem.startswith("another body: ")
    assert not found[0].is_same
    bare = App()
    bare.get("/hello")(lambda: "hello")
    assert (
        "other fields: cache-control, content-security-policy"
        in next(replay(bare, exchanges)).problem
    )
    other = App()
    other.get("/hello")(lambda request: request.services.random_bytes(3).hex())
    problem = next(replay(other, exchanges)).problem
    assert problem.startswith("status 500, recorded was 200 (the code asks for 3 random bytes")


def test_streams_are_recorded_at_their_end():
    """The client gets them piece by piece; the entry has the whole."""
    answers, recorder, data = recorded(build(), [("GET", "/stream")])
    (entry,) = decode_traffic(data)
    assert entry.pair.response.body == answers[0].body
    assert len(answers[0].body) == 12
    assert recorder.recorded_count == 1


def test_what_cannot_be_recorded():
    """It is answered as ever, and counted."""
    _, recorder, data = recorded(
        build(), [("PURGE", "/hello"), ("GET", "/stream")], body_limit_bytes=11
    )
    assert (recorder.recorded_count, recorder.skipped_count, data) == (0, 2, HEADER)


def test_a_full_disk(tmp_path):
    """It is logged and counted, and clients get their answers."""
    app, records = build(), []

    def full(entry):
        raise TrafficFileError(path="traffic.x7wt", problem="No space left on device")

    recorder = Recorder(full)
    app.wrap(recorder.middleware())

    async def run():
        client = AsgiClient(AsgiApp(app, services=AsyncioServices(records.append)))
        return await client.request("GET", "/hello")

    assert asyncio.run(run()).status == 200
    assert (recorder.recorded_count, recorder.skipped_count) == (0, 1)
    assert [record["message"] for record in records if record["event"] == "record_failed"] == [
        "traffic.x7wt: No space left on device"
    ]


def test_redacted_fields():
    """Their values are in no entry, of requests and of responses."""
    secret = ("GET", "/hello", ((b"authorization", b"Bearer secret"),))
    data = recorded(build(), [secret], redact=frozenset({"Authorization", "set-cookie"}))[2]
    (entry,) = decode_traffic(data)
    assert b"Bearer" not in data
    assert entry.pair.response.headers.get(b"set-cookie") == b"redacted"


def test_an_application_that_waits():
    """It is told apart from one that answers differently."""
    app = App()

    @app.get("/hello")
    async def hello():
        await asyncio.sleep(0)
        return "hello"

    exchanges = decode_traffic(recorded(build(), [("GET", "/hello")])[2])
    assert "waits for something outside" in next(replay(app, exchanges)).problem


def test_hooks():
    """They run around a replay."""
    app, seen = build(), []

    @app.on_start
    async def begin(state):
        seen.append("start")

    @app.on_stop
    async def end(state):
        seen.append("stop")

    assert list(replay(app, [])) == []
    assert seen == ["start", "stop"]
    assert json.dumps(seen)


def test_services_that_repeat():
    """Deadlines and heartbeats pass through; records are kept."""

    async def run():
        for services in (
            RepeatingServices((Told(kind=1, value=7),)),
            RecordingServices(FixtureServices()),
        ):
            assert await services.within(asyncio.sleep(0, "done"), 60_000) == "done"
            pieces = object()
            assert services.heartbeat(pieces, 1, b"") is pieces
            services.log({"event": "a"})
        repeating = RepeatingServices((Told(kind=1, value=7),))
        assert repeating.now_ns() == 7
        with pytest.raises(DivergedError, match="a time as its question 1"):
            repeating.monotonic_ns()

    asyncio.run(run())


def test_uploads_and_websockets_are_answered():
    """A handshake is answered and not recorded; a failure is recorded as the client saw it."""
    app = build()

    async def broken(request, following):
        raise ZeroDivisionError

    app.use(broken)
    answers, recorder, data = recorded(app, [("GET", "/hello")])
    assert answers[0].status == 500
    (entry,) = decode_traffic(data)
    assert (entry.pair.response.status, recorder.recorded_count) == (500, 1)

    async def run():
        other = build()
        entries = []
        other.wrap(Recorder(entries.append).middleware())
        said = await AsgiClient(AsgiApp(other)).converse("/socket", [])
        return said.close_code, entries

    assert asyncio.run(run()) == (1000, [])
