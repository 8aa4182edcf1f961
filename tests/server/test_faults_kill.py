"""SIGKILL under load: of the server, and of a worker. Nothing that was acknowledged is lost."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.store.server import Server as PostgreSql

from cloche.client.errors import ClientError
from cloche.errors import ClocheError
from cloche.exec.errors import SessionBusyError
from cloche.exec.types import Limits as RunLimits

from .faults import WAIT_S, pids_of, settled
from .process import serving

TOOLS = ("--tools", "mail=tests.server.tools:TOOLS", "--workers", "1")
ASKING = "const to = await tools.send({to: 'ann'}); return to + '!'"
APP = """
export default {
  async fetch(request, env) {
    const count = ((await env.kv.get("count")) ?? 0) + 1;
    await env.kv.set("count", count);
    return new Response(String(count));
  },
};
"""
OVER = ("completed", "failed", "cancelled", "interrupted")


def archive():
    """Return an app that counts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("main.js", APP)
        files.writestr("cloche.app.json", '{"name": "shop", "main": "main.js", "storage": ["kv"]}')
    return out.getvalue()


class Load:
    """Clients that ask for one thing after the other, and note what was acknowledged."""

    def __init__(self, server):
        self.server = server
        self.is_over = threading.Event()
        self.runs, self.files, self.scripts, self.counts = {}, {}, {}, [0]
        self.problems = []

    def repeat(self, act):
        """Do something until the server is gone."""
        with self.server.client(attempt_count=1) as client:
            number = 0
            while not self.is_over.is_set():
                number += 1
                try:
                    act(client, number)
                except (ClientError, httpx.TransportError):
                    if not self.is_over.is_set():
                        time.sleep(0.01)
                except ClocheError as error:
                    self.problems.append(error)

    def start(self, client, number):
        """Start a run."""
        self.runs[client.start(f"print({number})", language="python").id] = f"{number}\n"

    def run(self, client, number):
        """Run to the end, and find its id."""
        result = client.run(f"print({number} * 2)", language="python")
        assert result.run.stdout == f"{number * 2}\n"

    def write(self, client, number):
        """Write a file of a session, and use it."""
        session = client.Session.open("kept")
        content = f"{number}\n".encode() * 100
        session.write_file(f"/f{number % 7}", content)
        self.files[f"/f{number % 7}"] = (content,)
        if number % 5 == 0:
            session.run(f"x = {number}")

    def ask(self, client, _number):
        """Begin a script that waits for a person."""
        found = client.scripts.run(ASKING, tools="mail")
        self.scripts[found.id] = found.status

    def count(self, _client, _number):
        """Ask the app."""
        answer = httpx.get(self.server.url, headers={"host": "shop.localhost"}, timeout=WAIT_S)
        if answer.status_code == 200:
            self.counts.append(int(answer.text))

    def is_heavy(self):
        """Whether enough was acknowledged of each kind."""
        kinds = (self.runs, self.files, self.scripts, self.counts)
        return all(len(each) > 5 for each in kinds)


@contextlib.contextmanager
def under(load):
    """Let all kinds of clients ask at once."""
    acts = (load.start, load.start, load.run, load.write, load.ask, load.count)
    with ThreadPoolExecutor(len(acts)) as pool:
        done = [pool.submit(load.repeat, act) for act in acts]
        try:
            yield
        finally:
            load.is_over.set()
        for each in done:
            each.result()


def is_free(session):
    """Whether a session can be used: a dead server's lease on it has to run out."""
    try:
        return session.list_files("/")
    except SessionBusyError:
        return None


