"""Attack: a worker that a guest took over says what it likes."""

from __future__ import annotations

import os
import signal
import sys
import threading

import msgspec
import pytest
from tests.server.test_workers import Handler, Journal, Scripted, asked, start_frame, workers

from cloche.exec.adapters.effects import CancelToken
from cloche.exec.adapters.session_machine import Kept
from cloche.exec.errors import RuntimeFailedError, WorkerLostError
from cloche.exec.session_log import Ran, Step, Upload
from cloche.gate.policy import Policy
from cloche.limits import Limits
from cloche.server import worker_frames as frames
from cloche.server.adapters import processes
from cloche.server.adapters.conversation import Conversation
from cloche.server.adapters.quick_job import QuickJob
from cloche.server.worker_errors import ErrorFrame, error_of

__all__ = ["workers"]  # a fixture

POLICY = Policy.allow(tool=["send"])
LIMITS = Limits().replace(
    {
        "guests": {"output_limit_bytes": 1 << 16},
        "gate": {"effect_count_max": 10, "effect_concurrency_max": 2, "args_limit_bytes": 1 << 16},
    }
)
FAULT = frames.Done(job=1, is_fault=True)


class Liar(Scripted):
    """Says everything at once."""

    killed = ""

    def send(self, frame):
        self.heard.append(frame)
        while self.say:
            self.box.put(self.say.pop(0))

    def send_now(self, frame):
        self.send(frame)
        return True

    def kill(self, problem):
        if not self.killed:
            self.killed = problem
            self.box.put(None)


def effect(question, target="send", args=b"{}", run_id="r", kind="tool"):
    """Return a question for an effect."""
    return frames.Effect(
        job=1, question=question, run_id=run_id, sequence=0, task="main", ordinal=0,
        kind=kind, target=target, args=args, args_text=None,
    )  # fmt: skip


def heard_of(workers, *say, **options):
    """Let a worker say something of a run; return it, the problem, and what else came of it."""
    worker = Liar(*say)
    request = asked("1", limits=LIMITS, policy=POLICY)
    conversation = Conversation(workers, request, **options)
    conversation.options("mine")
    with pytest.raises(WorkerLostError):
        conversation.talk(worker, lambda job: frames.Cancel(job=job))
    return worker


def output(size):
    return frames.Output(job=1, stream="stdout", data=b"x" * size)


LIES = {
    "output": [output(1 << 16)] * 100,
    "output at the end": [frames.Done(job=1, output=[("stdout", b"x" * (4 << 20))])],
    "many effects": [effect(n, target="other") for n in range(5000)],
    "a large effect": [effect(1, args=b'"' + b"x" * (4 << 20) + b'"')],
    "a long target": [effect(1, target="x" * 100_000)],
    "no arguments": [effect(1, args=b"{")],
    "deep arguments": [effect(1, args=b"[" * 30_000)],
    "records": [frames.Records(job=1, question=n, records=[b"x" * (1 << 20)]) for n in range(60)],
}


@pytest.mark.parametrize("name", LIES)
def test_more_than_a_run_can_say(workers, name):
    """A worker that says more than its run may have is ended, and its run is lost."""
    limits = LIMITS.replace({"gate": {"journal_limit_bytes": 1 << 20}})
    worker = Liar(*LIES[name])
    sink = Journal()
    request = asked("1", limits=limits, policy=POLICY)
    conversation = Conversation(workers, request, sink=sink, on_output=lambda *_: None)
    with pytest.raises(WorkerLostError):
        conversation.talk(worker, lambda job: frames.Cancel(job=job))
    assert worker.killed
    assert sum(map(len, sink.records)) <= 4 << 20


def test_more_than_anybody_takes(workers):
    """What waits to be listened to is bounded: a flood ends its worker, not the server."""
    conversation = Conversation(workers, asked("1"))
    worker = Liar()
    worker.open(conversation)
    conversation._process = worker
    most = workers.server.worker_frame_limit_bytes
    piece = output(1 << 20)
    for _ in range(4 * (most >> 20)):
        conversation.put(piece)
    assert worker.killed == "it said more than anybody takes"
    assert conversation._frames.qsize() <= (most >> 20) + 1


