"""A real server whose workers are killed, drained, and die with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cloche.exec.types import Finished
from cloche.exec.types import Limits as RunLimits

from .faults import settled
from .process import serving

WAIT_S = 60
PATIENT = RunLimits(time_ms=100_000)  # the machine may have other things to do
LONG = "print('on', flush=True)\nn = 0\nfor i in range(2 * 10**6): n += i\nprint(n)\n"


def children_of(server):
    """Return the ids of the processes that a server has started and that live."""
    found = []
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += map(int, (task / "children").read_text().split())
    return found


def workers_of(server):
    """Return the ids of the workers of a server, when there are some."""
    return settled(lambda: children_of(server))


def wait_for_end(pid):
    """Wait until there is no such process."""
    settled(lambda: not Path(f"/proc/{pid}").exists())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with one worker, which has run something."""
    settings = {"CLOCHE_SERVER_WORKER_GRACE_MS": "1000"}
    with serving(tmp_path_factory.mktemp("served"), "--workers", "1", **settings) as found:
        with found.client() as client:
            client.run("print(1)", language="python")
        yield found


def ask(server, path, body, accept="application/json"):
    """Return the lines of an answer as they come."""
    request = urllib.request.Request(
        server.url + path,
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {server.key}",
            "Content-Type": "application/json",
            "Accept": accept,
        },
    )
    return urllib.request.urlopen(request, timeout=WAIT_S)


def test_a_kept_run_goes_on(server):
    """A run that is kept ends as if nothing had happened, and is heard once."""
    (worker,) = workers_of(server)
    with server.client() as client:
        run = client.start(LONG, language="python", limits=PATIENT)
        heard = client.follow(run.id)
        text = next(heard).data
        os.kill(worker, signal.SIGKILL)
        *pieces, last = heard
        text += b"".join(piece.data for piece in pieces)
        assert isinstance(last, Finished)
        assert text == b"on\n1999999000000\n"
        assert client.get_run(run.id).stdout.encode() == text
        assert client.replay_run(run.id).same


def test_a_run_that_is_not_kept(server):
    """Of a run that is not kept is said that it was lost, and that it can be asked for again."""
    (worker,) = workers_of(server)
    body = {"language": "python", "keep": False}
    endless = {**body, "code": "print('on', flush=True)\nwhile True: pass"}
    with ask(server, "/v1/run", endless, "text/event-stream") as answer:
        for line in answer:
            if b'"on' in line:
                os.kill(worker, signal.SIGKILL)
            if b'"exit_code"' in line:
                document = json.loads(line.removeprefix(b"data: "))
    assert document["error"]["code"] == "WORKER_LOST"
    assert document["error"]["retryable"] is True
    with ask(server, "/v1/run", {**body, "code": "print(1)"}) as answer:
        assert json.load(answer)["stdout"] == "1\n"
    os.kill(workers_of(server)[0], signal.SIGSTOP)
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(server, "/v1/run", {**endless, "limits": {"time_ms": 100}})
    assert caught.value.code == 503
    assert caught.value.headers["retry-after"] == "1"
    assert json.load(caught.value)["code"] == "WORKER_LOST"
    with ask(server, "/v1/run", {**body, "code": "print(2)"}) as answer:
        assert json.load(answer)["stdout"] == "2\n"


def test_drained(tmp_path):
    """Who is asked to stop lets its runs end; its workers end with it."""
    late = {"CLOCHE_SERVER_DRAIN_MS": "60000"}  # however busy the machine is
    with serving(tmp_path, "--workers", "2", **late) as server, server.client() as client:
        pids = workers_of(server)
        assert len(pids) == 2
        session = client.Session.create("python", name="a")
        session.run("x = 40")
        run = client.start(LONG, language="python", limits=PATIENT)
        assert next(client.follow(run.id)).data.startswith(b"on\n")
        key = server.key
        assert server.stop() == 0
        for pid in pids:
            wait_for_end(pid)
    with serving(tmp_path, "--workers", "0") as again, again.client(key) as client:
        assert client.get_run(run.id).status == "completed"
        assert client.Session.open("a").run("print(x + 2)").run.stdout == "42\n"
        assert children_of(again) == []


def test_workers_die_with_the_server(tmp_path):
    """A server that is killed leaves no process behind."""
    with serving(tmp_path, "--workers", "2") as server:
        pids = workers_of(server)
        server.kill()
        for pid in pids:
            wait_for_end(pid)
