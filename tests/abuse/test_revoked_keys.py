"""Attack: a key that was revoked goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading

import httpx
import pytest
from tests.cli.support import START, environment
from tests.server.support import Asker
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from abuse.app_support import WAIT_S
from cloche.server.keyring import REMEMBERED_NS, Keyring


def test_remembered_from_when_it_was_read():
    """However long a look takes, its time counts: another process may have revoked meanwhile."""
    asker = Asker()
    ring, host = asker.server.keyring, asker.host
    _, text = ring.make(tenant="acme", scopes=("run",))
    read = ring._documents.get

    def get(kind, name):
        found = read(kind, name)
        host.time_ns += REMEMBERED_NS
        return found

    ring._documents.get = get
    assert ring.owner_of(text) is not None
    assert ring.remembered(text) is None


@pytest.mark.parametrize("how", ["revoke", "rotate"])
def test_another_process(how):
    """What another process ends is taken for the named moment, and no longer."""
    asker = Asker()
    ring, host = asker.server.keyring, asker.host
    other = Keyring(asker.store, asker.limits, now_ns=host.now_ns, random_bytes=os.urandom)
    key, text = ring.make(tenant="acme", scopes=("run",))
    assert ring.owner_of(text) is not None
    if how == "revoke":
        other.revoke(None, key.id)
    else:
        other.rotate("acme", key.id, overlap_ms=0)
    host.time_ns += REMEMBERED_NS
    assert ring.remembered(text) is None
    assert ring.owner_of(text) is None


def test_when_the_command_is_done(served):
    """A server that is asked all the time refuses a key as soon as `keys revoke` has returned."""
    store = ["--store", str(served.folder / "s.db")]
    env = environment(CLOCHE_KEY_FILE=str(served.folder / "key"))
    made = subprocess.run(
        [*START, "keys", "new", *store, "--json"], env=env, capture_output=True, check=True
    )
    key = json.loads(made.stdout)
    headers = {"authorization": f"Bearer {key['key']}"}
    is_over = threading.Event()

    def ask():
        with httpx.Client(base_url=served.url, headers=headers, timeout=WAIT_S) as client:
            while not is_over.is_set():
                client.get("/v1/runs", params={"limit": 1})

    askers = [threading.Thread(target=ask) for _ in range(2)]
    with httpx.Client(base_url=served.url, headers=headers, timeout=WAIT_S) as client:
        assert client.get("/v1/runs").status_code == 200
        for each in askers:
            each.start()
        try:
            revoke = [*START, "keys", "revoke", key["id"], *store]
            subprocess.run(revoke, env=env, capture_output=True, check=True)
            assert client.get("/v1/runs").status_code == 401
        finally:
            is_over.set()
            for each in askers:
                each.join()


def test_an_open_connection(served):
    """A WebSocket that was opened with a key does nothing more when that has ended."""
    bearer = {"authorization": f"Bearer {served.key}"}
    with httpx.Client(base_url=served.url, headers=bearer, timeout=WAIT_S) as admin:
        made = admin.post("/v1/keys", json={"scopes": ["session", "run"]}).json()
        session = admin.post("/v1/sessions", json={"language": "python"}).json()["id"]
        url = f"{served.url.replace('http', 'ws', 1)}/v1/sessions/{session}/attach"
        headers = {"authorization": f"Bearer {made['key']}"}
        (refused,) = asyncio.run(talk(url, headers, lambda: admin.delete(f"/v1/keys/{made['id']}")))
        assert refused["error"]["code"] == "WEB_UNAUTHORIZED"
        assert admin.get(f"/v1/sessions/{session}/history").json()["items"] == []
        assert admin.get("/v1/runs", params={"session": session}).json()["items"] == []


async def talk(url, headers, end_key):
    """Attach, end the key, send a program; return what was told from then on."""
    told = []
    async with connect(url, additional_headers=headers, open_timeout=WAIT_S) as socket:
        assert json.loads(await socket.recv())["type"] == "ready"
        await asyncio.to_thread(end_key)
        await socket.send(json.dumps({"op": "run", "id": "1", "code": "open('/x', 'w')"}))
        with contextlib.suppress(ConnectionClosed):
            while True:
                told.append(json.loads(await asyncio.wait_for(socket.recv(), WAIT_S)))
    return told
