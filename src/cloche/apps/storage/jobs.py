"""Effects of kind `jobs`: work to be done later, and what a running job says of itself.

| target | args | value |
|---|---|---|
| `spawn` | `{"name", "data"?, "delay_ms"?, "retry"?, "backoff_ms"?, "unique_key"?, "priority"?, \
"timeout_ms"?}` | the id |
| `get` | `{"id"}` | the job, or null |
| `list` | `{"state"?, "before"?, "limit"?}` | jobs, newest first |
| `cancel` | `{"id"}` | whether it had not ended |
| `progress` | `{"value"}`, 0 to 100 | null; inside of a job |
| `checkpoint` | `{"value"}` | null; inside of a job |
| `last_checkpoint` | `{}` | what the last attempt kept, or null; inside of a job |
| `cancelled` | `{}` | whether this job was asked to stop; inside of a job |

`retry` is how many attempts follow the first; `backoff_ms` is how long the first of them waits,
each later one twice as long. `priority` is -10 to 10 or "low", "normal", "high"; higher goes first.
While a job with the same `unique_key` has not ended, spawning gives that one's id.

Invariant: spawning twice under one idempotency key gives one job.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from cloche.apps.storage import job_states
from cloche.apps.storage.calls import (
    NS_PER_MS,
    Args,
    Call,
    Operation,
    Quota,
    charge,
    check_count,
    later_ns,
    once,
)
from cloche.apps.storage.errors import JobContextError, StorageArgumentsError
from cloche.apps.storage.rows import JOB_ENDED, JobRow
from cloche.apps.storage.values import check_name, check_size, decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.apps.storage.ports import AppRows, AppTables
    from cloche.limits import Limits

NAME_LIMIT_BYTES: Final = 128
PRIORITY_MAX: Final = 10
PROGRESS_MAX: Final = 100
PRIORITIES: Final = {"low": -5, "normal": 0, "high": 5}
_NO_SIZE_LIMIT: Final = 1 << 62  # what a job holds is bounded by its parts and their number


class SpawnArgs(Args):
    """Of `spawn`."""

    name: str
    data: Any = None
    delay_ms: int = 0
    retry: int = 0
    backoff_ms: int = 1000
    unique_key: str | None = None
    priority: int | Literal["low", "normal", "high"] = 0
    timeout_ms: int | None = None


class IdArgs(Args):
    """Of `get` and `cancel`."""

    id: str


class ListArgs(Args):
    """Of `list`."""

    state: Literal["pending", "running", "done", "failed", "cancelled"] | None = None
    before: str = ""
    limit: int = 50


class ProgressArgs(Args):
    """Of `progress`."""

    value: int | float


class ValueArgs(Args):
    """Of `checkpoint`."""

    value: Any


class NoArgs(Args):
    """Of what needs none."""


class Jobs:
    """The jobs of all apps, as these see them."""

    def __init__(self, tables: AppTables, limits: Limits) -> None:
        self._tables = tables
        self._limits = limits.apps
        self.operations: Mapping[str, Operation] = {
            "spawn": Operation(SpawnArgs, self._spawn),
            "get": Operation(IdArgs, self._get),
            "list": Operation(ListArgs, self._list),
            "cancel": Operation(IdArgs, self._cancel),
            "progress": Operation(ProgressArgs, self._progress),
            "checkpoint": Operation(ValueArgs, self._checkpoint),
            "last_checkpoint": Operation(NoArgs, self._last_checkpoint),
            "cancelled": Operation(NoArgs, self._cancelled),
        }

    # --- from anywhere ---

    def _spawn(self, call: Call, args: SpawnArgs) -> str:
        row = self._new_job(call, args)
        quota = queue_quota(self._limits.job_queue_length_max)

        def work(rows: AppRows) -> str:
            if row.unique_key is not None:
                found = rows.open_job(row.unique_key)
                if found is not None:
                    return found.id
            waiting = rows.count_jobs("pending")
            rows.usage = replace(rows.usage, count=waiting)
            charge(rows, quota, count=1)
            rows.put_job(row)
            return row.id

        return str(once(self._tables, "jobs", call, work))

    def _new_job(self, call: Call, args: SpawnArgs) -> JobRow:
        limits = self._limits
        check_name("jobs name", args.name, NAME_LIMIT_BYTES)
        if args.unique_key is not None:
            check_name("jobs unique_key", args.unique_key, NAME_LIMIT_BYTES)
        data = encode(args.data)
        check_size("data", len(data), "apps.job_data_limit_bytes", limits.job_data_limit_bytes)
        priority = (
            PRIORITIES.get(args.priority, 0) if isinstance(args.priority, str) else args.priority
        )
        check_count("jobs priority", priority, -PRIORITY_MAX, PRIORITY_MAX)
        check_count("jobs retry", args.retry, 0, limits.job_retry_count_max)
        check_count("jobs backoff_ms", args.backoff_ms, 1, limits.job_backoff_ms_max)
        if args.timeout_ms is not None:
            check_count("jobs timeout_ms", args.timeout_ms, 1, limits.job_timeout_ms_max)
        due_ns = later_ns(call.now_ns, "jobs delay_ms", args.delay_ms, limits.job_delay_ms_max)
        return JobRow(
            id=new_job_id(call.now_ns, call.key),
            name=args.name,
            data=data,
            priority=priority,
            created_ns=call.now_ns,
            due_ns=due_ns or call.now_ns,
            retry_count=args.retry,
            backoff_ms=args.backoff_ms,
            timeout_ms=args.timeout_ms,
            unique_key=args.unique_key,
        )

    def _get(self, call: Call, args: IdArgs) -> dict[str, Any] | None:
        check_name("jobs id", args.id, NAME_LIMIT_BYTES)
        row = self._tables.read(call.app, "jobs", lambda rows: rows.get_job(args.id))
        return None if row is None else job_view(row)

    def _list(self, call: Call, args: ListArgs) -> list[dict[str, Any]]:
        check_count("jobs.list limit", args.limit, 1, self._limits.list_count_max)
        if args.before:
            check_name("jobs.list before", args.before, NAME_LIMIT_BYTES)
        found = self._tables.read(
            call.app,
            "jobs",
            lambda rows: rows.jobs(state=args.state, before=args.before, limit=args.limit),
        )
        # What jobs were given and gave back is asked for one by one: a list of them has no bound.
        return [job_view(row, whole=False) for row in found]

    def _cancel(self, call: Call, args: IdArgs) -> bool:
        check_name("jobs id", args.id, NAME_LIMIT_BYTES)

        def work(rows: AppRows) -> bool:
            row = rows.get_job(args.id)
            if row is None or row.state in JOB_ENDED:
                return False
            rows.put_job(job_states.cancel(row, now_ns=call.now_ns))
            return True

        return bool(once(self._tables, "jobs", call, work))

    # --- from inside of a job ---

    def _progress(self, call: Call, args: ProgressArgs) -> None:
        value = float(args.value)
        if not (math.isfinite(value) and 0 <= value <= PROGRESS_MAX):
            raise StorageArgumentsError(
                where="jobs progress", problem=f"is {value}; it must be 0 to {PROGRESS_MAX}"
            )
        self._change(call, "progress", {"progress": value})

    def _checkpoint(self, call: Call, args: ValueArgs) -> None:
        value = encode(args.value)
        check_size(
            "the checkpoint",
            len(value),
            "apps.job_checkpoint_limit_bytes",
            self._limits.job_checkpoint_limit_bytes,
        )
        self._change(call, "checkpoint", {"checkpoint": value})

    def _last_checkpoint(self, call: Call, _args: NoArgs) -> Any:
        value = self._own(call, "last_checkpoint").checkpoint
        return None if value is None else decode(value)

    def _cancelled(self, call: Call, _args: NoArgs) -> bool:
        return self._own(call, "cancelled").is_cancelled

    def _own(self, call: Call, target: str) -> JobRow:
        job = _job_of(call, target)
        row = self._tables.read(call.app, "jobs", lambda rows: rows.get_job(job.id))
        return job_states.check_held(row, job.id, job.attempt, job.lease_owner or "")

    def _change(self, call: Call, target: str, changes: dict[str, Any]) -> None:
        job = _job_of(call, target)

        def work(rows: AppRows) -> None:
            row = rows.get_job(job.id)
            held = job_states.check_held(row, job.id, job.attempt, job.lease_owner or "")
            rows.put_job(replace(held, **changes))

        self._tables.write(call.app, "jobs", work)


def _job_of(call: Call, target: str) -> JobRow:
    if call.job is None:
        raise JobContextError(target=target)
    return call.job


def queue_quota(queue_length_max: int) -> Quota:
    """Return the quota of jobs that wait."""
    limit = "apps.job_queue_length_max"
    return Quota("jobs that wait", limit, queue_length_max, limit, _NO_SIZE_LIMIT)


def new_job_id(now_ns: int, key: str) -> str:
    """Return the id of a job: greater than earlier ones, equal for no other key."""
    return f"job-{now_ns:016x}{key[:12]}"


def job_view(row: JobRow, *, whole: bool = True) -> dict[str, Any]:
    """Return a job as an app sees it; not whole: without what it was given and gave back."""
    view = {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "schedule": row.schedule,
        "priority": row.priority,
        "attempt": row.attempt,
        "retry": row.retry_count,
        "progress": row.progress,
        "cancelled": row.is_cancelled,
        "unique_key": row.unique_key,
        "created_at_ms": row.created_ns // NS_PER_MS,
        "due_at_ms": row.due_ns // NS_PER_MS,
        "ended_at_ms": None if row.ended_ns is None else row.ended_ns // NS_PER_MS,
        "error": row.error,
    }
    if whole:
        view["data"] = decode(row.data)
        view["result"] = None if row.result is None else decode(row.result)
    return view


def event_of(row: JobRow) -> tuple[Literal["scheduled", "job"], Any]:
    """Return which handler of an app a job is for, and what that gets."""
    if row.schedule:
        return "scheduled", decode(row.data)
    return "job", {
        "id": row.id,
        "name": row.name,
        "data": decode(row.data),
        "attempt": row.attempt,
        "retry": row.retry_count,
        "created_at_ms": row.created_ns // NS_PER_MS,
    }
