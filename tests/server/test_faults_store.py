"""A real server whose store fails under it: no room left, PostgreSQL started again under load."""

from __future__ import annotations

import resource
import threading
import time

import pytest
from tests.store.server import Server as PostgreSql

from cloche.client.errors import ServerAnswerError

from .faults import MIB, Raw, head, settled
from .process import Serving, serving

PROGRAM = {"language": "python"}


def refused(act):
    """Return the refusal that an act meets; None when it is done."""
    try:
        act()
    except ServerAnswerError as error:
        return error
    return None


def test_no_room(tmp_path):
    """Without room each change is 503 with a time to come back; with room it goes on, whole."""
    with serving(tmp_path, "--workers", "0") as server, server.client(attempt_count=1) as client:
        session = client.Session.create("python", name="kept")
        session.run("x = 1")
        kept = client.start("print(1)", **PROGRAM).id
        settled(lambda: client.get_run(kept).status == "completed")
        largest = max(each.stat().st_size for each in tmp_path.iterdir())
        # No file may become larger: what a full disk is to a database.
        pid = server.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + MIB, hard))
        content = bytes(range(256)) * 4096
        written = []

        def write():
            session.write_file(f"/f{len(written)}", content)
            written.append(f"/f{len(written)}")

        problem = None
        for _ in range(30):
            if problem := refused(write):
                break
        assert problem is not None
        assert (problem.status, problem.server_code) == (503, "WEB_UNAVAILABLE"), problem
        assert problem.retryable
        # It goes on answering what changes nothing.
        assert client.get_run(kept).stdout == "1\n"
        assert client.list_runs().items
        with Raw(server) as raw:
            asked = head(server, "PUT", "/v1/sessions/kept/files/x", f"content-length: {MIB}")
            raw.send(asked + b"\r\n" + bytes(MIB))
            assert raw.status() == 503
            assert b"retry-after" in raw.held.lower()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        settled(lambda: refused(write) is None)
        assert client.run("print(2)", **PROGRAM).run.stdout == "2\n"
        assert session.run("print(x)").run.stdout == "1\n"
        assert all(session.download(path) == content for path in written)


@pytest.fixture
def postgresql(tmp_path):
    """A database server of this test's own."""
    found = PostgreSql.start(tmp_path)
    if found is None:
        pytest.skip("no PostgreSQL server program is installed")
    yield found
    found.stop()


def test_postgresql_starts_again(tmp_path, postgresql):
    """While it is away changes are 503; then all goes on, and what was acknowledged is there."""
    options = ("--bind", "127.0.0.1:0", "--workers", "0", "--store", postgresql.new_url())
    settings = {"CLOCHE_STORE_CONNECT_TIMEOUT_MS": "1000"}
    server = Serving(tmp_path, *options, is_placed=False, **settings)
    statuses, acknowledged, is_over = [], {}, threading.Event()

    def keep_starting():
        with server.client(attempt_count=1) as client:
            number = 0
            while not is_over.is_set():
                number += 1
                try:
                    run = client.start(f"print({number})", **PROGRAM)
                    acknowledged[run.id] = f"{number}\n"
                except ServerAnswerError as error:
                    statuses.append(error.status)
                    time.sleep(0.02)

    clients = [threading.Thread(target=keep_starting) for _ in range(4)]
    try:
        for each in clients:
            each.start()
        settled(lambda: len(acknowledged) > 20)
        postgresql.kill()
        settled(lambda: len(statuses) > 20)
        postgresql.launch()
        before = len(acknowledged)
        settled(lambda: len(acknowledged) > before + 20)
        is_over.set()
        for each in clients:
            each.join()
        assert set(statuses) == {503}
        with server.client() as client:
            for run_id, printed in acknowledged.items():
                run = settled(
                    lambda run_id=run_id: (
                        found
                        if (found := client.get_run(run_id)).status not in ("queued", "running")
                        else None
                    )
                )
                assert (run.status, run.stdout) == ("completed", printed), run
    finally:
        is_over.set()
        server.kill()
