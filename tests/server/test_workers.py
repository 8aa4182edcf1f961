"""Runs, effects and sessions in a real worker process; what it may not do; how it is replaced."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading

import pytest

from cloche.exec.adapters.effects import CancelToken
from cloche.exec.adapters.runner import Runner
from cloche.exec.adapters.session_store import read_records
from cloche.exec.api import default_runner, make_request, use_runner
from cloche.exec.errors import (
    FileAccessError,
    InvalidRunError,
    WorkerLostError,
    WorkersStoppedError,
)
from cloche.exec.session import Session, sessions_of
from cloche.gate.journal import encode_file, load_journal
from cloche.gate.policy import Policy
from cloche.gate.ports import EffectFailure, EffectSuspended
from cloche.limits.adapters.settings import guest_modules, load_limits
from cloche.server import worker_frames as frames
from cloche.server.adapters import processes as adapter
from cloche.server.adapters.conversation import Conversation
from cloche.server.adapters.hardening import has_seccomp, landlock_version
from cloche.server.adapters.processes import Processes
from cloche.server.adapters.remote import WorkerRunner
from cloche.server.errors import ServeError
from cloche.store.open import open_store

WAIT_S = 60
# A machine that has other things to do makes no run late, and no worker stuck.
LIMITS = load_limits().replace(
    {
        "guests": {"timeout_ms": 100_000},
        "server": {"worker_grace_ms": 60_000, "worker_settled_ms": 0},
    }
)
HELD = platform.machine() in ("x86_64", "aarch64")


def start_frame(**changes):
    """Return what a worker is told first."""
    images, modules = default_runner().images, guest_modules()
    values = {
        "limits": frames.limits_text(LIMITS),
        "cache": str(images.cache.root.parent),
        "javascript_path": modules.javascript_path,
        "python_path": modules.python_path,
        "images": [],
        "run_count_max": 4,
    }
    return frames.Start(job=0, **{**values, **changes})


@pytest.fixture(scope="module")
def workers():
    """A runner with one worker, and what was logged of it."""
    images = default_runner().images
    for name in ("javascript", "python"):
        images.get(name)
    records = []
    processes = Processes(LIMITS, count=1, start=start_frame(), log=records.append)
    processes.start()
    runner = WorkerRunner(images, processes, LIMITS)
    runner.records = records
    yield runner
    processes.stop()


class Journal:
    """Holds records."""

    def __init__(self):
        self.records = []

    def append(self, records):
        """Hold them."""
        self.records += records

    def close(self):
        """Nothing to do."""


class Late(Journal):
    """Gets its records with the end."""

    is_late = True


class Handler:
    """Performs effects by a function."""

    def __init__(self, act):
        self.act = act
        self.seen = []

    def perform(self, request, run_id):
        """Perform one."""
        self.seen.append((request.kind, request.target, request.args, run_id))
        return self.act(request)


def asked(code, **options):
    """Return a request that is the same whenever it is made."""
    return make_request(code, **{"limits": LIMITS, "seed": 1, "now_ns": 10**18, **options})


def pid(workers):
    """Return the id of the worker, when there is one."""
    return workers.processes.pick().pid


def kill(workers):
    """End the worker, and wait until that is known."""
    process = workers.processes.pick()
    process.kill("it was to end")
    lost = threading.Event()
    while not process.is_lost:
        lost.wait(0.01)


# --- runs ---


@pytest.mark.parametrize("sink", [Journal, Late])
@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import random; print(random.random())\nraise ValueError('no')"),
        ("javascript", "console.log(Math.random()); console.error('e')"),
        ("typescript", "const x: number = 1; console.log(x)"),
    ],
)
def test_the_same_as_here(workers, sink, language, code):
    """A run in a worker gives what it gives in this process: output, result, journal, hash."""
    request = asked(code, language=language)
    found, local = [], []
    ours, theirs = Journal(), sink()
    here = Runner(workers.images).execute(request, on_output=lambda *p: local.append(p), sink=ours)
    there = workers.execute(request, on_output=lambda *p: found.append(p), sink=theirs)
    assert theirs.records == ours.records
    assert there.journal_hash == here.journal_hash is not None
    assert (there.exit_code, there.result.run) == (here.exit_code, here.result.run)
    for stream in ("stdout", "stderr"):
        assert b"".join(d for s, d in found if s == stream) == b"".join(
            d for s, d in local if s == stream
        )
    if here.error is None:
        assert there.error is None
    else:
        assert type(there.error) is type(here.error)
        assert there.error.result == there.result
    journal = load_journal(encode_file(ours.records), LIMITS)
    assert workers.execute(request, replay=journal).journal_hash == here.journal_hash


def test_invalid(workers):
    """What is refused is refused with the same error."""
    with pytest.raises(InvalidRunError, match="cannot be put in place"):
        workers.execute(asked("1", files=[frames.StoredFile(path="/a/../..", content=b"")]))
    with pytest.raises(InvalidRunError, match="runs python, the program is javascript"):
        workers.execute(asked("1", language="javascript", image="python"))


def test_effects(workers):
    """Effects are performed here, at once where they are asked for at once; failures are data."""
    both = threading.Barrier(2, timeout=WAIT_S)

    def act(request):
        if request.target == "meet":
            both.wait()
            return 1 << 70
        if request.target == "strange":
            return object()
        raise EffectFailure("TAKEN", "it is taken", retryable=True)

    handler = Handler(act)
    code = """
        console.log(await Promise.all([tools.meet({a: 1}), tools.meet({a: 2})]))
        for (const name of ["fail", "strange"])
            try { await tools[name]({}) } catch (e) { console.log(e.code) }
    """
    execution = workers.execute(
        asked(code, language="javascript", policy=Policy.allow(tool=["*"])),
        handlers={"tool": handler},
        run_id="r",
    )
    assert execution.error is None, execution.result
    assert execution.result.run.stdout.split()[-2:] == ["TAKEN", "VALUE_INVALID"]
    assert {run_id for *_, run_id in handler.seen} == {"r"}


def test_a_handler_that_breaks(workers):
    """What a handler raises ends the run, and is raised here as it is."""

    class BrokenError(Exception):
        pass

    broken = BrokenError()

    def act(_request):
        raise broken

    request = asked("tools.x()", policy=Policy.allow(tool=["x"]))
    with pytest.raises(BrokenError) as caught:
        workers.execute(request, handlers={"tool": Handler(act)})
    assert caught.value is broken


def test_put_away_and_gone_on(workers):
    """A run whose effect has no answer yet is put away, and goes on behind its journal."""
    request = asked("print(tools.later())", policy=Policy.allow(tool=["*"]))
    sink, answers = Journal(), [EffectSuspended(due_ns=7), None]

    def act(_request):
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return 42

    away = workers.execute(request, handlers={"tool": Handler(act)}, sink=sink, run_id="r")
    assert away.suspension.due_ns == 7
    assert away.journal_hash is None
    journal = load_journal(encode_file(sink.records), LIMITS)
    done = workers.execute(
        request, handlers={"tool": Handler(act)}, sink=sink, resume=journal, run_id="r"
    )
    assert done.result.run.stdout == "42\n"


def test_cancelled(workers):
    """A run that is cancelled ends; the worker lives on."""
    cancel, before = CancelToken(), pid(workers)
    request = asked("print('on', flush=True)\nwhile True: pass")
    execution = workers.execute(request, cancel=cancel, on_output=lambda *_: cancel.cancel())
    assert execution.error.fields["reason"] == "cancelled"
    assert pid(workers) == before


# --- a worker that is not to be believed ---


class Scripted:
    """A worker that says what it was told to say, in its turn."""

    is_lost = False
    problem = "over"

    def __init__(self, *say):
        self.say = list(say)
        self.heard = []

    def open(self, box):
        """Say the first thing."""
        self.box = box
        return 1

    def send(self, frame):
        """Hear, and say the next thing."""
        self.heard.append(frame)
        if self.say:
            self.box.put(self.say.pop(0))

    def close(self, job):
        """Nothing to do."""

    def loss(self):
        """Return what is raised."""
        return WorkerLostError(self.problem)


def effect(question, kind, target):
    """Return a question for an effect."""
    return frames.Effect(
        job=1, question=question, run_id="r", sequence=0, task="main", ordinal=0,
        kind=kind, target=target, args=b"{}", args_text=None,
    )  # fmt: skip


def test_what_no_policy_allows(workers):
    """An effect that a worker asks for against the policy of its run is not performed."""
    handler = Handler(lambda _request: 1)
    worker = Scripted(
        effect(1, "tool", "drop"), effect(2, "shell", "send"), frames.Done(job=1, is_fault=True)
    )
    conversation = Conversation(
        workers, asked("1", policy=Policy.allow(tool=["send"])), handlers={"tool": handler}
    )
    with pytest.raises(Exception, match="a fault that nobody had"):
        conversation.talk(worker, lambda job: frames.Cancel(job=job))
    answers = [frame for frame in worker.heard if isinstance(frame, frames.Answer)]
    assert [answer.kind for answer in answers] == ["failure", "failure"]
    assert handler.seen == []


def test_what_no_run_has(workers):
    """A run by itself is given nothing that is kept of sessions."""
    fetch = frames.Fetch(job=1, question=1, what="content", name="0" * 64)
    worker = Scripted(fetch, frames.Done(job=1, is_fault=True))
    with pytest.raises(Exception, match="asks for what its job has nothing to do with"):
        Conversation(workers, asked("1")).talk(worker, lambda job: frames.Cancel(job=job))


# --- lost ---


def test_lost_and_replaced(workers):
    """Who waits for a worker that is killed is told, and the next run has another one."""
    before = pid(workers)
    request = asked("print('on', flush=True)\nwhile True: pass")
    with pytest.raises(WorkerLostError, match=r"it ended with signal 9; try again$") as caught:
        workers.execute(request, on_output=lambda *_: os.kill(before, signal.SIGKILL))
    assert caught.value.retryable
    assert workers.execute(asked("print(1)")).result.run.stdout == "1\n"
    assert pid(workers) != before
    assert workers.records[-1]["pid"] == before
    assert workers.records[-1]["problem"] == "it ended with signal 9"


def test_stuck(workers):
    """A worker that does not end a run in time is ended."""
    before = pid(workers)
    limits = LIMITS.replace({"guests": {"timeout_ms": 50}, "server": {"worker_grace_ms": 100}})
    impatient = WorkerRunner(workers.images, workers.processes, limits)
    os.kill(before, signal.SIGSTOP)
    with pytest.raises(WorkerLostError, match="it did not stop a run in time"):
        impatient.execute(asked("print(1)", limits=limits))
    assert pid(workers) != before


@pytest.mark.parametrize("waits", [True, False])
def test_more_than_a_socket_holds(workers, waits):
    """It is sent as room comes, also where an event loop has made the socket never wait."""
    workers.execute(asked("1"))
    process = workers.processes.pick()
    request = asked("import sys\nprint(len(sys.stdin.read()))", stdin=b"x" * 8_000_000)
    process._socket.setblocking(waits)
    try:
        assert workers.execute(request).result.run.stdout == "8000000\n"
    finally:
        process._socket.setblocking(True)
    assert pid(workers) == process.pid


def test_deaf(workers, monkeypatch):
    """A worker that takes nothing of what is sent to it is ended."""
    workers.execute(asked("1"))
    monkeypatch.setattr(adapter, "_DEAF_S", 0.2)
    before = pid(workers)
    os.kill(before, signal.SIGSTOP)
    with pytest.raises(WorkerLostError, match="it did not listen"):
        workers.execute(asked("1", stdin=b"x" * 8_000_000))
    assert pid(workers) != before


def test_quick(workers):
    """A run that asks nothing is begun without a thread, and told when it is over or lost."""
    said, is_over = [], threading.Event()

    def done(execution, error):
        said.append((execution, error))
        is_over.set()

    def begin(code, on_output=None, **options):
        is_over.clear()
        request = asked(code, **options)
        found = workers.begin(
            request, run_id="r", on_output=on_output, cancel=CancelToken(), done=done
        )
        return found and is_over.wait(WAIT_S)

    workers.execute(asked("1"))
    assert begin("print(6 * 7)")
    assert said[-1][0].result.run.stdout == "42\n"
    assert begin("while True: pass", limits=LIMITS.replace({"guests": {"timeout_ms": 50}}))
    assert said[-1][0].error.code == "TIMEOUT"
    worker = pid(workers)
    assert begin("print(1, flush=True)\nwhile True: pass", lambda *_: os.kill(worker, 9))
    assert isinstance(said[-1][1], WorkerLostError)
    assert not begin("1", policy=Policy.allow(tool=["*"])), "it may ask for something"
    assert not begin("#" * 100_000), "it would block"


def test_quick_but_not_now(workers):
    """A run is left to a thread while another frame is under way, and when a worker is lost."""
    process, ended = workers.processes.pick(), []

    def begin():
        return workers.begin(
            asked("1"),
            run_id="r",
            on_output=None,
            cancel=CancelToken(),
            done=lambda *said: ended.append(said),
        )

    workers.execute(asked("1"))
    with process._sending:
        assert not begin()
    os.kill(process.pid, signal.SIGSTOP)
    text = asked("#" * 60_000)
    begun = 0
    while workers.begin(
        text,
        run_id="r",
        on_output=None,
        cancel=CancelToken(),
        done=lambda *said: ended.append(said),
    ):
        begun += 1
        assert begun < 1000, "a socket holds no more than this"
    kill(workers)
    deadline = threading.Event()
    while len(ended) < begun:
        deadline.wait(0.01)
    assert {type(error) for _, error in ended} == {WorkerLostError}
    assert len(ended) == begun > 0


def test_pauses(workers):
    """The first replacement comes at once; each pause is twice the one before, up to a limit."""
    delays = [workers.processes._delay_s(count) for count in (0, 1, 2, 3, 4, 40)]
    assert delays == [0.0, 0.0, 0.1, 0.2, 0.4, 30.0]


def test_no_worker_starts():
    """Where no worker can be started that is an error, which says what to do."""
    start = start_frame(limits=b'{"guests": 1}')
    processes = Processes(LIMITS, count=1, start=start, log=lambda _record: None)
    with pytest.raises(ServeError, match=r"it ended with exit code 1; see .* --workers 0"):
        processes.start()
    with pytest.raises(WorkersStoppedError):
        processes.pick()


# --- sessions ---


@pytest.fixture
def session(workers):
    """A session whose guest is in the worker."""
    use_runner(workers)
    store = open_store("memory:")
    yield Session.create("python", store=store)
    sessions_of(store).close()
    use_runner(None)


def test_session(workers, session):
    """Heap and files live on in the worker, and in the store when the worker is lost."""
    session.run("x = 1")
    session.write_file("a/b.txt", b"kept")
    assert session.run("print(x, open('a/b.txt').read())").run.stdout == "1 kept\n"
    assert [entry.path for entry in session.list_files("/", recursive=True)] == ["/a", "/a/b.txt"]
    with pytest.raises(FileAccessError, match="there is no such file"):
        session.download("missing")
    fork = session.fork()
    kill(workers)
    assert session.run("x += 1; print(x)").run.stdout == "2\n"
    assert session.download("a/b.txt") == b"kept"
    sessions_of(session._sessions.store).sleep(session.id)
    assert session.run("print(x)").run.stdout == "2\n"
    assert fork.run("print(x)").run.stdout == "1\n"


def test_session_after_a_limit(workers, session):
    """A run that was stopped leaves the state as it was, and its machine is gone."""
    session.run("x = 1")
    with pytest.raises(Exception, match="longer than 50 ms"):
        session.run(
            "x = 2\nwhile True: pass", limits=LIMITS.replace({"guests": {"timeout_ms": 50}})
        )
    assert session.run("print(x)").run.stdout == "1\n"


def test_session_run_lost(workers, session):
    """The run of a session whose worker is lost stays open, and goes on behind its journal."""
    worker = workers.processes.pick()
    calls, ended = [], threading.Event()

    def once():
        calls.append(1)
        return len(calls)

    def end():
        if not ended.is_set():  # the worker waits for the answer
            os.kill(worker.pid, signal.SIGKILL)
            ended.set()
        return 2

    tools = {"once": once, "end": end}
    code = "n = tools.once()\nprint(n, flush=True)\nx = tools.end()\n"
    with pytest.raises(WorkerLostError):
        session.execute(code, tools=tools)
    store = session._sessions.store
    (row,) = store.runs.list(session_id=session.id, limit=10)
    assert row.status == "running"
    assert read_records(store, row.id)
    assert session.run("print(n, x)", tools=tools).run.stdout == "1 2\n"
    assert calls == [1], "no completed effect is performed again"


# --- what a worker may not do ---


@pytest.mark.skipif(not HELD, reason="no table of system calls for this machine")
def test_protections(workers):
    """A worker says what holds it, which is all that this kernel has."""
    wanted = ["parent_death", "rlimits", "no_new_privs"]
    wanted += ["landlock"] if landlock_version() else []
    wanted += ["seccomp"] if has_seccomp() else []
    (process,) = workers.processes.all() or [workers.processes.pick()]
    assert list(process.protections) == wanted


TRIES = """
import ctypes, os, signal, socket, subprocess, sys, threading
from pathlib import Path
from cloche.server.adapters import hardening
folder = sys.argv[1]
hardening.limit_resources(data_limit_bytes=1 << 32, file_limit_bytes=1 << 20, open_file_max=64)
hardening.drop_privileges()
if hardening.close_files(hardening.python_places()):
    try:
        print(open(folder + "/secret").read())
    except PermissionError:
        print("read refused")
