"""A worker process: executes runs, and has nothing but the socket to the server.

    python -m cloche.server.worker FD LIMIT_BYTES

Owns the instances of guests, alone and of sessions. Invariants:
- it opens no store, no secret, no socket and no file for writing: what a run needs comes in frames,
  what it does to the world is asked for in frames, and the server decides again;
- one thread at a time reads the socket. It executes what it reads itself, since waking another
  would take longer than most runs; when that takes a while, or asks something, another one reads;
- when the server is gone the process ends at once.

What it cannot do is taken from it before the first guest: see `adapters/hardening.py`.
"""

from __future__ import annotations

import copy
import gc
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.egress.secrets import Scrubber, Secret
from cloche.engine.adapters.cache import Cache
from cloche.engine.adapters.images import Images
from cloche.engine.adapters.pool import Pool
from cloche.engine.adapters.stack import THREAD_STACK_BYTES
from cloche.errors import ClocheError, InternalError
from cloche.exec.adapters.runner import Runner
from cloche.exec.adapters.session_machine import Kept, SessionMachine
from cloche.exec.session_log import SessionSettings, Step
from cloche.gate.journal import load_journal
from cloche.limits import GuestModules
from cloche.server import worker_frames as frames
from cloche.server.adapters import hardening
from cloche.server.pictures import drawn
from cloche.server.worker_apps import WorkerApps
from cloche.server.worker_errors import error_frame
from cloche.server.worker_frames import Answer, Done
from cloche.server.worker_job import (
    AskingSink,
    Connection,
    Fault,
    Handlers,
    HoldingSink,
    Job,
    Streams,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.engine.virtual_os import Stream
    from cloche.exec.adapters.runner import Execution
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.limits import Limits

_BASE_DATA_BYTES: Final = 2 << 30
_OPEN_FILE_MAX: Final = 1024
_READY_MAX: Final = 8  # instances that wait, beside those that run
_PATIENCE_S: Final = 0.002  # how long the server may not be heard while something is executed
_FOLLOWER_MAX: Final = 2
_CALM_COUNT: Final = 25  # looks that find nothing before the main thread looks no more


class JobRunner(Runner):
    """A runner whose secrets come with the run: the process has none of its own."""

    def __init__(self, images: Images, *, pool_size: int) -> None:
        super().__init__(images, pool_size=0)
        # Between two runs, by the thread that executed one: another would wait for its lock.
        self._pool = Pool(pool_size, has_thread=False)
        self.secrets = b""

    def tend(self) -> None:
        """Make instances ready for the runs to come."""
        self._pool.tend()

    def hiding(self, secrets: bytes) -> JobRunner:
        """Return a runner that takes secrets out of what is printed."""
        found = copy.copy(self)
        found.secrets = secrets
        return found

    def _scrubber(self, request: RunRequest, *, is_replay: bool) -> Scrubber | None:
        del request, is_replay
        if not self.secrets:
            return None
        return Scrubber(msgspec.json.decode(self.secrets, type=list[Secret]))


class Machine(msgspec.Struct, kw_only=True):
    """A machine of a session, and what it runs with."""

    runner: Any
    machine: Any


class Worker:
    """One process that executes what the server asks for.

    Args:
        connection: to the server.
        runner: executes.
        limits: of the process.
    """

    def __init__(self, connection: Connection, runner: JobRunner, limits: Limits) -> None:
        self._connection = connection
        self._runner = runner
        self._limits = limits
        self._streams = Streams(connection)
        self._reading = threading.Lock()  # held by the thread that reads, or is to
        self._state = threading.Lock()
        self._led: Job | None = None  # what the thread that is to read executes meanwhile
        self._led_since_s = 0.0
        self._follower_count = 0
        self._is_watched = threading.Event()
        self._jobs: dict[int, Job] = {}
        self._machines: dict[int, Machine] = {}
        self._apps = WorkerApps(runner, limits)

    def serve(self) -> None:
        """Execute until the server is gone, or there are threads enough."""
        while True:
            with self._state:
                self._follower_count += 1
            self._reading.acquire()
            with self._state:
                self._follower_count -= 1
            is_leading = True
            while is_leading:
                frame, job = self._next_job()
                job.hand_over = self._hand_over
                with self._state:
                    self._led, self._led_since_s = job, time.monotonic()
                if not self._is_watched.is_set():
                    self._is_watched.set()
                self._execute(frame, job)
                with self._state:
                    is_leading = self._led is job
                    self._led = None if is_leading else self._led
                    if not is_leading and self._follower_count >= _FOLLOWER_MAX:
                        return

    def _hand_over(self, job: Job) -> None:
        """Let another thread read, since this job takes a while or asks something."""
        with self._state:
            if self._led is not job:
                return
            self._led = None
            has_follower = self._follower_count > 0
        self._connection.flush()
        self._streams.release(job)
        if not has_follower:
            threading.Thread(target=self.serve, name="cloche-job", daemon=True).start()
        self._reading.release()

    def watch(self) -> None:
        """Hand over for threads that execute something for a while. The main thread's work."""
        calm_count = 0
        while True:
            self._is_watched.wait()
            time.sleep(_PATIENCE_S)
            with self._state:
                job = self._led
                is_late = time.monotonic() - self._led_since_s >= _PATIENCE_S
                # Between two jobs it goes on: to be waked for each would take longer than to look.
                calm_count = calm_count + 1 if job is None else 0
                if calm_count > _CALM_COUNT:
                    calm_count = 0
                    self._is_watched.clear()
            if job is not None and is_late:
                self._hand_over(job)

    def _next_job(self) -> tuple[Any, Job]:
        while True:
            frame = self._connection.read()
            if isinstance(frame, _JOBS):
                job = self._jobs[frame.job] = Job(self._connection, frame.job)
                return frame, job
            self._heed(frame)

    def _heed(self, frame: Any) -> None:
        """Do what a frame says that is no job."""
        found = self._jobs.get(frame.job)
        if isinstance(frame, Answer):
            if found is not None:
                found.take(frame)
        elif isinstance(frame, frames.Cancel):
            if found is not None:
                found.cancel.cancel()
        elif isinstance(frame, frames.Ping):
            self._connection.send(frames.Hello(job=0, protections=[]))
        elif isinstance(frame, frames.HoldApp):
            passed = self._connection.descriptors
            self._apps.hold(frame, passed.popleft(), passed.popleft())
        elif isinstance(frame, frames.DropApp):
            self._apps.drop(frame.app)
        elif isinstance(frame, frames.Close):
            kept = self._machines.pop(frame.machine, None)
            if kept is not None:
                kept.machine.close()

    def _execute(self, frame: Any, job: Job) -> None:
        done = Done(job=job.number)
        try:
            done = self._done(frame, job)
        except Fault:
            done = Done(job=job.number, is_fault=True)
        except ClocheError as error:
            done = Done(job=job.number, error=error_frame(error))
        except BaseException as error:  # noqa: BLE001 - told to the server, which logs it
            told = InternalError(f"{type(error).__name__} in a worker: {error}")
            done = Done(job=job.number, error=error_frame(told))
        if not self._is_awake(frame):
            done = msgspec.structs.replace(done, is_awake=False)
        output = self._streams.end(job)
        if output:
            done = msgspec.structs.replace(done, output=output)
        del self._jobs[job.number]
        try:
            # A job that took a while is not what the thread that reads does, and told at once.
            say = self._connection.tell if job.is_led else self._connection.send
            say(done)
        except (ClocheError, TypeError, ValueError) as error:
            told = InternalError(f"what a job came to cannot be told: {error}")
            self._connection.send(Done(job=job.number, error=error_frame(told), is_awake=False))
        if job.tend is None:
            self._runner.tend()
        else:
            job.tend()

    def _is_awake(self, frame: Any) -> bool:
        if isinstance(frame, frames.Run | frames.RunApp | frames.Evaluate):
            return True
        number = frame.job if isinstance(frame, frames.Wake) else frame.machine
        kept = self._machines.get(number)
        return kept is not None and kept.machine.awake

    def _done(self, frame: Any, job: Job) -> Done:
        if isinstance(frame, frames.Run):
            secrets = frame.options.secrets
            runner = self._runner.hiding(secrets) if secrets else self._runner
            return self._run(job, frame.options, runner.execute)
        if isinstance(frame, frames.RunApp):
            execution, records = self._apps.run(frame, job, self._streams)
            told = _execution_frame(execution)
            return Done(job=job.number, execution=told, records=records)
        if isinstance(frame, frames.Wake):
            self._wake(frame, job)
            return Done(job=job.number)
        if isinstance(frame, frames.Evaluate):
            execution, value = self._apps.evaluate(frame)
            return Done(job=job.number, execution=_execution_frame(execution), value=value)
        kept = self._machines.get(frame.machine)
        if kept is None:
            raise InternalError(f"this worker has no machine {frame.machine}")
        if isinstance(frame, frames.RunIn):
            kept.runner.secrets = frame.options.secrets
            return self._run(job, frame.options, kept.machine.run)
        method = _METHODS[frame.method]
        value = method(kept.machine, *msgspec.msgpack.decode(frame.args))
        return Done(job=job.number, value=msgspec.msgpack.encode(value))

    def _run(self, job: Job, options: frames.RunOptions, execute: Callable[..., Execution]) -> Done:
        sink: AskingSink | HoldingSink | None = None
        if options.journal == "each":
            sink = AskingSink(job)
        elif options.journal == "late":
            sink = HoldingSink()
        request = frames.request_of_frame(options.request, self._limits)
        execution = execute(
            request,
            handlers=Handlers(job, options.kinds),
            on_output=self._listener(job) if options.is_streamed else None,
            sink=sink,
            replay=self._journal(options.replay),
            resume=self._journal(options.resume),
            record=options.is_recorded,
            cancel=job.cancel,
            run_id=options.run_id,
        )
        records = sink.records if isinstance(sink, HoldingSink) else []
        told = _execution_frame(execution)
        if options.has_pictures:
            pictures = drawn(execution.files, given=request.files, cwd=request.cwd)
            told = msgspec.structs.replace(told, pictures=pictures)
        return Done(job=job.number, execution=told, records=records)

    def _listener(self, job: Job) -> Callable[[Stream, bytes], None]:
        return lambda stream, data: self._streams.write(job, stream, data)

    def _journal(self, data: bytes | None) -> Journal | None:
        return None if data is None else load_journal(data, self._limits)

    def _wake(self, frame: frames.Wake, job: Job) -> None:
        requests: dict[int, RunRequest] = {}

        def content(name: str) -> bytes:
            return job.ask(
                lambda number: frames.Fetch(
                    job=job.number, question=number, what="content", name=name
                )
            ).data

        def journal(run_id: str) -> Journal:
            answer = job.ask(
                lambda number: frames.Fetch(
                    job=job.number, question=number, what="journal", name=run_id
                )
            )
            kept = msgspec.msgpack.decode(answer.data, type=frames.KeptRun)
            found = load_journal(kept.journal, self._limits)
            requests[id(found)] = frames.request_of_frame(kept.request, self._limits)
            return found

        runner = self._runner.hiding(b"")
        machine = runner.machine(
            msgspec.json.decode(frame.settings, type=SessionSettings),
            frames.limits_of(frame.limits),
            key=frame.key,
            snapshot=frame.snapshot,
            tail=msgspec.msgpack.decode(frame.tail, type=list[Step]),
            kept=Kept(
                content=content, journal=journal, request=lambda found: requests.pop(id(found))
            ),
        )
        self._machines[job.number] = Machine(runner=runner, machine=machine)


_JOBS: Final = (
    frames.Run, frames.RunApp, frames.Wake, frames.Call, frames.RunIn, frames.Evaluate,
)  # fmt: skip
# All that the server may call of a machine.
_METHODS: Final[dict[str, Any]] = {
    "upload": SessionMachine.upload,
    "check_vacant": SessionMachine.check_vacant,
    "mount": lambda machine, path, picture, writable: machine.mount(
        path, picture, writable=writable
    ),
    "remove": SessionMachine.remove,
    "download": SessionMachine.download,
    "list_files": lambda machine, path, recursive: machine.list_files(path, recursive=recursive),
    "is_directory": SessionMachine.is_directory,
    "size_bytes": SessionMachine.size_bytes,
    "snapshot": SessionMachine.snapshot,
}


def _execution_frame(execution: Execution) -> frames.ExecutionFrame:
    suspension = execution.suspension
    return frames.ExecutionFrame(
        run_id=execution.run_id,
        language=execution.language,
        result=execution.result,
        error=None if execution.error is None else error_frame(execution.error),
        exit_code=execution.exit_code,
        journal_hash=execution.journal_hash,
        image=execution.image,
        fuel_used=execution.fuel_used,
        is_suspended=suspension is not None,
        due_ns=None if suspension is None else suspension.due_ns,
    )


def main(arguments: Sequence[str]) -> None:
    """Be a worker, on the socket that this process was given."""
    dies_with_parent = hardening.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to act on
    limit_bytes = int(arguments[1])
    connection = Connection(socket.socket(fileno=int(arguments[0])), limit_bytes)
    start = connection.read()
    if not isinstance(start, frames.Start):
        raise InternalError(f"a worker was told {type(start).__name__} before its start")
    limits = frames.limits_of(start.limits)
    protections = ["parent_death"] if dies_with_parent else []
    protections += _hold(start, limits)
    threading.stack_size(THREAD_STACK_BYTES)
    runner = JobRunner(
        Images(
            limits,
            modules=GuestModules(
                javascript_path=start.javascript_path, python_path=start.python_path
            ),
            cache=Cache(Path(start.cache), lock_timeout_ms=limits.engine.compile_lock_timeout_ms),
        ),
        pool_size=limits.engine.pool_size,
    )
    for name in start.images:
        runner.images.get(name)
    if hardening.filter_calls():
        protections.append("seccomp")
    gc.collect()
    gc.freeze()  # what is here stays, and the collector need not look at it again
    connection.send(frames.Hello(job=0, protections=protections))
    worker = Worker(connection, runner, limits)
    threading.Thread(target=worker.serve, name="cloche-job", daemon=True).start()
    worker.watch()


def _hold(start: frames.Start, limits: Limits) -> list[str]:
    """Take from this process what it does not need, while it has one thread; say what that was."""
    guests = limits.server.run_memory_limit_bytes_max
    hardening.limit_resources(
        data_limit_bytes=_BASE_DATA_BYTES
        + guests * (start.run_count_max + _READY_MAX)
        + _app_bytes(limits),
        file_limit_bytes=limits.engine.snapshot_limit_bytes,
        open_file_max=_OPEN_FILE_MAX,
    )
    found = ["rlimits"]
    if hardening.drop_privileges():
        found.append("no_new_privs")
    modules = [start.javascript_path, start.python_path]
    places = [Path(start.cache), *(Path(path) for path in modules if path)]
    if hardening.close_files([*hardening.python_places(), *places]):
        found.append("landlock")
    return found


def _app_bytes(limits: Limits) -> int:
    """Return what apps may take together: those that answer, and those that wait."""
    apps = limits.apps
    at_work = apps.thread_count_max + apps.socket_count_max + apps.job_worker_count
    ready = limits.server.worker_app_count_max * apps.warm_instance_count_max
    each = limits.guests.memory_limit_bytes
    return each * (at_work + ready) + THREAD_STACK_BYTES * at_work


if __name__ == "__main__":
    main(sys.argv[1:])
