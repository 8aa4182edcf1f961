"""Detached work: `tools.spawn.<tool>` starts a call that outlives its script.

Owns the jobs of a harness. Invariants:
- a job is decided about like the call that it stands for, with the same arguments, before it
  starts; a rule about the tool holds for it;
- the same call, performed again when its run goes on, is the same job;
- no more than a fixed number of jobs run at once, and as many are kept.

The work is this process's: when it ends, what is not done is lost. With a store every process that
has it knows of all jobs and their results, and a later script finds them there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.script.adapters.calls import problem_of
from cloche.script.adapters.jobs import JobRecord, jobs_in, load, own_process, save
from cloche.script.policy import SPAWN
from cloche.script.tools import Tool, ToolContext, ToolSet, tool
from cloche.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloche.script.adapters.jobs import JobStatus
    from cloche.store.ports import Store

NS_PER_MS: Final = 1_000_000
JOB_COUNT_MAX: Final = 1000
_PARALLEL_COUNT_MAX: Final = 8
_ID_CHARACTERS: Final = 16
_CONTEXT: Final = "cloche_context"


@dataclass(slots=True, kw_only=True)
class Job:
    """One detached call."""

    id: str
    tool: str
    run_id: str
    status: JobStatus = "running"
    started_ms: int = 0
    store: Store | None = field(default=None, repr=False)
    value: Any = None
    error: str = ""
    over: threading.Event = field(default_factory=threading.Event, repr=False)
    unwanted: threading.Event = field(default_factory=threading.Event, repr=False)

    def to_document(self) -> dict[str, Any]:
        """Return what a script sees of it."""
        return self.record().to_document()

    def record(self, *, ended_ms: int | None = None) -> JobRecord:
        """Return what is kept of it."""
        return JobRecord(
            id=self.id,
            tool=self.tool,
            run_id=self.run_id,
            status=self.status,
            value=self.value,
            error=self.error,
            started_ms=self.started_ms,
            ended_ms=ended_ms,
            process=own_process(),
        )


class Spawner:
    """Makes `tools.spawn.<tool>` of tools, and `tools.spawn.status`, `list`, `cancel`.

    Args:
        tools: what may be detached; nothing is unless it is named here.
        limits: of results.
        store: where jobs are kept, so that other processes know of them; None for that of the run.
        clock_ms: wall clock.
    """

    def __init__(
        self,
        *tools: Any,
        limits: Limits | None = None,
        store: Store | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // NS_PER_MS,
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._set = ToolSet(*tools)
        self._limits = limits or Limits()
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_PARALLEL_COUNT_MAX, thread_name_prefix="cloche-spawn")

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of them, the oldest first."""
        with self._lock:
            return tuple(self._jobs.values())

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What a `ToolSet` gets."""
        return (*map(self._detached, self._set.values()), *self._controls())

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Wait for the end of a job.

        Raises:
            EffectFailure: there is none of this id.
        """
        job = self._find(job_id)
        job.over.wait(timeout_s)
        return job

    def close(self) -> None:
        """Tell all jobs that nobody wants their results; start none any more."""
        for job in self.jobs:
            job.unwanted.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- tools ---

    def _detached(self, inner: Tool) -> Tool:
        def start(**named: Any) -> dict[str, Any]:
            context: ToolContext = named.pop(_CONTEXT)
            return self._start(inner, named, context).to_document()

        return replace(
            inner,
            name=f"{SPAWN}{inner.name}",
            pack="spawn",
            summary=f"Start {inner.name} and do not wait: {inner.summary}",
            description=f"Like {inner.name}, but the call goes on when the script is over. Returns "
            "the job; tools.spawn.status(id) tells what became of it.\n\n" + inner.description,
            function=start,
            signature=replace(inner.signature, returns={}, **_anything(inner)),
            context_name=_CONTEXT,
            revert=None,
            timeout_ms=None,
        )

    def _controls(self) -> tuple[Tool, ...]:
        def status(id: str, context: ToolContext) -> dict[str, Any]:  # noqa: A002 - as scripts do
            """Tell what became of a detached call.

            Args:
                id: of the job.
                context: of the call.
            """
            return self._known(id, context.store).to_document()

        def listed(context: ToolContext) -> list[dict[str, Any]]:
            """List detached calls, the oldest first.

            Args:
                context: of the call.
            """
            return [
                {"id": job.id, "tool": job.tool, "status": job.status}
                for job in self.records(context.store)
            ]

        def cancel(id: str) -> bool:  # noqa: A002 - as above
            """Stop a detached call; tell whether it was still running.

            Args:
                id: of the job.
            """
            job = self._find(id)
            is_running = job.status == "running"
            job.unwanted.set()
            return is_running

        made: Iterable[tuple[str, Tool]] = (
            ("status", tool(read_only=True)(status)),
            ("list", tool(read_only=True)(listed)),
            ("cancel", tool(requires_approval=False)(cancel)),
        )
        return tuple(replace(one, name=f"{SPAWN}{name}", pack="spawn") for name, one in made)

    # --- jobs ---

    def records(self, store: Store | None = None) -> tuple[JobRecord, ...]:
        """Return all jobs that are known here, the oldest first: of the store, if there is one."""
        store = self._store or store
        if store is not None:
            return jobs_in(store)
        return tuple(job.record() for job in self.jobs)

    def _known(self, job_id: str, store: Store | None) -> JobRecord:
        with self._lock:
            job = self._jobs.get(job_id)
        store = self._store or store
        if job is None and store is not None:
            record = load(store, job_id)
            if record is not None:
                return record
        return self._find(job_id).record()

    def _start(self, inner: Tool, named: Mapping[str, Any], context: ToolContext) -> JobRecord:
        job_id = context.idempotency_key.replace("/", "")[-_ID_CHARACTERS:]
        store = self._store or context.store
        kept = None if store is None else load(store, job_id)
        if kept is not None and kept.status != "lost":
            return kept
        with self._lock:
            known = self._jobs.get(job_id)
            if known is not None:
                return known.record()
            self._make_room()
            job = Job(
                id=job_id,
                tool=inner.name,
                run_id=context.run_id,
                started_ms=self._clock_ms(),
                store=store,
            )
            self._jobs[job_id] = job
        begun = job.record()
        if store is not None:
            save(store, begun)
        arguments = dict(named)
        if inner.context_name is not None:
            arguments[inner.context_name] = ToolContext(
                run_id=context.run_id,
                idempotency_key=context.idempotency_key,
                cancelled=job.unwanted.is_set,
                store=context.store,
            )
        self._pool.submit(self._perform, job, inner, arguments)
        return begun

    def _make_room(self) -> None:
        if len(self._jobs) < JOB_COUNT_MAX:
            return
        for job_id, job in list(self._jobs.items()):
            if job.status != "running":
                del self._jobs[job_id]
                return
        raise EffectFailure("SPAWN_FULL", f"{JOB_COUNT_MAX} detached calls are running")

    def _perform(self, job: Job, inner: Tool, arguments: dict[str, Any]) -> None:
        try:
            if job.unwanted.is_set():
                job.status = "cancelled"
                return
            value = inner.function(**arguments)
            if hasattr(value, "__await__"):
                value = asyncio.run(_awaited(value, job))
            job.value = inner.check_result(value, limits=self._limits)
            job.status = "cancelled" if job.unwanted.is_set() else "completed"
        except asyncio.CancelledError:
            job.status = "cancelled"
        except Exception as error:  # noqa: BLE001 - the tool is the host's; the job tells what broke
            job.status = "cancelled" if job.unwanted.is_set() else "failed"
            job.error = problem_of(error)
        finally:
            self._keep(job)
            job.over.set()

    def _keep(self, job: Job) -> None:
        if job.store is None:
            return
        # The work is done, whether or not that can be written down: this process still knows it.
        with suppress(StoreError):
            save(job.store, job.record(ended_ms=self._clock_ms()))

    def _find(self, job_id: str) -> Job:
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise EffectFailure("SPAWN_UNKNOWN", f"there is no detached call {job_id[:50]!r}")
        return job


_LOOK_S: Final = 0.05


async def _awaited(value: Any, job: Job) -> Any:
    task = asyncio.ensure_future(value)
    while not (await asyncio.wait([task], timeout=_LOOK_S))[0]:
        if job.unwanted.is_set():
            task.cancel()
    return await task


def _anything(inner: Tool) -> dict[str, Any]:
    """Say that a job is returned, not what the tool returns, where a type says so, too."""
    return {"returns_type": Any} if hasattr(inner.signature, "returns_type") else {}
