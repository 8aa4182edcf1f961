"""Attack: a client of an attached session sends what it likes, and names what is not its own."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from abuse.app_support import WAIT_S, until_flooded
from cloche.limits import Limits

MOST = Limits().server.attach_run_count_max


@pytest.fixture(scope="module")
def api(served):
    """A client of the routes."""
    headers = {"authorization": f"Bearer {served.key}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=WAIT_S) as found:
        yield found


@pytest.fixture(scope="module")
def session(api):
    """The id of a session."""
    return api.post("/v1/sessions", json={"language": "python"}).json()["id"]


def attached(served, session_id, talk, key=None, **options):
    """Return what a coroutine function returns that is given an open connection."""
    url = f"{served.url.replace('http', 'ws', 1)}/v1/sessions/{session_id}/attach"
    if "subprotocols" not in options:
        options["additional_headers"] = {"authorization": f"Bearer {key or served.key}"}

    async def main():
        async with connect(url, max_size=None, open_timeout=WAIT_S, **options) as socket:
            first = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
            return await talk(socket, first)

    return asyncio.run(main())


WRONG = [
    "", "{", "[]", "null", '"run"', "{}", '{"op": "run"}', '{"op": "eval", "id": "1"}',
    '{"op": "run", "id": ""}', '{"op": "run", "id": 1}', '{"op": "run", "id": "1", "tenant": "x"}',
    '{"op": "run", "id": "' + "x" * 200 + '", "code": "1"}',
    '{"op": "run", "id": "1", "code": "1", "env": {"A": 1}}',
    '{"op": "run", "id": "1", "code": "1", "entrypoint": "/x"}',
    '{"op": "follow", "id": "1"}', '{"op": "follow", "id": "1", "run": "../x", "after": "x"}',
    '{"op": "cancel", "id": "none"}', "[" * 50_000, '{"op":' * 20_000,
    '{"op": "follow", "id": "1", "run": "\\u0000"}', b"\x00\xff", b"{}",
]  # fmt: skip


def test_wrong_messages(served, session):
    """Each is answered with an error, and the next right one is done."""

    async def talk(socket, _first):
        for text in WRONG:
            await socket.send(text)
            told = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
            assert told["type"] == "error", (text[:80], told)
            assert "/tmp" not in str(told)
            assert "Traceback" not in str(told)
        await socket.send(json.dumps({"op": "run", "id": "1", "code": "print(6 * 7)"}))
        kinds = []
        while "ended" not in kinds:
            kinds.append(json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))["type"])
        return kinds

    assert attached(served, session, talk) == ["started", "stdout", "ended"]


@pytest.mark.parametrize("timeout_ms", [-1, 0, 10**12])
def test_no_time_of_its_own(served, session, timeout_ms):
    """A run that asks for a time that none may have ends with that, and executes nothing."""

    async def talk(socket, _first):
        body = {"op": "run", "id": "1", "code": "print('ran')", "timeout_ms": timeout_ms}
        await socket.send(json.dumps(body))
        kinds = []
        while not {"error", "ended"} & {*kinds}:
            kinds.append(json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))["type"])
        return kinds

    told = attached(served, session, talk)
    assert told[-1] == "error"
    assert "stdout" not in told


def test_runs_of_others(served, api, session):
    """A run of another session, or of another tenant, is followed by nobody else."""
    mine = api.post("/v1/run", json={"language": "python", "code": "print('mine')"}).json()["id"]
    made = api.post("/v1/keys", json={"scopes": ["session", "run"], "tenant": "acme"}).json()
    bearer = {"authorization": f"Bearer {made['key']}"}
    body = {"language": "python"}
    theirs = httpx.post(
        f"{served.url}/v1/sessions", headers=bearer, json=body, timeout=WAIT_S
    ).json()

    async def talk(socket, first):
        if first["type"] == "error":
            return first["error"]["code"]
        await socket.send(json.dumps({"op": "follow", "id": "1", "run": mine}))
        return json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))["error"]["code"]

    assert attached(served, theirs["id"], talk, made["key"]) == "SERVER_NOT_FOUND"
    assert attached(served, session, talk, made["key"]) == "SERVER_NOT_FOUND"
    assert attached(served, session, talk) != "SERVER_NOT_FOUND"  # its own, of no session


def test_a_flood(served, api, session):
    """A client that asks for a thousand runs gets a few; the others are refused, and all end."""

    async def talk(socket, _first):
        for number in range(1000):
            code = "1" if number else "while True: pass"  # behind which the others have to wait
            await socket.send(json.dumps({"op": "run", "id": str(number), "code": code}))
        told = {"error": 0, "ended": 0, "started": 0}
        while told["error"] + told["ended"] < 1000:
            kind = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))["type"]
            told[kind] += 1
            if (kind, told["error"]) == ("error", 1000 - MOST):
                await socket.send(json.dumps({"op": "cancel", "id": "0"}))
        return told

    told = attached(served, session, talk)
    assert told == {"error": 1000 - MOST, "ended": MOST, "started": MOST}
    assert api.get("/healthz").status_code == 200


def test_who_never_reads(served, api, session):
    """A client that takes nothing holds up neither its session nor the server."""

    async def talk(socket, _first):
        socket.transport.pause_reading()
        code = "for n in range(200_000): print('x' * 10)"
        await socket.send(json.dumps({"op": "run", "id": "1", "code": code}))
        await until_flooded(socket)

    with contextlib.suppress(ConnectionClosed, TimeoutError):
        attached(served, session, talk, close_timeout=1)
    done = api.post(f"/v1/sessions/{session}/run", json={"code": "print('next')"})
    assert done.json()["stdout"] == "next\n"


def test_keys_in_no_log(served, session):
    """A key that a page offers as a subprotocol is not answered, and is in no log."""
    protocols = ["cloche.v1", served.key]

    async def talk(socket, _first):
        return socket.subprotocol

    assert attached(served, session, talk, subprotocols=protocols) == "cloche.v1"
    for wrong in ([served.key, served.key], ["cloche.v1", "clk_wrong"], ["cloche.v1"]):
        with pytest.raises(InvalidStatus) as caught:
            attached(served, session, talk, subprotocols=wrong)
        assert served.key not in str(caught.value.response.headers)
    secret = served.key.rpartition("_")[2]
    assert secret not in (served.folder / "stderr.txt").read_text()
