"""A worker that an app has taken over: what holds it, and what it can say of the app alone."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec
import pytest
from tests.abuse.test_worker_lies import Liar
from tests.apps.support import ask, parts
from tests.server.test_worker_apps import ASKS, HELLO, LIMITS, built, host, process_of, workers
from tests.server.test_workers import Handler

from cloche.apps.adapters.builder import Builder
from cloche.apps.adapters.evaluation import evaluate
from cloche.apps.adapters.host import AppHost
from cloche.apps.messages import Collected
from cloche.engine.errors import SnapshotError
from cloche.exec.adapters.runner import Runner
from cloche.exec.api import default_runner
from cloche.exec.errors import WorkerLostError
from cloche.server import worker_frames as frames
from cloche.server.adapters.hardening import has_seccomp
from cloche.server.adapters.remote_apps import RemoteApps

__all__ = ["host", "workers"]  # fixtures

HELD = platform.machine() in ("x86_64", "aarch64") and has_seccomp()
NOTHING = frames.Done(job=1)


# --- what holds it ---


def seen_while_it_runs(workers, host, look):
    """Return what a function sees of the process that runs an app, while it does."""
    app, found = built(host, ASKS, storage=["kv"]), []

    def act(_request):
        found.append(look(Path(f"/proc/{process_of(workers).pid}")))
        return {"found": False}

    assert ask(app, on=host, handlers={"kv": Handler(act)}).status == 200
    return found[0]


@pytest.mark.skipif(not HELD, reason="the kernel filters nothing")
def test_held_by_the_kernel(workers, host):
    """The process has the filter of system calls, no rights to gain, and limits."""
    status, limits = seen_while_it_runs(
        workers,
        host,
        lambda place: ((place / "status").read_text(), (place / "limits").read_text()),
    )
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (said["Seccomp"], said["NoNewPrivs"]) == ("2", "1")
    assert int(said["CapEff"], 16) == 0
    bounds = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
    assert bounds["Max core file size"] == "0"
    assert bounds["Max data size"] != "unlimited"
    assert bounds["Max open files"] == "1024"


@pytest.mark.skipif(not Path("/proc").exists(), reason="nobody says what is open")
def test_nothing_of_the_server_is_open(workers, host):
    """It has one socket, to the server, and files in memory that nobody can write."""
    links = seen_while_it_runs(
        workers,
        host,
        lambda place: [
            str(each.readlink())
            for each in (place / "fd").iterdir()
            if int(each.name) > 2  # beside the standard streams
        ],
    )
    sockets = [each for each in links if each.startswith("socket:")]
    assert len(sockets) == 1
    known = ("socket:", "pipe:", "/dev/null", "/memfd:cloche-")
    other = [each for each in links if not each.startswith(known)]
    assert all(each.endswith((".mem", ".cwasm", "/pagemap")) for each in other), other


def test_descriptors_are_sealed(host):
    """What a worker is handed of an app cannot be changed, so others have what was evaluated."""
    image = built(host, HELLO).image
    with pytest.raises(PermissionError):
        os.pwrite(image.memory.descriptor, b"x", 0)


# --- what it can say ---


class Pool:
    """Has one worker that says what it was told to."""

    def __init__(self, worker):
        self.worker = worker

    def pick(self):
        """Return it."""
        return self.worker

    def all(self):
        """Return it, too."""
        return [self.worker]


def lying(workers, monkeypatch, *say):
    """Return a host whose worker says this, and the worker."""
    worker = Liar(*say)
    worker.apps = type(process_of(workers).apps)()
    worker.is_condemned = True
    worker.send_with = lambda frame, descriptors: None
    monkeypatch.setattr(workers, "processes", Pool(worker))
    return AppHost(workers, LIMITS, guests=RemoteApps(workers)), worker


def told(target, args):
    """Return an effect that is told."""
    return frames.Output(job=1, stream=target, data=msgspec.json.encode(args))


def local():
    """Return an app that was made in this process."""
    return AppHost(Runner(default_runner().images), LIMITS).build(*parts(HELLO))


LINE = {"level": "info", "message": "x", "fields": {}}


@pytest.mark.parametrize(
    "say",
    [
        [frames.Output(job=1, stream="log", data=b"{")],
        [frames.Output(job=1, stream="respond", data=b"[" * 100_000)],
        [told("log", LINE)] * (LIMITS.apps.effect_count_max + 1100),
        [told("respond", {"status": 200, "body": "x" * (64 << 20)})],
    ],
    ids=["no JSON", "deep", "many", "large"],
)
def test_what_no_app_says(workers, monkeypatch, say):
    """A worker that tells of more than its app can say is ended; the client is told."""
    app = local()
    host, worker = lying(workers, monkeypatch, *say)
    reply = Collected()
    with pytest.raises(WorkerLostError):
        ask(app, on=host, reply=reply)
    assert worker.killed
    assert reply.status == 503


@pytest.mark.parametrize(
    "args",
    [
        {"status": 200, "headers": [["x-a", "b\r\nset-cookie: c=d"]], "body": ""},
        {"status": 101, "headers": [], "body": ""},
        {"status": 200, "headers": [["connection", "close"], ["bad name", "x"]], "body": ""},
        {"status": 200, "headers": [], "body": {"b64": "!"}},
        [],
    ],
)
def test_a_response_is_checked_again(workers, monkeypatch, args):
    """What a worker calls a response that is none reaches no client."""
    app = local()
    execution = execution_frame(app)
    host, _ = lying(
        workers, monkeypatch, told("respond", args), frames.Done(job=1, execution=execution)
    )
    asked = ask(app, on=host)
    assert asked.status == 500
    assert b"set-cookie" not in {name for name, _ in asked.reply.lines}


def execution_frame(app):
    """Return how a run ended well."""
    done = AppHost(Runner(default_runner().images), LIMITS)
    found = ask(app, on=done).execution
    return frames.ExecutionFrame(
        run_id="r",
        language=found.language,
        result=found.result,
        error=None,
        exit_code=0,
        journal_hash=None,
        image=found.image,
        fuel_used=None,
    )


def test_a_second_response(workers, monkeypatch):
    """Of two responses the client gets the first."""
    app = local()
    end = frames.Done(job=1, execution=execution_frame(app))
    host, _ = lying(
        workers,
        monkeypatch,
        told("respond", {"status": 200, "body": "one"}),
        told("respond", {"status": 200, "body": "two"}),
        end,
    )
    assert ask(app, on=host).text == "one"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"memory_bytes": 1 << 40}, "memory"),
        ({"image_id": "0" * 64}, "another image"),
        ({"pages": [1 << 30]}, "do not match"),
        ({"pages": [-1]}, "do not match"),
        ({"content": b""}, "do not match"),
    ],
)
def test_what_no_evaluation_leaves(change, told):
    """A snapshot that does not fit its image is refused before anything is made of it."""
    runner = Runner(default_runner().images)

    def lie(recipe):
        found = evaluate(runner, recipe)
        snapshot = msgspec.structs.replace(found.snapshot, **change)
        return type(found)(
            execution=found.execution,
            handlers=found.handlers,
            asked=found.asked,
            printed=found.printed,
            snapshot=snapshot,
        )

    with pytest.raises(SnapshotError, match=told):
        Builder(runner.images, lie, LIMITS).build(*parts(HELLO))
