"""Server-sent events: the past, heartbeats, many clients."""

from __future__ import annotations

import asyncio
import json
import os
import threading

import pytest

from cloche.web.adapters.asyncio_services import AsyncioServices, JsonLines
from cloche.web.adapters.broadcast import Broadcast
from cloche.web.app import App
from cloche.web.errors import SettingError, UnavailableError
from cloche.web.request import Request
from cloche.web.response import event
from cloche.web.sse import HEARTBEAT, EventLog, last_event_id, stream_events

from .support import ask, body_of


def filled(count, **settings):
    """Return a log with events of their number."""
    log = EventLog(**settings)
    for number in range(1, count + 1):
        log.add(f"e{number}")
    return log


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (None, []),
        (5, []),
        (4, ["e5"]),
        (2, ["e3", "e4", "e5"]),
        (1, ["reset", "e3", "e4", "e5"]),
        (0, ["reset", "e3", "e4", "e5"]),
        (6, ["reset", "e3", "e4", "e5"]),
    ],
)
def test_what_was_missed(identity, expected):
    """What is still kept, or everything behind a reset where something is lost."""
    found = filled(5, event_count_max=3).after(identity)
    words = ["reset" if b"event: reset" in each else f"e{each[4:5].decode()}" for each in found]
    assert words == expected


def test_events_have_their_ids():
    """The id is what a client says when it comes back."""
    log = EventLog()
    assert log.last == 0
    assert log.add("a", name="n") == b"event: n\nid: 1\ndata: a\n\n"
    assert log.last == 1
    with pytest.raises(SettingError):
        EventLog(event_count_max=0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([b"7"], 7), ([], None), ([b"x"], None), ([b"-1"], None), ([b"1", b"2"], None)],
)
def test_the_last_id_of_a_client(values, expected):
    """One number, or nothing."""
    app = App()
    app.get("/")(lambda request: [last_event_id(request)])
    response = ask(app, fields=[(b"last-event-id", value) for value in values])
    assert json.loads(response.body) == [expected]


def test_a_stream():
    """It begins with the time to come back; a fixture has no heartbeats, as no time passes."""
    app = App()
    app.get("/")(lambda request: stream_events(request, filled(2).after(1), retry_ms=500))
    response = ask(app)
    assert response.get(b"content-type") == b"text/event-stream"
    assert body_of(response) == b"retry: 500\n\nid: 2\ndata: e2\n\n"
    app = App()
    app.get("/")(lambda request: stream_events(request, [], heartbeat_ms=0))
    assert ask(app).status == 500


async def behind_heartbeats(pieces):
    """Return the next piece that is an event."""
    while (found := await anext(pieces)) == HEARTBEAT:
        pass
    return found


def test_heartbeats():
    """They come while nothing else does, and no event is lost to them."""

    async def run():
        go = asyncio.Event()
        closed = []

        async def slow():
            try:
                yield event("a")
                await go.wait()
                yield event("b")
                await asyncio.Event().wait()
            finally:
                closed.append(True)

        request = Request(method="GET", target="/", services=AsyncioServices())
        pieces = aiter(stream_events(request, slow(), heartbeat_ms=1).body)
        assert await behind_heartbeats(pieces) == b"data: a\n\n"
        assert await anext(pieces) == HEARTBEAT
        assert await anext(pieces) == HEARTBEAT
        go.set()
        assert await behind_heartbeats(pieces) == b"data: b\n\n"
        await pieces.aclose()
        return closed

    assert asyncio.run(run()) == [True]


def test_a_heartbeat_ends_with_its_stream():
    """And what the stream raises is raised."""

    async def run():
        async def failing():
            yield b"a"
            raise ZeroDivisionError

        pieces = aiter(AsyncioServices().heartbeat(failing(), 10_000, b"beat"))
        seen = [await anext(pieces)]
        with pytest.raises(ZeroDivisionError):
            await anext(pieces)
        return seen

    assert asyncio.run(run()) == [b"a"]


def test_many_clients():
    """Each gets its past and every event; who leaves is forgotten."""

    async def run():
        broadcast = Broadcast(event_count_max=10)
        broadcast.publish("old")
        new, back = broadcast.listen(), broadcast.listen(0)
        broadcast.publish("now")
        assert await anext(new) == b"id: 2\ndata: now\n\n"
        assert [await anext(back), await anext(back)] == [
            b"id: 1\ndata: old\n\n",
            b"id: 2\ndata: now\n\n",
        ]
        await back.aclose()
        assert broadcast.client_count == 1
        broadcast.close()
        assert [piece async for piece in new] == []

    asyncio.run(run())


def test_a_slow_client():
    """It is dropped at once, the others are not, and it can resume without a gap."""

    async def run():
        broadcast = Broadcast(queue_count_max=2)
        slow = broadcast.listen()
        for number in range(4):
            broadcast.publish(str(number))
        assert [piece async for piece in slow] == []
        again = broadcast.listen(0)
        assert [await anext(again) for _ in range(4)] == [
            event(str(number), identity=str(number + 1)) for number in range(4)
        ]

    asyncio.run(run())


def test_too_many_clients():
    """One more is 503, with the time to come back."""

    async def run():
        broadcast = Broadcast(client_count_max=1)
        broadcast.listen()
        with pytest.raises(UnavailableError):
            broadcast.listen()

    asyncio.run(run())
    with pytest.raises(SettingError):
        Broadcast(queue_count_max=0)


def test_json_lines():
    """Each record is one object on one line with the time; values without JSON are shown."""
    reader, writer = os.pipe()
    with open(writer, "wb") as stream, open(reader, "rb") as written:  # noqa: PTH123
        log = JsonLines(stream)
        services = AsyncioServices(log)
        services.log({"event": "a\nb", "value": 1})
        services.log({"event": object})
        services.log({"event": float("nan"), "self": [1, 2]})
        log.close()
        log({"event": "late"})
        stream.close()
        lines = [json.loads(line) for line in written.read().splitlines()]
    assert [line["event"] for line in lines] == ["a\nb", "<class 'object'>", None]
    assert all(line["time_ns"] > 1_700_000_000 * 10**9 for line in lines)


def test_a_log_that_is_too_slow():
    """Records are dropped and counted, and who logs never waits."""
    entered, release, lines = threading.Event(), threading.Event(), []

    class Slow:
        def write(self, data):
            entered.set()
            release.wait(60)
            lines.extend(data.splitlines())

        def flush(self):
            pass

    log = JsonLines(Slow(), record_count_max=2)
    log({"event": "first"})
    assert entered.wait(60)
    for number in range(5):
        log({"event": number})
    release.set()
    log.close()
    events = [json.loads(line) for line in lines]
    assert [line["event"] for line in events] == ["first", 0, 1, "records_dropped"]
    assert events[-1]["count"] == 3


def test_a_log_that_is_full():
    """A stream that cannot be written to ends nothing."""

    class Full:
        def write(self, data):
            raise OSError(28, "full")

    log = JsonLines(Full())
    log({"event": "a"})
    log.close()


def test_services_of_a_loop():
    """Clocks go on, randomness is new, and what is late is cancelled."""

    async def run():
        services = AsyncioServices()
        assert services.monotonic_ns() <= services.monotonic_ns()
        assert services.now_ns() > 1_700_000_000 * 10**9
        assert services.random_bytes(16) != services.random_bytes(16)
        with pytest.raises(TimeoutError):
            await services.within(asyncio.Event().wait(), 1)
        assert await services.within(asyncio.sleep(0, "done"), 60_000) == "done"
        services.log({})

    asyncio.run(run())
