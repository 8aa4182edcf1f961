"""An app with storage, fetch and a schedule: deployed, updated, rolled back under load.

Its fetch goes to a host that nobody allowed: what an allowed host answers is tested where the
egress has a world of its own. Here it has to be refused to the app, in every version, as an error
that the app sees.
"""

from __future__ import annotations

import io
import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .faults import settled
from .process import serving

MAIN = """
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname === "/ticks") {
      return Response.json((await env.kv.get("ticks")) ?? 0);
    }
    const count = ((await env.kv.get("count")) ?? 0) + 1;
    await env.kv.set("count", count);
    let fetched;
    try {
      fetched = (await fetch("https://denied.example.com/")).status;
    } catch (error) {
      fetched = error.name;
    }
    return Response.json({ version: "VERSION", count, fetched });
  },
  async scheduled(event, env) {
    await env.kv.set("ticks", ((await env.kv.get("ticks")) ?? 0) + 1);
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


def archive(version, instances):
    """Return a version of the app."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps({**MANIFEST, "instances": instances}))
        files.writestr("main.js", MAIN.replace("VERSION", version))
    return out.getvalue()


@pytest.mark.parametrize("instances", ["fresh", "warm"])
def test_changed_under_load(tmp_path, instances):
    """Not one request fails or is answered by what was not live; the storage stays."""
    seen, problems, is_over = [], [], threading.Event()

    def keep_asking(url):
        with httpx.Client(base_url=url, headers={"host": "shop.localhost"}, timeout=30) as http:
            while not is_over.is_set():
                answer = http.get("/")
                if answer.status_code == 200:
                    seen.append(answer.json())
                else:
                    problems.append((answer.status_code, answer.text))

    def answered(version):
        """Whether a version answers; the requests that began before it may still end."""
        return any(each["version"] == version for each in seen[-CLIENTS:])

    with (
        serving(tmp_path, "--allow-net") as server,
        server.client() as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        client.apps.deploy("shop", archive("one", instances))
        askers = [pool.submit(keep_asking, server.url) for _ in range(CLIENTS)]
        try:
            settled(lambda: answered("one"))
            for round_number in range(3):
                client.apps.deploy("shop", archive(f"two{round_number}", instances))
                settled(lambda round_number=round_number: answered(f"two{round_number}"))
                client.apps.rollback("shop", to="v1")
                settled(lambda: answered("one"))
                begin = len(seen)
                settled(lambda begin=begin: len(seen) > begin + 2 * CLIENTS)
                assert {each["version"] for each in seen[begin + CLIENTS :]} == {"one"}
            client.apps.deploy("shop", archive("canary", instances), canary=50)
            client.apps.promote("shop")
            settled(lambda: answered("canary"))
            client.apps.set_env("shop", {"COLOR": "red"})
        finally:
            is_over.set()
        for each in askers:
            each.result()
    assert problems == []
    assert {each["fetched"] for each in seen} == {"TypeError"}
    assert max(each["count"] for each in seen) <= len(seen)
    assert len({each["version"] for each in seen}) == 5
