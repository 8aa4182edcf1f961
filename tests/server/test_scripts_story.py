"""A script that waits outlives the server that began it."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request

from tests.cli.support import START, environment

from .process import Serving

TOOLS = ("--tools", "mail=tests.server.tools:TOOLS")
WAIT_S = 60


def ask(server, key, method, path, body=None):
    """Return the document that a server answers."""
    request = urllib.request.Request(
        server.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return json.loads(answer.read())


def ended(server, key, run_id):
    """Return a script when it is over."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        found = ask(server, key, "GET", f"/v1/scripts/{run_id}")
        if found["status"] not in ("queued", "running", "suspended"):
            return found
    raise AssertionError(found)


def test_approved_after_the_end_of_the_server(tmp_path):
    """After SIGKILL what waits still waits; approved with other arguments, its script ends."""
    first = Serving(tmp_path, *TOOLS)
    source = "const to = await tools.send({to: 'ann'}); return to + '!'"
    body = {"source": source, "tools": "mail"}
    try:
        begun = ask(first, first.key, "POST", "/v1/scripts", body)
    finally:
        first.kill()
    assert begun["status"] == "suspended"
    second = Serving(tmp_path, *TOOLS)
    try:
        (one,) = ask(second, first.key, "GET", "/v1/approvals")["items"]
        assert one["run_id"] == begun["id"]
        path = f"/v1/approvals/{one['id']}/approve"
        ask(second, first.key, "POST", path, {"args": {"to": "bob"}})
        done = ended(second, first.key, begun["id"])
    finally:
        second.kill()
    assert (done["status"], done["value"]) == ("completed", "sent to bob!")
    assert replayed(tmp_path, begun["id"], "tests.server.tools:TOOLS")["value"] == "sent to bob!"


def replayed(folder, run_id, tools):
    """Return a script of a server's store as it runs again from its journal, to the same bytes."""
    command = ["script", "replay", run_id, "--store", folder / "s.db", "--tools", tools, "--json"]
    again = subprocess.run(
        [*START, *map(str, command)],
        capture_output=True,
        check=False,
        env=environment(),
        text=True,
        timeout=WAIT_S,
    )
    assert again.returncode == 0, again.stderr
    return json.loads(again.stdout)
