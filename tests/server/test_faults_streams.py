"""A real server whose clients go away, never come to an end, or print without end."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cloche.exec.errors import ExecError
from cloche.exec.types import Limits as RunLimits

from .faults import (
    MIB,
    WAIT_S,
    Raw,
    descriptor_count,
    head,
    peak_bytes,
    pids_of,
    private_bytes,
    settled,
)
from .process import serving

CLIENTS = 500
# It goes on for as long as the test needs, and prints now and then.
TICKING = "n = 0\nwhile True:\n    n += 1\n    if n % 10**6 == 1: print('tick', flush=True)"
GIGABYTE = "line = 'x' * (2**20 - 1)\nfor _ in range(1024): print(line)"
EVENTS = "accept: text/event-stream"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with one worker that has run something."""
    settings = {"CLOCHE_SERVER_SUBSCRIBER_COUNT_MAX": "1000"}
    with serving(tmp_path_factory.mktemp("server"), "--workers", "1", **settings) as found:
        with found.client() as client:
            client.run("print(1)", language="python")
        yield found


def listen_and_leave(server, run_id, number):
    """Listen to a run until something was heard, and go; every second one without a goodbye."""
    listener = Raw(server)
    listener.send(head(server, "GET", f"/v1/runs/{run_id}/events", EVENTS) + b"\r\n")
    heard = listener.read_until(b"event: stdout")
    listener.close(abruptly=number % 2 == 0)
    return b"event: stdout" in heard


def test_clients_that_leave(server):
    """500 listeners that leave in the middle leave nothing behind, however often that happens."""
    (pid, *_) = pids_of(server)
    with server.client() as client:
        run = client.start(TICKING, language="python", limits=RunLimits(time_ms=100_000))
        follower = client.follow(run.id)
        next(follower)
        before = descriptor_count(pid, "socket")
        memory, opened = [], []
        for _ in range(3):
            with ThreadPoolExecutor(50) as pool:
                heard = pool.map(lambda n: listen_and_leave(server, run.id, n), range(CLIENTS))
                assert all(heard)
            settled(lambda: descriptor_count(pid, "socket") <= before)
            opened.append(descriptor_count(pid))
            memory.append(private_bytes(pid))
        assert client.get_run(run.id).status == "running"
        assert next(follower).data.startswith(b"tick")
        client.cancel_run(run.id)
        assert client.run("print(2)", language="python").run.stdout == "2\n"
        follower.close()
    assert memory[2] - memory[1] < 8 * MIB, memory
    # A thread that works for the store keeps its connection; there is a limit of threads.
    assert opened[2] <= before + 100, opened


ENDLESS = "while True: pass"


def begin(server, code=ENDLESS, *fields, **body):
    """Ask for a run that does not end by itself; return the connection that waits for it."""
    asker = Raw(server)
    body = {"code": code, "language": "python", "limits": {"time_ms": 100_000}, **body}
    content = json.dumps(body).encode()
    fields = ("content-type: application/json", *fields)
    asker.send(head(server, "POST", "/v1/run", *fields, f"content-length: {len(content)}"))
    asker.send(b"\r\n" + content)
    return asker


def counts(server):
    """Return how many runs wait, and how many are executed."""
    fields = {"authorization": f"Bearer {server.key}"}
    text = httpx.get(f"{server.url}/metrics", headers=fields, timeout=WAIT_S).text
    found = dict(re.findall(r"^cloche_runs_(\w+) (\d+)$", text, re.MULTILINE))
    return int(found["waiting"]), int(found["running"])


@pytest.mark.parametrize("is_abrupt", [True, False])
@pytest.mark.parametrize("events", [(), (EVENTS,)])
def test_who_asked_leaves(tmp_path, events, is_abrupt):
    """A run that is not kept ends with its client; one that is kept, or has a key, goes on."""
    with serving(tmp_path, "--workers", "1", CLOCHE_SERVER_WORKER_COUNT="2") as server:
        kept = begin(server, "while True: pass", *events)
        again = begin(server, ENDLESS, "idempotency-key: one", *events, keep=False)
        settled(lambda: counts(server) == (0, 2))
        waiting = begin(server, ENDLESS, *events, keep=False)
        settled(lambda: counts(server) == (1, 2))
        waiting.close(abruptly=is_abrupt)
        settled(lambda: counts(server) == (0, 2))
        for left in (kept, again):
            left.close(abruptly=is_abrupt)
        with server.client() as client:
            (first,) = client.list_runs().items
            client.cancel_run(first.id)
            settled(lambda: counts(server) == (0, 1))
            left = begin(server, ENDLESS, *events, keep=False)
            settled(lambda: counts(server) == (0, 2))
            left.close(abruptly=is_abrupt)
            settled(lambda: counts(server) == (0, 1))  # the one with a key
            assert client.run("print(3)", language="python", keep=False).run.stdout == "3\n"


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_gigabyte(server, is_kept):
    """A run that prints a gigabyte ends at its limit; nobody holds more than the limit for it."""
    before = [peak_bytes(pid) for pid in pids_of(server)]
    limits = RunLimits(time_ms=60_000)
    with server.client() as client:
        with pytest.raises(ExecError) as caught:
            client.run(GIGABYTE, language="python", limits=limits, keep=is_kept)
        assert caught.value.code == "RESOURCE_EXCEEDED", caught.value
        assert len(caught.value.result.run.stdout) <= 4 * MIB
        events = list(client.events(GIGABYTE, language="python", limits=limits, keep=is_kept))
        assert sum(len(each.data) for each in events[:-1]) <= 4 * MIB
        assert events[-1].error.code == "RESOURCE_EXCEEDED"
        assert client.run("print(2)", language="python").run.stdout == "2\n"
    after = [peak_bytes(pid) for pid in pids_of(server)]
    assert len(after) == len(before)
    # The output, and what is made of it for the store and for the answer.
    assert all(new - old < 96 * MIB for old, new in zip(before, after, strict=True)), (
        before,
        after,
    )


def test_a_listener_that_does_not_read(server):
    """Who stops reading holds up nobody, and is held for no more than its share."""
    (pid, *_) = pids_of(server)
    code = "for n in range(3000): print('x' * 1000)"
    before = private_bytes(pid)
    with server.client() as client:
        run = client.start(code, language="python", limits=RunLimits(time_ms=100_000))
        deaf = [Raw(server) for _ in range(20)]
        for each in deaf:
            each.send(head(server, "GET", f"/v1/runs/{run.id}/events", EVENTS) + b"\r\n")
        *pieces, _last = client.follow(run.id)
        assert sum(len(piece.data) for piece in pieces) == 3000 * 1001
        assert client.run("print(2)", language="python").run.stdout == "2\n"
        # The last event of each, which has all that was printed, and what came before in parts.
        assert private_bytes(pid) - before < 20 * 9 * MIB
        for each in deaf:
            each.close()