def test_small_frames_count_too(workers, monkeypatch):
    """So do frames with nothing in them."""
    low = Limits().replace({"server": {"worker_frame_limit_bytes": 16 << 20}})
    monkeypatch.setattr(workers, "server", low.server)
    conversation, worker = Conversation(workers, asked("1")), Liar()
    worker.open(conversation)
    conversation._process = worker
    empty = frames.CancelEffect(job=1, question=1)
    for _ in range(low.server.worker_frame_limit_bytes // 200):
        if worker.killed:
            break
        conversation.put(empty)
    assert worker.killed


def test_another_run_s_name(workers):
    """Effects are performed as the server's run, whatever id its worker says."""
    handler = Handler(lambda _request: 1)
    worker = Scripted(effect(1, run_id="somebody-else"), FAULT)
    conversation = Conversation(
        workers, asked("1", policy=POLICY), handlers={"tool": handler}, on_output=None
    )
    conversation.options("mine")
    with pytest.raises(Exception, match="a fault that nobody had"):
        conversation.talk(worker, lambda job: frames.Cancel(job=job))
    assert [seen[3] for seen in handler.seen] == ["mine"]


def test_where_nothing_runs(workers):
    """A worker that is asked for a file of a session performs no effect by it."""
    worker = Liar(effect(1))
    with pytest.raises(WorkerLostError, match="where nothing runs"):
        Conversation(workers).talk(worker, lambda job: frames.Cancel(job=job))
    assert worker.killed


@pytest.mark.parametrize("what", ["content", "journal"])
def test_what_is_kept_of_others(workers, what):
    """Who wakes a session gets at its own steps, and at nothing else that is kept."""
    fetched = []

    def get(name):
        fetched.append(name)
        return b"kept"

    kept = Kept(content=get, journal=get, request=get)
    steps = [
        Step(ordinal=1, operation=Upload(path="/a", sha256="a" * 64, size_bytes=1), state="s"),
        Step(ordinal=2, operation=Ran(run_id="own", journal_hash="h"), state="s"),
    ]
    for name in ("b" * 64, "other", "", "a" * 63):
        worker = Liar(frames.Fetch(job=1, question=1, what=what, name=name))
        conversation = Conversation(workers, kept=kept, limits=LIMITS, tail=steps)
        with pytest.raises(WorkerLostError, match="nothing to do with"):
            conversation.talk(worker, lambda job: frames.Cancel(job=job))
    assert fetched == []
    own = frames.Fetch(job=1, question=1, what="content", name="a" * 64)
    worker = Liar(*[own] * 100)
    with pytest.raises(WorkerLostError):
        Conversation(workers, kept=kept, limits=LIMITS, tail=steps).talk(
            worker, lambda job: frames.Cancel(job=job)
        )
    assert len(fetched) <= 2


@pytest.mark.parametrize(
    "say", [[output(1 << 20)] * 8, [frames.Done(job=1)], [effect(1)], [FAULT], [None]]
)
def test_a_quick_run(workers, say):
    """A run that no thread waits for ends once, with an error, however its worker lies."""
    told = []
    worker = Liar(*say)
    request = asked("1", limits=LIMITS)
    done = lambda execution, error: told.append((execution, error))  # noqa: E731
    job = QuickJob(workers, worker, request, lambda *_: None, CancelToken(), done)
    job.begin("mine")
    ((execution, error),) = told
    assert execution is None
    assert error is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"message": "other", "self": 1, "fields": {}},
        {"code": "OK", "blame": "caller", "retryable": True, "status": 200},
        {"to_document": "x", "__class__": "x", "args": [], "__dict__": {}, "with_traceback": 1},
    ],
)
def test_errors_stay_what_they_are(fields):
    """No field of an error that is told of becomes a part of the error."""
    frame = ErrorFrame(
        module=RuntimeFailedError.__module__, name="RuntimeFailedError", message="m", fields=fields
    )
    error = error_of(frame)
    plain = error_of(ErrorFrame(module=frame.module, name=frame.name, message="m"))
    assert {**error.to_document(), "fields": {}} == {**plain.to_document(), "fields": {}}
    assert error.fields.keys() <= {"status"}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("cloche.web.errors", "UnauthorizedError"),
        ("cloche.server.errors", "ScopeError"),
        ("cloche.store.errors", "StoreUnavailableError"),
        ("os", "system"),
        ("builtins", "SystemExit"),
    ],
)
def test_errors_of_others(module, name):
    """A worker raises no error of HTTP, keys or tenants in the server."""
    assert type(error_of(ErrorFrame(module=module, name=name, message="m"))) is WorkerLostError


WRONG = msgspec.msgpack.encode([17, "one", 2, 3])
RAW = {
    "a giant frame": (0xFFFFFFFF).to_bytes(4, "little") + b"x",
    "an empty frame": bytes(4),
    "no msgpack": b"\x05\0\0\0\xc1\xc1\xc1\xc1\xc1",
    "deep msgpack": (100_000).to_bytes(4, "little") + b"\x91" * 100_000,
    "a frame of the server": frames.encode(frames.Cancel(job=1), 1000),
    "wrong types": len(WRONG).to_bytes(4, "little") + WRONG,
    "a large array": b"\x05\0\0\0\xdd\xff\xff\xff\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("name", RAW)
def test_raw_bytes(tmp_path, monkeypatch, name):
    """Bytes that no worker says end their worker; who waits for it is told, and nothing else."""
    (tmp_path / "bytes").write_bytes(RAW[name])
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/bash\neval "cat {tmp_path}/bytes >&$4"\n')
    fake.chmod(0o700)
    monkeypatch.setattr(processes.sys, "executable", str(fake))
    lost = threading.Event()
    worker = processes.WorkerProcess(
        start_frame(), 1 << 20, lambda process: lost.set() if process.is_lost else None
    )
    monkeypatch.setattr(processes.sys, "executable", sys.executable)
    assert lost.wait(30)
    with pytest.raises(WorkerLostError):
        worker.open(Liar())
    assert not worker.is_ready


def test_who_does_not_listen(monkeypatch):
    """A worker that takes nothing is ended, and holds no thread of the server for good."""
    monkeypatch.setattr(processes, "_DEAF_S", 1)
    lost = threading.Event()
    worker = processes.WorkerProcess(
        start_frame(), 1 << 20, lambda process: lost.set() if process.is_lost else None
    )
    os.kill(worker.pid, signal.SIGSTOP)
    frame = frames.Call(job=0, machine=1, method="upload", args=b"x" * (1 << 19))
    for _ in range(100):
        worker.send(frame)
    assert lost.wait(30)
    assert worker.problem == "it did not listen"
