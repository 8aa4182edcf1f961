"""Jobs and schedules of one app, as rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from cloche.apps.storage.adapters.statements import Statements
from cloche.apps.storage.rows import JobRow, JobState, ScheduleRow
from cloche.store.adapters.sql.app_schema import app_jobs, app_schedules

if TYPE_CHECKING:
    from collections.abc import Sequence

_jobs = app_jobs.c
_OPEN = ("pending", "running")


class JobStatements(Statements):
    """The port `JobRows`."""

    def get_job(self, job_id: str) -> JobRow | None:
        """Return a job."""
        row = self._row(app_jobs, _jobs.id == job_id)
        return None if row is None else JobRow(**row)

    def put_job(self, row: JobRow) -> None:
        """Add or replace a job."""
        self._put(app_jobs, **asdict(row))

    def jobs(self, *, state: JobState | None, before: str, limit: int) -> Sequence[JobRow]:
        """Return jobs, newest first."""
        conditions = []
        if state is not None:
            conditions.append(_jobs.state == state)
        if before:
            conditions.append(_jobs.id < before)
        rows = self._rows(app_jobs, *conditions, order=[_jobs.id.desc()], limit=limit)
        return [JobRow(**row) for row in rows]

    def count_jobs(self, state: JobState) -> int:
        """Return how many jobs have a state."""
        query = select(func.count()).where(self._of(app_jobs, _jobs.state == state))
        return self._connection.execute(query).scalar_one()

    def open_job(self, unique_key: str) -> JobRow | None:
        """Return the job with this key that has not ended."""
        row = self._row(app_jobs, _jobs.unique_key == unique_key, _jobs.state.in_(_OPEN))
        return None if row is None else JobRow(**row)

    def due_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        """Return pending jobs that are due."""
        rows = self._rows(
            app_jobs,
            _jobs.state == "pending",
            _jobs.due_ns <= now_ns,
            order=[_jobs.priority.desc(), _jobs.due_ns, _jobs.id],
            limit=limit,
        )
        return [JobRow(**row) for row in rows]

    def lost_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        """Return running jobs whose lease has ended."""
        rows = self._rows(
            app_jobs,
            _jobs.state == "running",
            _jobs.lease_until_ns <= now_ns,
            order=[_jobs.id],
            limit=limit,
        )
        return [JobRow(**row) for row in rows]

    def remove_ended_jobs(self, before_ns: int, limit: int) -> int:
        """Remove jobs that ended before."""
        chosen = select(_jobs.id).where(self._of(app_jobs, _jobs.ended_ns < before_ns)).limit(limit)
        return self._delete(app_jobs, _jobs.id.in_(chosen))

    def schedules(self) -> Sequence[ScheduleRow]:
        """Return all schedules, by name."""
        rows = self._rows(app_schedules, order=[app_schedules.c.name])
        return [ScheduleRow(**row) for row in rows]

    def put_schedule(self, row: ScheduleRow) -> None:
        """Add or replace a schedule."""
        self._put(app_schedules, **asdict(row))

    def remove_schedule(self, name: str) -> None:
        """Remove a schedule."""
        self._delete(app_schedules, app_schedules.c.name == name)
