"""The server as people use it: a first start, work, a power cut, and everything still there."""

from __future__ import annotations

import json
import signal
import threading

import httpx
import pytest

from cloche.client.errors import ServerAnswerError
from cloche.exec.types import Finished
from cloche.exec.types import Limits as RunLimits
from cloche.web.adapters.server import EXIT_CUT

from .faults import WAIT_S, held_port, hold, let_go, settled
from .process import Serving, serving

PATIENT = RunLimits(time_ms=100_000)  # the machine may have other things to do
ENDLESS = "while True: pass"
SLOW = (
    "import time\nfor n in range({count}):\n    print(n, flush=True)\n    x = sum(range({work}))\n"
)


def texts(events):
    """Return what was printed, and the last event."""
    *pieces, last = events
    return b"".join(piece.data for piece in pieces).decode(), last


def test_a_power_cut(tmp_path):
    """Nothing that was acknowledged is lost: keys, runs, sessions, files, answers, what waits."""
    with serving(tmp_path) as first, first.client() as client:
        key = first.key
        done = client.start("import random; print(random.random())", language="python")
        printed, _ = texts(client.follow(done.id))
        session = client.Session.create("python", name="notes")
        session.run("total = 40")
        session.write_file("a.txt", b"kept")
        # Four are executed, one run waits, and one is in the session.
        endless = [client.start(ENDLESS, language="python", limits=PATIENT) for _ in range(3)]
        in_the_middle = caught(first, client)
        waiting = client.start("print('waited')", language="python")
        in_session = session.start("total += 2\nprint(total)")
        first.kill()

    with serving(tmp_path) as second, second.client(key) as client:
        assert second.key is None
        assert any("taken up: 6 runs" in line for line in second.lines)
        assert client.get_run(done.id).stdout == printed
        assert client.replay_run(done.id).same
        # What ran is executed again to the same bytes, so whoever listened misses nothing.
        for run in endless:
            client.cancel_run(run.id)
        text, last = texts(client.follow(in_the_middle.id))
        assert isinstance(last, Finished)
        assert text.splitlines() == [str(n) for n in range(100)]
        text, last = texts(client.follow(waiting.id))
        assert (text, type(last)) == ("waited\n", Finished)
        text, last = texts(client.follow(in_session.id))
        assert (text, type(last)) == ("42\n", Finished)
        session = client.Session.open("notes")
        assert session.download("a.txt") == b"kept"
        assert session.run("print(total)").run.stdout == "42\n"


def test_told_twice_to_stop(tmp_path):
    """The second signal does not wait for runs: the next start takes them up, as after a kill."""
    long = {"CLOCHE_SERVER_DRAIN_MS": "10min"}
    with serving(tmp_path, **long) as first, first.client() as client:
        key = first.key
        done = client.start("print(1)", language="python")
        texts(client.follow(done.id))
        endless = client.start(ENDLESS, language="python", limits=PATIENT)
        first.process.send_signal(signal.SIGINT)
        said = first.process.stdout.readline()
        assert said.startswith("stopping: what has not ended (1) has up to 600 s; Ctrl-C or ")
        assert first.stop(signal.SIGINT) == EXIT_CUT
        assert first.lines[-1] == "cut: runs that had not ended are taken up by the next start\n"

    with serving(tmp_path) as second, second.client(key) as client:
        assert any("taken up: 1 runs" in line for line in second.lines)
        assert client.get_run(done.id).stdout == "1\n"
        client.cancel_run(endless.id)


def caught(server, client):
    """Return a run that has printed something and has not ended; no worker goes on."""
    code = SLOW.format(count=100, work=200_000)
    while True:
        run = client.start(code, language="python", limits=PATIENT)
        heard = client.follow(run.id)
        assert next(heard).data.startswith(b"0\n")
        hold(server)
        heard.close()
        if client.get_run(run.id).status == "running":
            return run
        let_go(server)


def test_listening_across_a_restart(tmp_path):
    """Whoever listens hears every line once, though the server died in between."""
    with held_port() as port, serving(tmp_path, "--bind", f"127.0.0.1:{port}") as first:
        client = first.client(attempt_count=50)
        heard = client.events(
            SLOW.format(count=40, work=100_000), language="python", limits=PATIENT
        )
        lines = next(heard).data.decode()
        first.kill()
        again = Serving(tmp_path, "--bind", f"127.0.0.1:{port}")
        try:
            rest, last = texts(heard)
        finally:
            assert again.stop() == 0
            client.close()
        assert isinstance(last, Finished), last
        assert (lines + rest).splitlines() == [str(n) for n in range(40)]


def is_stopping(server):
    """Whether a server says, or shows, that it takes no more requests."""
    try:
        return httpx.get(f"{server.url}/readyz", timeout=WAIT_S).status_code == 503
    except httpx.TransportError:
        return True


# However busy the machine is, whoever was let in is waited for.
LATE = {"CLOCHE_SERVER_DRAIN_MS": "60000", "CLOCHE_WEB_DRAIN_TIMEOUT_MS": "60000"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end(tmp_path, number):
    """A request that is there is answered, then the process ends with 0, and leaves no lease."""
    with serving(tmp_path, **LATE) as server:
        client = server.client()
        session = client.Session.create("python", name="s")
        session.run("x = 1")
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(
                client.run(SLOW.format(count=10, work=100_000), language="python", limits=PATIENT)
            )
        )
        hold(server)
        asking.start()
        settled(lambda: any(run.status == "running" for run in client.list_runs().items))
        server.process.send_signal(number)
        settled(lambda: is_stopping(server))
        let_go(server)
        assert server.ended() == 0
        asking.join()
        assert answers[0].run.stdout.splitlines()[-1] == "9"
        client.close()
    # A lease that was given back is free at once, without waiting for its end.
    at_once = {"CLOCHE_SESSIONS_QUEUE_TIMEOUT_MS": "0"}
    with serving(tmp_path, **at_once) as again, again.client(server.key) as client:
        assert client.Session.open("s").run("print(x)").run.stdout == "1\n"


def test_many_clients_at_once(tmp_path):
    """Each gets its own answer; one that leaves in the middle of a stream harms nobody."""
    with serving(tmp_path) as server, server.client() as client:
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
        settled(
            lambda: all(run.status not in ("queued", "running") for run in client.list_runs().items)
        )


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
