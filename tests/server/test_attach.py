"""A session by WebSocket, on the real server: programs go in, what they print comes out."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .faults import WAIT_S
from .process import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def session(server):
    """A session of Python."""
    with server.client() as client:
        yield client.Session.create("python")


class Attached:
    """A client that is attached."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, **message):
        """Send a message."""
        await self.socket.send(json.dumps(message))

    async def next(self):
        """Return the next message."""
        return json.loads(await asyncio.wait_for(self.socket.recv(), WAIT_S))

    async def until(self, kind):
        """Return the messages up to the first of a kind, which comes last."""
        found = []
        while not found or found[-1]["type"] != kind:
            found.append(await self.next())
        return found


def attached(server, session_id, talk, *, key=None, subprotocols=None, headers=None):
    """Return what a coroutine function returns that is given a client."""
    if headers is None:
        headers = {"authorization": f"Bearer {key or server.key}"}
    url = f"{server.url.replace('http', 'ws', 1)}/v1/sessions/{session_id}/attach"

    async def main():
        async with connect(
            url,
            additional_headers=headers,
            subprotocols=subprotocols,
            max_size=None,
            open_timeout=WAIT_S,
        ) as socket:
            return await talk(Attached(socket))

    return asyncio.run(main())


def test_runs(server, session):
    """Each program's output comes in order with its id, and its state stays for the next."""

    async def talk(client):
        ready = await client.next()
        await client.send(op="run", id="a", code="x = 40\nprint('one')")
        first = await client.until("ended")
        await client.send(op="run", id="b", code="import sys; sys.stderr.write('two'); print(x+2)")
        return ready, first, await client.until("ended")

    ready, first, second = attached(server, session.id, talk)
    assert (ready["type"], ready["session_id"]) == ("ready", session.id)
    assert [each["type"] for each in first] == ["started", "stdout", "ended"]
    assert {each["id"] for each in first} == {"a"}
    assert first[1]["text"] == "one\n"
    assert first[2]["run"]["status"] == "completed"
    texts = {each["type"]: each["text"] for each in second[1:-1]}
    assert texts == {"stderr": "two", "stdout": "42\n"}


def test_a_failure_is_a_result(server, session):
    """A program that fails ends like any other, with its error."""

    async def talk(client):
        await client.next()
        await client.send(op="run", id="a", code="1/0")
        return (await client.until("ended"))[-1]["run"]

    run = attached(server, session.id, talk)
    assert (run["status"], run["error"]["code"]) == ("failed", "RUNTIME_FAILED")


def test_cancelling(server, session):
    """A run ends when it is told to, and says so."""

    async def talk(client):
        await client.next()
        await client.send(op="run", id="a", code="print('on', flush=True)\nwhile True: pass")
        await client.until("stdout")
        await client.send(op="cancel", id="a")
        return (await client.until("ended"))[-1]["run"]

    assert attached(server, session.id, talk)["status"] == "cancelled"


def test_following(server, session):
    """What another client started is followed from where one likes; a run outlives its client."""

    async def begin(client):
        await client.next()
        await client.send(op="run", id="a", code="import time\nprint('x' * 5)")
        return (await client.until("started"))[-1]["run_id"]

    run_id = attached(server, session.id, begin)

    async def follow(client):
        await client.next()
        await client.send(op="follow", id="b", run=run_id, after="2-0")
        return await client.until("ended")

    messages = attached(server, session.id, follow)
    assert "".join(each["text"] for each in messages if each["type"] == "stdout") == "xxx\n"
    assert messages[-1]["run"]["status"] == "completed"


def test_wrong_messages(server, session):
    """Each is answered with what is wrong, and the next one is taken as if nothing had been."""
    wrong = [
        ("no json", "message"),
        ("{}", "message"),
        ('{"op": "run", "id": "a"}', None),
        ('{"op": "jump", "id": "a"}', "message"),
        ('{"op": "run", "id": "", "code": "1"}', "id"),
        ('{"op": "run", "id": "a", "code": "1", "color": 1}', "message"),
        ('{"op": "cancel", "id": "a"}', "id"),
        ('{"op": "follow", "id": "a", "run": "nothing"}', None),
        ('{"op": "run", "id": "a", "code": "1", "after": "soon"}', "Last-Event-ID"),
        (b"\x00", None),
    ]

    async def talk(client):
        await client.next()
        answers = []
        for text, _ in wrong:
            await client.socket.send(text)
            answers.append(await client.next())
        await client.send(op="run", id="a", code="print(1)")
        return answers, await client.until("ended")

    answers, after = attached(server, session.id, talk)
    assert {each["type"] for each in answers} == {"error"}
    assert [each["id"] for each in answers] == ["", "", "a", "a", "", *["a"] * 4, ""]
    for (text, field), answer in zip(wrong, answers, strict=True):
        if field is not None:
            assert answer["error"]["fields"]["field"] == field, text
    assert after[-1]["run"]["status"] == "completed"


def test_too_many_runs(server, session):
    """A client has so many runs at once and no more; an id is taken until its run has ended."""

    async def talk(client):
        await client.next()
        await client.send(op="run", id="0", code="while True: pass")
        await client.until("started")
        await client.send(op="run", id="0", code="1")
        again = (await client.until("error"))[-1]
        for number in range(1, 9):
            await client.send(op="run", id=str(number), code="1")
        full = (await client.until("error"))[-1]
        for number in range(9):
            await client.send(op="cancel", id=str(number))
        return again, full

    again, full = attached(server, session.id, talk)
    assert again["error"]["fields"]["field"] == "id"
    assert (full["id"], full["error"]["code"]) == ("8", "SERVER_QUOTA")


def test_a_key_as_subprotocol(server, session):
    """Pages offer their key as a subprotocol; what is agreed on is the protocol, not the key."""

    async def talk(client):
        return client.socket.subprotocol, (await client.next())["type"]

    offered = ["cloche.v1", server.key]
    found = attached(server, session.id, talk, headers={}, subprotocols=offered)
    assert found == ("cloche.v1", "ready")


def test_two_keys_as_subprotocols(server, session):
    """Which of two keys is meant is not guessed."""

    async def talk(client):
        return client.socket.subprotocol

    with server.client() as client:
        second = client.create_key(["session"]).key
    with pytest.raises(InvalidStatus) as caught:
        attached(
            server,
            session.id,
            talk,
            headers={},
            subprotocols=["cloche.v1", server.key, second],
        )
    assert caught.value.response.status_code == 401


def test_who_may_not(server, session):
    """No key, a wrong one and one without the scope open nothing; another tenant finds nothing."""
    with server.client() as client:
        runner = client.create_key(["run"]).key
        other = client.create_key(["session"], tenant="other").key

    async def talk(client):
        first = await client.next()
        with pytest.raises(ConnectionClosed):
            await client.next()
        return first

    for headers, status in (
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Bearer {runner}"}, 403),
    ):
        with pytest.raises(InvalidStatus) as caught:
            attached(server, session.id, talk, headers=headers)
        assert caught.value.response.status_code == status
    assert attached(server, session.id, talk, key=other)["error"]["code"] == "SERVER_NOT_FOUND"
