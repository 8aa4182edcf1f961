"""Where jobs and firings of schedules are taken from, and brought back to: for who runs them.

Invariants:
- a job is given to one worker at a time; one whose lease ended is given to another;
- a firing and the next time of its schedule change in one transaction: whenever the process dies,
  each time fires once. Times that nobody was there for are made up for, the newest
  `apps.schedule_catch_up_count_max` of them.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cloche.apps.cron import parse_cron
from cloche.apps.storage import job_states
from cloche.apps.storage.calls import NS_PER_MS
from cloche.apps.storage.errors import QuotaError, StorageArgumentsError
from cloche.apps.storage.jobs import NAME_LIMIT_BYTES, new_job_id
from cloche.apps.storage.rows import JOB_ENDED, JobRow, ScheduleRow
from cloche.apps.storage.values import check_name, encode
from cloche.store.rows import TIME_NS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.apps.storage.ports import AppRows, AppTables
    from cloche.limits import Limits

_LOST_COUNT: Final = 100
PRUNE_COUNT: Final = 1000
_HOUR_NS: Final = 3600 * 10**9
_WINDOWS_NS: Final = (_HOUR_NS, 48 * _HOUR_NS, 32 * 24 * _HOUR_NS, 10 * 366 * 24 * _HOUR_NS)


class JobDesk:
    """Jobs of all apps, as workers see them."""

    def __init__(self, tables: AppTables, limits: Limits) -> None:
        self._tables = tables
        self._limits = limits.apps

    def due_apps(self, now_ns: int, *, after: str = "", limit: int = 100) -> Sequence[str]:
        """Return apps with something to do, in the order of their names."""
        return self._tables.due_apps(now_ns, after=after, limit=limit)

    def next_due_ns(self) -> int | None:
        """Return when there is something to do next."""
        return self._tables.next_due_ns()

    def set_schedules(self, app: str, crons: Mapping[str, str], now_ns: int) -> None:
        """Make these the schedules of an app: one that stays keeps its next time.

        Raises:
            CronError: an expression means nothing; nothing was changed.
            QuotaError: there are too many.
            StorageArgumentsError: a name cannot be kept.
        """
        maximum = self._limits.schedule_count_max
        if len(crons) > maximum:
            raise QuotaError(
                what="schedules",
                used=0,
                asked=len(crons),
                limit="apps.schedule_count_max",
                maximum=maximum,
            )
        wanted = {
            check_name("schedule", name, NAME_LIMIT_BYTES): cron for name, cron in crons.items()
        }
        fresh = {
            name: ScheduleRow(name=name, cron=cron, next_ns=parse_cron(cron).next_ns(now_ns))
            for name, cron in wanted.items()
        }

        def work(rows: AppRows) -> None:
            kept = {row.name: row.cron for row in rows.schedules()}
            for name in kept.keys() - fresh.keys():
                rows.remove_schedule(name)
            for name, row in fresh.items():
                if kept.get(name) != row.cron:
                    rows.put_schedule(row)

        self._tables.write(app, "jobs", work)

    def claim(
        self, app: str, *, owner: str, now_ns: int, limit: int
    ) -> tuple[Sequence[JobRow], int]:
        """Return jobs of an app that are the owner's now, and how many of the app run already.

        Schedules that are due fire first, and jobs whose workers are gone wait again.
        """
        until_ns = now_ns + self._limits.job_lease_ms * NS_PER_MS

        def work(rows: AppRows) -> tuple[Sequence[JobRow], int]:
            self._fire(rows, now_ns)
            self._lose(rows, now_ns)
            running = rows.count_jobs("running")
            free = min(self._limits.job_concurrency_max - running, limit)
            if free < 1:
                return (), running
            begun = [
                job_states.begin(row, owner=owner, now_ns=now_ns, until_ns=until_ns)
                for row in rows.due_jobs(now_ns, free)
            ]
            for row in begun:
                rows.put_job(row)
            return tuple(begun), running

        return self._tables.write(app, "jobs", work)

    def _lose(self, rows: AppRows, now_ns: int) -> None:
        for row in rows.lost_jobs(now_ns, _LOST_COUNT):
            lost = job_states.lose(
                row,
                now_ns=now_ns,
                lost_count_max=self._limits.job_lost_count_max,
                backoff_ms_max=self._limits.job_backoff_ms_max,
            )
            rows.put_job(lost)

    def _fire(self, rows: AppRows, now_ns: int) -> None:
        for row in rows.schedules():
            if row.next_ns > now_ns:
                continue
            times, next_ns = _due_times(row, now_ns, self._limits.schedule_catch_up_count_max)
            for time_ns in times:
                firing = _firing(row, time_ns, now_ns)
                if rows.get_job(firing.id) is None:  # a schedule that was removed and made again
                    rows.put_job(firing)
            rows.put_schedule(replace(row, next_ns=next_ns))

    def renew(self, app: str, job: JobRow, now_ns: int) -> JobRow:
        """Return a job with a new lease, as it is now: `is_cancelled` says whether to stop.

        Raises:
            JobLostError: it is the owner's no more.
        """
        until_ns = now_ns + self._limits.job_lease_ms * NS_PER_MS
        return self._change(app, job, lambda row: replace(row, lease_until_ns=until_ns))

    def look(self, app: str, job: JobRow) -> JobRow:
        """Return a job as it is now. Raises JobLostError: it is the owner's no more."""
        found = self._tables.read(app, "jobs", lambda rows: rows.get_job(job.id))
        return job_states.check_held(found, job.id, job.attempt, job.lease_owner or "")

    def finish(self, app: str, job: JobRow, result: object, now_ns: int) -> JobRow:
        """Return a job that has ended by itself. Raises JobLostError."""
        try:
            encoded = encode(result)
        except StorageArgumentsError as error:
            return self.fail(app, job, f"its result {error.fields['problem']}", now_ns)
        if len(encoded) > self._limits.job_data_limit_bytes:
            problem = f"its result has {len(encoded)} bytes, over apps.job_data_limit_bytes"
            return self.fail(app, job, problem, now_ns)
        return self._change(
            app, job, lambda row: job_states.finish(row, result=encoded, now_ns=now_ns)
        )

    def fail(self, app: str, job: JobRow, error: str, now_ns: int) -> JobRow:
        """Return a job whose attempt failed: pending, failed or cancelled. Raises JobLostError."""
        most = self._limits.job_backoff_ms_max
        return self._change(
            app,
            job,
            lambda row: job_states.fail(row, error=error, now_ns=now_ns, backoff_ms_max=most),
        )

    def release(self, app: str, job: JobRow, now_ns: int) -> JobRow:
        """Return a job that is given back because its worker stops. Raises JobLostError."""
        return self._change(app, job, lambda row: job_states.release(row, now_ns=now_ns))

    def _change(self, app: str, job: JobRow, change: Callable[[JobRow], JobRow]) -> JobRow:
        def work(rows: AppRows) -> JobRow:
            found = rows.get_job(job.id)
            held = job_states.check_held(found, job.id, job.attempt, job.lease_owner or "")
            changed = change(held)
            rows.put_job(changed)
            return changed

        return self._tables.write(app, "jobs", work)

    def prune(self, app: str, now_ns: int) -> int:
        """Remove jobs of an app that ended long ago, or are too many, some; return how many.

        Up to `PRUNE_COUNT` go at once: call it again when it was as many.
        """
        before_ns = now_ns - self._limits.job_keep_ms * NS_PER_MS

        def work(rows: AppRows) -> int:
            count = rows.remove_ended_jobs(before_ns, PRUNE_COUNT)
            ended = sum(rows.count_jobs(state) for state in sorted(JOB_ENDED))
            excess = min(ended - self._limits.job_kept_count_max, PRUNE_COUNT - count)
            if excess > 0:
                count += rows.remove_ended_jobs(TIME_NS_MAX, excess)
            return count

        return self._tables.write(app, "jobs", work)

    def forget(self, now_ns: int) -> int:
        """Forget effects that were performed long ago, some; return how many."""
        before_ns = now_ns - self._limits.effect_memory_ms * NS_PER_MS
        return self._tables.prune(remembered_before_ns=before_ns, limit=PRUNE_COUNT)


def _due_times(row: ScheduleRow, now_ns: int, count_max: int) -> tuple[list[int], int]:
    """Return the times of a schedule that are due, the newest, and the next one."""
    cron = parse_cron(row.cron)
    times: list[int] = []
    next_ns = row.next_ns
    for window_ns in _WINDOWS_NS:
        # The newest are near the end: a year of minutes is not counted through for ten of them.
        next_ns = max(row.next_ns, cron.next_ns(now_ns - window_ns))
        times = []
        while next_ns <= now_ns:
            times.append(next_ns)
            next_ns = cron.next_ns(next_ns)
        if len(times) >= count_max or now_ns - window_ns < row.next_ns:
            break
    return times[-count_max:], next_ns


def _firing(row: ScheduleRow, time_ns: int, now_ns: int) -> JobRow:
    key = sha256(f"{row.name}\0{time_ns}".encode()).hexdigest()
    data = {"name": row.name, "cron": row.cron, "scheduled_at_ms": time_ns // NS_PER_MS}
    return JobRow(
        id=new_job_id(time_ns, key),
        name=row.name,
        data=encode(data),
        schedule=True,
        created_ns=now_ns,
        due_ns=time_ns,
    )
