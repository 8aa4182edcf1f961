"""Detached work: `tools.spawn.<tool>` starts a call that outlives its script.

Owns the jobs of a harness. Invariants:
- a job is decided about like the call that it stands for, with the same arguments, before it
  starts; a rule about the tool holds for it;
- the same call, performed again when its run goes on, is the same job;
- no more than a fixed number of jobs run at once, and as many are kept.

Jobs live in this process: when it ends they are gone, and a later question about one says so.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.script.policy import SPAWN
from cloche.script.tools import Tool, ToolContext, ToolSet, tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JobStatus = Literal["running", "completed", "failed", "cancelled"]

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
    value: Any = None
    error: str = ""
    over: threading.Event = field(default_factory=threading.Event, repr=False)
    unwanted: threading.Event = field(default_factory=threading.Event, repr=False)

    def to_document(self) -> dict[str, Any]:
        """Return what a script sees of it."""
        document: dict[str, Any] = {"id": self.id, "tool": self.tool, "status": self.status}
        if self.status == "completed":
            document["value"] = self.value
        elif self.error:
            document["error"] = self.error
        return document


class Spawner:
    """Makes `tools.spawn.<tool>` of tools, and `tools.spawn.status`, `list`, `cancel`.

    Args:
        tools: what may be detached; nothing is unless it is named here.
        limits: of results.
    """

    def __init__(self, *tools: Any, limits: Limits | None = None) -> None:
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
        def status(id: str) -> dict[str, Any]:  # noqa: A002 - as scripts write it
            """Tell what became of a detached call.

            Args:
                id: of the job.
            """
            return self._find(id).to_document()

        def listed() -> list[dict[str, Any]]:
            """List detached calls, the oldest first."""
            return [{"id": job.id, "tool": job.tool, "status": job.status} for job in self.jobs]

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

    def _start(self, inner: Tool, named: Mapping[str, Any], context: ToolContext) -> Job:
        job_id = context.idempotency_key.replace("/", "")[-_ID_CHARACTERS:]
        with self._lock:
            known = self._jobs.get(job_id)
            if known is not None:
                return known
            self._make_room()
            job = Job(id=job_id, tool=inner.name, run_id=context.run_id)
            self._jobs[job_id] = job
        arguments = dict(named)
        if inner.context_name is not None:
            arguments[inner.context_name] = ToolContext(
                run_id=context.run_id,
                idempotency_key=context.idempotency_key,
                cancelled=job.unwanted.is_set,
            )
        self._pool.submit(self._perform, job, inner, arguments)
        return job

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
            job.error = f"{type(error).__name__}: {error}"
        finally:
            job.over.set()

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