else:
    print("read refused")
assert hardening.filter_calls()
def attempt(name, act):
    try:
        act()
    except OSError as error:
        print(name, "refused")
    else:
        print(name, "done")
attempt("write", lambda: open(folder + "/new", "w"))
attempt("null", lambda: open("/dev/null", "w"))
attempt("remove", lambda: os.unlink(folder + "/secret"))
attempt("socket", socket.socket)
attempt("program", lambda: os.execv("/bin/true", ["true"]))
attempt("process", lambda: subprocess.run(["/bin/true"]))
attempt("fork", os.fork)
attempt("signal", lambda: os.kill(os.getppid(), 0))
attempt("rights", lambda: os.setuid(0))
attempt("own signal", lambda: os.kill(os.getpid(), 0))
thread = threading.Thread(target=lambda: attempt("in a thread", socket.socket))
thread.start()
thread.join()
print("import", __import__("sqlite3").__name__)
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.skipif(not HELD or not has_seccomp(), reason="the kernel filters nothing")
def test_hardened(tmp_path):
    """No file but Python's, no writing, no socket, program, process, signal; threads are held."""
    (tmp_path / "secret").write_text("told")
    done = subprocess.run(
        [sys.executable, "-c", TRIES, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    refused = ["read", "write", "null", "remove", "socket", "program", "process", "fork", "signal",
               "rights"]  # fmt: skip
    assert done.stdout.splitlines() == [
        *(f"{name} refused" for name in refused),
        "own signal done",
        "in a thread refused",
        "import sqlite3",
    ], done.stderr