def test_the_server(tmp_path):
    """Runs, files, scripts that wait, apps and what they keep: all there after the restart."""
    with serving(tmp_path, *TOOLS) as server:
        key, load = server.key, Load(server)
        with server.client() as client:
            client.Session.create("python", name="kept")
            client.apps.deploy("shop", archive())
        with under(load):
            settled(load.is_heavy)
            server.kill()
    assert load.problems == []
    with serving(tmp_path, *TOOLS) as server, server.client(key) as client:
        for run_id, printed in load.runs.items():
            run = settled(
                lambda run_id=run_id: (
                    found if (found := client.get_run(run_id)).status in OVER else None
                )
            )
            assert (run.status, run.stdout) == ("completed", printed)
        session = client.Session.open("kept")
        settled(lambda: is_free(session))
        for path, contents in load.files.items():
            # The write after the last one that was acknowledged may have been made, too.
            content = session.download(path)
            assert content in contents or int(content.split(b"\n")[0]) > int(
                contents[0].split(b"\n")[0]
            )
        session.run("print(x)")
        waiting = {each.run_id: each for each in client.approvals.list(limit=200).items}
        assert load.scripts.keys() <= waiting.keys()
        first = next(iter(load.scripts))
        client.approvals.approve(waiting[first].id, {"to": "bob"})
        settled(lambda: client.scripts.get(first).value == "sent to bob!")
        answer = httpx.get(server.url, headers={"host": "shop.localhost"}, timeout=WAIT_S)
        assert int(answer.text) > max(load.counts)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """The options that name a store, of each kind that outlives a process."""
    if request.param == "sqlite":
        yield ["--store", str(tmp_path / "s.db")]
        return
    database = PostgreSql.start(tmp_path)
    if database is None:
        pytest.skip("no PostgreSQL server program is installed")
    try:
        yield ["--store", database.new_url()]
    finally:
        database.stop()


def test_sessions_are_free_at_once(tmp_path, place):
    """The next server on a machine knows that the one before is dead, and waits for no lease.

    What it goes on with there can be stopped like any run.
    """
    lease = {"CLOCHE_SESSIONS_LEASE_MS": "600000"}
    options = ["--bind", "127.0.0.1:0", "--workers", "1", *place]
    with serving(tmp_path, *options, is_placed=False, **lease) as server:
        key = server.key
        with server.client() as client:
            session = client.Session.create("python", name="kept")
            session.run("x = 41; open('a.txt', 'w').write('a')")
            busy = client.Session.create("python", name="busy")
            busy.run("y = 1")
            left = busy.start("y = 2\nwhile True: pass", limits=RunLimits(time_ms=100_000))
            settled(lambda: client.get_run(left.id).status == "running")
        server.kill()
    with (
        serving(tmp_path, *options, is_placed=False, **lease) as server,
        server.client(key) as client,
    ):
        session = client.Session.open("kept")
        assert session.download("a.txt") == b"a"
        assert session.run("print(x + 1)").run.stdout == "42\n"
        client.cancel_run(left.id)
        settled(lambda: client.get_run(left.id).status == "cancelled")
        assert client.Session.open("busy").run("print(y)").run.stdout in ("1\n", "2\n")


def test_workers(tmp_path):
    """A worker that is killed again and again takes nothing with it that was acknowledged."""
    with serving(tmp_path, *TOOLS) as server:
        load = Load(server)
        with server.client() as client:
            client.Session.create("python", name="kept")
            client.apps.deploy("shop", archive())
        with under(load):
            settled(load.is_heavy)
            for _ in range(2):
                seen = len(load.runs)
                for pid in pids_of(server)[1:]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                settled(lambda seen=seen: len(load.runs) > seen + 3)
        with server.client() as client:
            for run_id, printed in load.runs.items():
                run = settled(
                    lambda run_id=run_id: (
                        found if (found := client.get_run(run_id)).status in OVER else None
                    )
                )
                assert (run.status, run.stdout) in (
                    ("completed", printed),
                    ("interrupted", ""),  # its second worker was killed, too
                ), run
            session = client.Session.open("kept")
            assert all(session.download(path) for path in load.files)
            assert {client.scripts.get(each).status for each in load.scripts} == {"suspended"}
