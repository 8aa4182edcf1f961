"""A real server with apps whose worker is killed under them: streams, requests, WebSockets."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import zipfile
from pathlib import Path

import httpx
import pytest
from tests.server.faults import settled
from tests.server.process import serving
from tests.server.test_workers_story import workers_of

MAIN = """
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/stream") return new Response(new ReadableStream({
      async pull(c) { c.enqueue("piece\\n"); await sleep(20); },
    }));
    if (pathname === "/slow") {
      await env.kv.set("slow", (await env.kv.get("slow") ?? 0) + 1);
      await sleep(20_000);
    }
    if (pathname === "/busy") for (let n = 0; n < 1e6; n += 1);
    if (pathname === "/body") return new Response(`${(await request.bytes()).length}`);
    return new Response(`${await env.kv.get("slow") ?? 0}`);
  },
};
"""
MANIFEST = {
    "name": "shop",
    "main": "main.js",
    "storage": ["kv"],
    "limits": {"timeout_ms": 20_000},
}
SHOP = {"host": "shop.localhost"}
WAIT_S = 60


def archive():
    """Return the app."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps(MANIFEST))
        files.writestr("main.js", MAIN)
    return out.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with one worker and the app."""
    with serving(tmp_path_factory.mktemp("served"), "--workers", "1") as found:
        made = httpx.post(
            f"{found.url}/v1/apps/shop/versions",
            content=archive(),
            headers={"authorization": f"Bearer {found.key}"},
            timeout=WAIT_S,
        )
        assert made.status_code < 300, made.text
        yield found


@pytest.fixture
def http(server):
    """A client of the app; it has answered."""
    with httpx.Client(base_url=server.url, headers=SHOP, timeout=WAIT_S) as client:
        settled(lambda: client.get("/").status_code == 200)
        yield client


def asked(server, path=""):
    """Return what the server says of the app."""
    return httpx.get(
        f"{server.url}/v1/apps/shop{path}",
        headers={"authorization": f"Bearer {server.key}"},
        timeout=WAIT_S,
    )


def running(server):
    """Return how many requests of the app are answered now."""
    return asked(server).json()["running"]


def test_runs_in_the_worker(server, http):
    """The processor time of a request is that of the worker."""

    def spent(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    (worker,) = workers_of(server)
    before = spent(worker), spent(server.process.pid)
    after = before
    while after[0] - before[0] < 50:  # hundredths of a second
        assert http.get("/busy").status_code == 200
        after = spent(worker), spent(server.process.pid)
    assert after[1] - before[1] < after[0] - before[0]


def test_a_large_body(http):
    """A body that does not fit one frame is read as it comes."""
    assert http.post("/body", content=b"x" * 3_000_000).text == "3000000"


def test_killed_in_a_stream(server, http):
    """The stream is broken off; the next request is answered."""
    (worker,) = workers_of(server)

    def listen():
        with http.stream("GET", "/stream") as answer:
            for count, _ in enumerate(answer.iter_lines()):
                if count == 3:
                    os.kill(worker, signal.SIGKILL)

    with pytest.raises(httpx.RemoteProtocolError):
        listen()
    assert http.get("/").status_code == 200
    assert worker not in workers_of(server)


def test_killed_behind_an_effect(server, http):
    """The client is told that it may ask again; nothing is done twice."""
    before = int(http.get("/").text)
    (worker,), answers = workers_of(server), []
    thread = threading.Thread(
        target=lambda: answers.append(httpx.get(f"{server.url}/slow", headers=SHOP, timeout=WAIT_S))
    )
    thread.start()
    settled(lambda: int(http.get("/").text) > before)
    os.kill(worker, signal.SIGKILL)
    thread.join(WAIT_S)
    (answer,) = answers
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "WORKER_LOST"
    assert int(http.get("/").text) == before + 1
    settled(lambda: "WORKER_LOST" in asked(server, "/logs").text)


def test_killed_before_an_effect(server, http):
    """A request that asked for nothing yet is executed again, and its client knows nothing."""
    settled(lambda: running(server) == 0)
    (worker,), answers = workers_of(server), []
    os.kill(worker, signal.SIGSTOP)  # whatever it is asked, it says nothing before its end
    thread = threading.Thread(target=lambda: answers.append(http.get("/busy").status_code))
    thread.start()
    settled(lambda: running(server) == 1)
    os.kill(worker, signal.SIGKILL)
    thread.join()
    assert answers == [200]
    assert worker not in workers_of(server)
