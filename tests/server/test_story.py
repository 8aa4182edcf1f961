"""The server as people use it: a first start, work, a power cut, and everything still there."""

from __future__ import annotations

import json
import signal
import threading
import time

import pytest

from cloche.client.errors import ServerAnswerError
from cloche.exec.types import Finished
from cloche.exec.types import Limits as RunLimits

from .process import Serving, serving

# Quick after a power cut: the lease of a dead process is over after a second.
FAST = {"CLOCHE_SESSIONS_LEASE_MS": "1000", "CLOCHE_SERVER_DRAIN_MS": "2000"}
PATIENT = RunLimits(time_ms=100_000)  # the machine may have other things to do
SLOW = (
    "import time\nfor n in range({count}):\n    print(n, flush=True)\n    x = sum(range({work}))\n"
)


def texts(events):
    """Return what was printed, and the last event."""
    *pieces, last = events
    return b"".join(piece.data for piece in pieces).decode(), last


def test_a_power_cut(tmp_path):
    """Nothing that was acknowledged is lost: keys, runs, sessions, files, answers, what waits."""
    with serving(tmp_path, **FAST) as first, first.client() as client:
        key = first.key
        done = client.start("import random; print(random.random())", language="python")
        printed, _ = texts(client.follow(done.id))
        session = client.Session.create("python", name="notes")
        session.run("total = 40")
        session.write_file("a.txt", b"kept")
        # Four workers are busy, one run waits, and one is in the session.
        endless = [
            client.start(SLOW.format(count=100, work=200_000), language="python", limits=PATIENT)
            for _ in range(4)
        ]
        heard = client.follow(endless[0].id)
        assert next(heard).data.startswith(b"0\n")
        waiting = client.start("print('waited')", language="python")
        in_session = session.start("total += 2\nprint(total)")
        first.kill()

    with serving(tmp_path, **FAST) as second, second.client(key) as client:
        assert second.key is None
        assert any("taken up: 6 runs" in line for line in second.lines)
        assert client.get_run(done.id).stdout == printed
        assert client.replay_run(done.id).same
        # What ran is executed again to the same bytes, so whoever listened misses nothing.
        for run in endless[1:]:
            client.cancel_run(run.id)
        text, last = texts(client.follow(endless[0].id))
        assert isinstance(last, Finished)
        assert text.splitlines() == [str(n) for n in range(100)]
        text, last = texts(client.follow(waiting.id))
        assert (text, type(last)) == ("waited\n", Finished)
        text, last = texts(client.follow(in_session.id))
        assert (text, type(last)) == ("42\n", Finished)
        session = client.Session.open("notes")
        assert session.download("a.txt") == b"kept"
        assert session.run("print(total)").run.stdout == "42\n"


def test_listening_across_a_restart(tmp_path):
    """Whoever listens hears every line once, though the server died in between."""
    with serving(tmp_path, **FAST) as first:
        port = first.url.rsplit(":", 1)[1]
        client = first.client(attempt_count=50)
        heard = client.events(
            SLOW.format(count=40, work=100_000), language="python", limits=PATIENT
        )
        lines = next(heard).data.decode()
        first.kill()
        again = Serving(tmp_path, "--bind", f"127.0.0.1:{port}", **FAST)
        try:
            rest, last = texts(heard)
        finally:
            assert again.stop() == 0
            client.close()
        assert isinstance(last, Finished), last
        assert (lines + rest).splitlines() == [str(n) for n in range(40)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end(tmp_path, number):
    """A request that is there is answered, then the process ends with 0, and leaves no lease."""
    with serving(tmp_path, **FAST) as server:
        client = server.client()
        session = client.Session.create("python", name="s")
        session.run("x = 1")
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(
                client.run(SLOW.format(count=10, work=100_000), language="python", limits=PATIENT)
            )
        )
        asking.start()
        until = time.monotonic() + 20
        while not any(run.status == "running" for run in client.list_runs().items):
            assert time.monotonic() < until
        assert server.stop(number) == 0
        asking.join()
        assert answers[0].run.stdout.splitlines()[-1] == "9"
        client.close()
    # A lease that was given back is free at once, without waiting for its end.
    at_once = {"CLOCHE_SESSIONS_QUEUE_TIMEOUT_MS": "0"}
    with serving(tmp_path, **at_once) as again, again.client(server.key) as client:
        assert client.Session.open("s").run("print(x)").run.stdout == "1\n"


def test_many_clients_at_once(tmp_path):
    """Each gets its own answer; one that leaves in the middle of a stream harms nobody."""
    with serving(tmp_path, **FAST) as server, server.client() as client:
        answers = {}

        def ask(number):
            if number % 4 == 0:
                events = client.events(SLOW.format(count=5, work=1000), language="python")
                next(events)
                events.close()
            code = f"console.log({number})"
            answers[number] = client.run(code, language="javascript").run.stdout

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {number: f"{number}\n" for number in range(32)}
        until = time.monotonic() + 20
        while any(run.status in ("queued", "running") for run in client.list_runs().items):
            assert time.monotonic() < until


def test_tls(tmp_path):
    """With a certificate of its own it speaks TLS, and nothing else."""
    with serving(tmp_path, "--tls-self-signed") as server:
        assert server.url.startswith("https://")
        with server.client(verify=False) as client:
            assert client.run("print(1)", language="python").run.stdout == "1\n"


def test_the_log(tmp_path):
    """With --log each request is a line of JSON, without what is secret in it."""
    with serving(tmp_path, "--log") as server, server.client() as client:
        client.run("print('very private')", language="python")
        with server.client("clk_wrong") as stranger, pytest.raises(ServerAnswerError):
            stranger.run("1")
        server.stop()
    text = (tmp_path / "stderr.txt").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    asked = [(line["path"], line["status"]) for line in lines if line["event"] == "request"]
    assert asked == [("/v1/run", 200), ("/v1/run", 401)]
    assert server.key not in text
    assert "private" not in text
