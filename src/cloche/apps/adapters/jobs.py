"""Runs the jobs and schedules of apps: takes what is due, calls a function, keeps how it went.

    loop = JobLoop(storage.desk, run_job, limits, owner="host-1:4711")
    storage.on_job(loop.wake)
    loop.start()
    ...
    loop.stop()

Several loops, in one process or many, may work on one store. Invariants:
- a job is run by one loop at a time as long as its lease is renewed; one that dies is silent, and
  after `apps.job_lease_ms` another one takes its jobs;
- what a job did is kept by whoever has its lease: a loop that lost it keeps nothing;
- no app has more than `apps.job_concurrency_max` jobs running, no loop more than
  `apps.job_worker_count`, and apps take turns.

The function runs on a thread of the loop. It does not know how a job is executed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from cloche.apps.storage.errors import JobLostError
from cloche.apps.storage.job_desk import PRUNE_COUNT
from cloche.store.errors import StoreError

if TYPE_CHECKING:
    from cloche.apps.storage.job_desk import JobDesk
    from cloche.apps.storage.rows import JobRow
    from cloche.limits import Limits

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
_RENEWALS_PER_LEASE: Final = 3
_APP_COUNT: Final = 100  # looked at in one step; the next step goes on behind them
_CLEANING_S: Final = 60
_STOP_S: Final = 5.0
_PAUSE_S: Final = 0.05


class JobFailedError(Exception):
    """Raised by the function that runs a job: the attempt failed, for a reason people may read."""


class JobControl:
    """How a loop tells a running job to stop.

    Attributes:
        reason: why: "cancelled", "timeout", "lost", "stopping", or "" as long as it shall go on.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_stopped(self) -> bool:
        """Whether the job was told to stop."""
        return bool(self.reason)

    def on_stop(self, listener: Callable[[], None]) -> None:
        """Call a function when the job is told to stop; at once if it was told before."""
        with self._lock:
            self._listeners.append(listener)
            stopped = self.is_stopped
        if stopped:
            listener()

    def stop(self, reason: str) -> None:
        """Tell the job to stop; only the first reason counts."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            listeners = list(self._listeners)
        for listener in listeners:
            listener()


RunJob = Callable[[str, "JobRow", JobControl], object]
"""(app, job, control) -> result, JSON. `app` is the name in the tables; see `rows.app_parts`."""


class _Running:
    """A job that runs here."""

    def __init__(self, app: str, job: JobRow, now_ns: int, timeout_ms: int) -> None:
        self.app = app
        self.job = job
        self.control = JobControl()
        self.renewed_ns = now_ns
        self.deadline_ns = now_ns + timeout_ms * NS_PER_MS


class JobLoop:
    """Takes and runs jobs until it is stopped.

    Args:
        desk: where jobs are taken from.
        run: executes one; an exception is a failed attempt.
        limits: the group `apps`.
        owner: names this loop among all that work on the store: never used twice.
        now_ns: the wall clock.
        executor: runs the function; threads of the loop's own when none is given.
        on_end: told of each job that ended here, as it is now.
    """

    def __init__(
        self,
        desk: JobDesk,
        run: RunJob,
        limits: Limits,
        *,
        owner: str,
        now_ns: Callable[[], int] = time.time_ns,
        executor: Executor | None = None,
        on_end: Callable[[str, JobRow], None] | None = None,
    ) -> None:
        self._desk = desk
        self._run = run
        self._limits = limits.apps
        self._owner = owner
        self._now_ns = now_ns
        self._executor = executor or ThreadPoolExecutor(
            self._limits.job_worker_count, thread_name_prefix="cloche-job"
        )
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], _Running] = {}
        self._woken = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._next_app = ""
        self._cleaned_ns = 0
        self._seen_apps: set[str] = set()

    @property
    def running_count(self) -> int:
        """How many jobs run here now."""
        with self._lock:
            return len(self._running)

    # --- life ---

    def start(self) -> None:
        """Begin to take jobs, on a thread."""
        self._thread = threading.Thread(target=self._loop, name="cloche-jobs", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for jobs now."""
        self._woken.set()

    def stop(self, *, drain_s: float = 10.0) -> None:
        """Take no more jobs; wait for those that run, then give back those that still do.

        Args:
            drain_s: how long they may go on. A job that does not stop when it is told keeps its
                thread; its lease ends, and another loop takes it.
        """
        self._is_stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
        self._wait(drain_s)
        for running in self._snapshot():
            running.control.stop("stopping")
        self._wait(_STOP_S)
        self._executor.shutdown(wait=not self._snapshot(), cancel_futures=True)

    def _wait(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while self._snapshot() and time.monotonic() < deadline_s:
            with contextlib.suppress(StoreError):  # who cannot renew has what is left of the lease
                self._keep(self._now_ns())
            self._woken.wait(_PAUSE_S)
            self._woken.clear()

    def _loop(self) -> None:
        while not self._is_stopping:
            self._woken.clear()
            try:
                wait_s = self.step()
            except StoreError:
                # The store says what it cannot do to whoever asks next; here it is asked again.
                wait_s = self._limits.job_poll_ms / 1000
            self._woken.wait(wait_s)

    # --- one step ---

    def step(self) -> float:
        """Renew, stop and take what there is now; return how many seconds there is nothing to do.

        Raises:
            StoreError: what the database cannot do; the next step does it.
        """
        now_ns = self._now_ns()
        self._keep(now_ns)
        self._take(now_ns)
        self._clean(now_ns)
        return self._idle_s(now_ns)

    def _idle_s(self, now_ns: int) -> float:
        idle_ns = self._limits.job_poll_ms * NS_PER_MS
        if self._free():
            due_ns = self._desk.next_due_ns()
            if due_ns is not None and due_ns > now_ns:
                idle_ns = min(idle_ns, due_ns - now_ns)
        renewal_ns = self._limits.job_lease_ms * NS_PER_MS // _RENEWALS_PER_LEASE
        for running in self._snapshot():
            idle_ns = min(idle_ns, running.deadline_ns - now_ns)
            idle_ns = min(idle_ns, running.renewed_ns + renewal_ns - now_ns)
        return max(idle_ns, NS_PER_MS) / NS_PER_S

    def _free(self) -> int:
        return self._limits.job_worker_count - self.running_count

    def _snapshot(self) -> list[_Running]:
        with self._lock:
            return list(self._running.values())

    def _keep(self, now_ns: int) -> None:
        """Renew leases, and pass on what jobs shall know: that they are cancelled, late or lost."""
        renewal_ns = self._limits.job_lease_ms * NS_PER_MS // _RENEWALS_PER_LEASE
        for running in self._snapshot():
            if now_ns >= running.deadline_ns:
                running.control.stop("timeout")
            self._ask_after(running, now_ns, renewal_ns)

    def _ask_after(self, running: _Running, now_ns: int, renewal_ns: int) -> None:
        try:
            if now_ns >= running.renewed_ns + renewal_ns:
                found = self._desk.renew(running.app, running.job, now_ns)
                running.renewed_ns = now_ns
            else:
                found = self._desk.look(running.app, running.job)
        except JobLostError:
            running.control.stop("lost")
            return
        if found.is_cancelled:
            running.control.stop("cancelled")

    def _take(self, now_ns: int) -> None:
        while self._free() > 0 and self._pass(now_ns):
            pass

    def _pass(self, now_ns: int) -> bool:
        """Take a job of each app, from behind the one that had the last; whether there was any."""
        taken, start, after, is_wrapped = 0, self._next_app, self._next_app, False
        while True:
            apps = self._desk.due_apps(now_ns, after=after, limit=_APP_COUNT)
            for app in apps:
                if self._free() < 1 or (is_wrapped and app.encode() > start.encode()):
                    return taken > 0
                if self._take_one(app, now_ns):
                    taken += 1
                    self._next_app = app
            if len(apps) == _APP_COUNT:
                after = apps[-1]
            elif is_wrapped or not start:
                return taken > 0
            else:
                after, is_wrapped = "", True

    def _take_one(self, app: str, now_ns: int) -> int:
        jobs, _ = self._desk.claim(app, owner=self._owner, now_ns=now_ns, limit=1)
        self._seen_apps.add(app)
        for job in jobs:
            most = self._limits.job_timeout_ms_max
            running = _Running(app, job, now_ns, min(job.timeout_ms or most, most))
            with self._lock:
                self._running[app, job.id] = running
            self._executor.submit(self._work, running)
        return len(jobs)

    def _clean(self, now_ns: int) -> None:
        if now_ns - self._cleaned_ns < _CLEANING_S * NS_PER_S:
            return
        self._cleaned_ns = now_ns
        self._desk.forget(now_ns)
        for app in self._seen_apps:
            while self._desk.prune(app, now_ns) == PRUNE_COUNT:
                pass
        self._seen_apps.clear()

    # --- one job, on a thread of its own ---

    def _work(self, running: _Running) -> None:
        try:
            ended = self._attempt(running)
            if self._on_end is not None:
                self._on_end(running.app, ended)
        except (JobLostError, StoreError):
            # Somebody else has the job, or will have it when its lease ends: nothing to keep here.
            running.control.stop("lost")
        finally:
            with self._lock:
                del self._running[running.app, running.job.id]
            self._woken.set()

    def _attempt(self, running: _Running) -> JobRow:
        app, job, control = running.app, running.job, running.control
        try:
            result = self._run(app, job, control)
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt failed, and says so
            reason = control.reason
            if reason == "stopping":
                return self._desk.release(app, job, self._now_ns())
            text = str(error) if isinstance(error, JobFailedError) else _describe(error)
            if reason == "timeout":
                text = f"it took longer than {job.timeout_ms or self._limits.job_timeout_ms_max} ms"
            return self._desk.fail(app, job, text, self._now_ns())
        return self._desk.finish(app, job, result, self._now_ns())


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
