"""An app with storage, fetch and a schedule: deployed, updated, rolled back under load.

Every request reads and writes what is stored, calls a real server over TLS that its manifest names,
and is refused one that it does not name. The clock of the schedule goes a minute ahead when the
test says so; what the schedule has done is seen in the storage.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from tests.egress.support import authority, response
from tests.exec.net_support import net_world

from .faults import WAIT_S, settled
from .process import serving

MAIN = """
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname === "/ticks") {
      return Response.json((await env.kv.get("ticks")) ?? []);
    }
    const count = ((await env.kv.get("count")) ?? 0) + 1;
    await env.kv.set("count", count);
    let denied;
    try {
      denied = (await fetch("https://denied.example.com/")).status;
    } catch (error) {
      denied = error.name;
    }
    const fetched = await (await fetch(`${env.API}/price`)).json();
    return Response.json({ version: "VERSION", count, denied, fetched });
  },
  async scheduled(event, env) {
    const { cents } = await (await fetch(`${env.API}/tick`)).json();
    const ticks = (await env.kv.get("ticks")) ?? [];
    await env.kv.set("ticks", [...ticks, `${event.name} VERSION ${cents}`]);
  },
};
"""
MANIFEST = {
    "name": "shop",
    "main": "main.js",
    "storage": ["kv"],
    "schedules": [{"cron": "* * * * *", "name": "tick"}],
}
CLIENTS = 4
SHOP = {"host": "shop.localhost"}
API = "api.example.com"
START = [sys.executable, "-m", "tests.server.serve_in_world"]


def archive(version, instances, port):
    """Return a version of the app, which calls the server at this port."""
    manifest = {
        **MANIFEST,
        "instances": instances,
        "env": {"API": f"https://{API}:{port}"},
        "policy": {"net": {"allow": [{"host": API, "ports": [port]}]}},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps(manifest))
        files.writestr("main.js", MAIN.replace("VERSION", version))
    return out.getvalue()


@contextmanager
def world(folder):
    """Serve where `API` is a server of this test; yield the server of apps, and that one."""
    authority_file = folder / "ca.pem"
    authority_file.write_bytes(authority().cert_pem.bytes())
    names = {"WORLD_NAMES": API, "WORLD_CA": str(authority_file)}
    with net_world() as net:
        api = net.server(API, answer=response(body=b'{"cents": 499}'))
        with serving(folder, "--allow-net", start=START, **names) as server:
            yield server, api


def keep_asking(url, is_over, seen, problems):
    """Ask until it is over; keep what was answered, and what is no answer."""
    with httpx.Client(base_url=url, headers=SHOP, timeout=WAIT_S) as http:
        while not is_over.is_set():
            begun_s = time.monotonic()
            answer = http.get("/")
            if answer.status_code == 200:
                seen.append({**answer.json(), "begun_s": begun_s})
            else:
                problems.append((answer.status_code, answer.text))


@pytest.mark.parametrize("instances", ["fresh", "warm"])
def test_changed_under_load(tmp_path, instances):
    """Not one request fails or is answered by what was not live; the storage stays."""
    seen, problems, is_over = [], [], threading.Event()

    def answered(version):
        """Whether a version answers; the requests that began before it may still end."""
        return any(each["version"] == version for each in seen[-CLIENTS:])

    def ticks(server):
        """Return what the schedule has written so far."""
        return httpx.get(f"{server.url}/ticks", headers=SHOP, timeout=WAIT_S).json()

    def fired(server, version):
        """Let a minute pass: the version that answers has its schedule called, once."""
        count = len(ticks(server))
        server.process.send_signal(signal.SIGUSR1)
        settled(lambda: len(ticks(server)) > count)
        assert ticks(server)[count] == f"tick {version} 499"

    with (
        world(tmp_path) as (server, api),
        server.client() as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):

        def deploy(version, **options):
            client.apps.deploy("shop", archive(version, instances, api.port), **options)

        deploy("one")
        asked = server.url, is_over, seen, problems
        askers = [pool.submit(keep_asking, *asked) for _ in range(CLIENTS)]
        try:
            settled(lambda: answered("one"))
            fired(server, "one")
            for round_number in range(3):
                deploy(f"two{round_number}")
                settled(lambda round_number=round_number: answered(f"two{round_number}"))
                fired(server, f"two{round_number}")
                client.apps.rollback("shop", to="v1")
                settled(lambda: answered("one"))
                now_s, begin = time.monotonic(), len(seen)
                settled(lambda begin=begin: len(seen) > begin + 2 * CLIENTS)
                later = [each["version"] for each in seen[begin:] if each["begun_s"] > now_s]
                assert set(later) == {"one"}
            deploy("canary", canary=50)
            client.apps.promote("shop")
            settled(lambda: answered("canary"))
            fired(server, "canary")
            client.apps.set_env("shop", {"COLOR": "red"})
        finally:
            is_over.set()
        for each in askers:
            each.result()
        called = [request.target for request in api.requests]
        written = ticks(server)
    assert problems == []
    assert {(each["denied"], each["fetched"]["cents"]) for each in seen} == {("TypeError", 499)}
    assert max(each["count"] for each in seen) <= len(seen)
    assert len({each["version"] for each in seen}) == 5
    assert called.count("/price") == len(seen)
    assert called.count("/tick") >= len(written) >= 5
