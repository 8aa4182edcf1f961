"""Jobs and schedules of one app, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select

from cloche.apps.storage.adapters.statements import (
    APP,
    LIMIT,
    Statements,
    removal_of,
    rows_of,
)
from cloche.apps.storage.rows import JobRow, JobState, ScheduleRow
from cloche.store.adapters.sql.app_schema import app_jobs, app_schedules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select

_jobs = app_jobs.c

_GET: Final = rows_of(app_jobs, _jobs.id == bindparam("id"))
_BEFORE: Final = _jobs.id < bindparam("before")
_IN_STATE: Final = _jobs.state == bindparam("state")


def _list_of(*conditions: ColumnElement[bool]) -> Select[Any]:
    return rows_of(app_jobs, *conditions, order=[_jobs.id.desc()], limited=True)


_LISTS: Final = {
    # (by state, from a place on)
    (False, False): _list_of(),
    (False, True): _list_of(_BEFORE),
    (True, False): _list_of(_IN_STATE),
    (True, True): _list_of(_IN_STATE, _BEFORE),
}
_COUNT: Final = select(func.count()).where(_jobs.app == APP, _IN_STATE)
_OPEN: Final = rows_of(
    app_jobs,
    _jobs.unique_key == bindparam("unique_key"),
    _jobs.state.in_(("pending", "running")),
)
_DUE: Final = rows_of(
    app_jobs,
    _jobs.state == "pending",
    _jobs.due_ns <= bindparam("now_ns"),
    order=[_jobs.priority.desc(), _jobs.due_ns, _jobs.id],
    limited=True,
)
_LOST: Final = rows_of(
    app_jobs,
    _jobs.state == "running",
    _jobs.lease_until_ns <= bindparam("now_ns"),
    order=[_jobs.id],
    limited=True,
)
_ENDED: Final = (
    select(_jobs.id)
    .where(_jobs.app == APP, _jobs.ended_ns < bindparam("before_ns"))
    .order_by(_jobs.ended_ns, _jobs.id)
    .limit(LIMIT)
)
_REMOVE_ENDED: Final = removal_of(app_jobs, _jobs.id.in_(_ENDED))
_SCHEDULES: Final = rows_of(app_schedules, order=[app_schedules.c.name])
_REMOVE_SCHEDULE: Final = removal_of(app_schedules, app_schedules.c.name == bindparam("name"))


class JobStatements(Statements):
    """The port `JobRows`."""

    def get_job(self, job_id: str) -> JobRow | None:
        """Return a job."""
        row = self._row(_GET, id=job_id)
        return None if row is None else JobRow(**row)

    def put_job(self, row: JobRow) -> None:
        """Add or replace a job."""
        self._put_row(app_jobs, row)

    def jobs(self, *, state: JobState | None, before: str, limit: int) -> Sequence[JobRow]:
        """Return jobs, newest first."""
        query = _LISTS[state is not None, bool(before)]
        values = {"state": state, "before": before}
        given = {name: value for name, value in values.items() if value}
        return [JobRow(**row) for row in self._rows(query, limit=limit, **given)]

    def count_jobs(self, state: JobState) -> int:
        """Return how many jobs have a state."""
        return int(self._value(_COUNT, state=state))

    def open_job(self, unique_key: str) -> JobRow | None:
        """Return the job with this key that has not ended."""
        row = self._row(_OPEN, unique_key=unique_key)
        return None if row is None else JobRow(**row)

    def due_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        """Return pending jobs that are due."""
        return [JobRow(**row) for row in self._rows(_DUE, now_ns=now_ns, limit=limit)]

    def lost_jobs(self, now_ns: int, limit: int) -> Sequence[JobRow]:
        """Return running jobs whose lease has ended."""
        return [JobRow(**row) for row in self._rows(_LOST, now_ns=now_ns, limit=limit)]

    def remove_ended_jobs(self, before_ns: int, limit: int) -> int:
        """Remove jobs that ended before."""
        return self._remove(_REMOVE_ENDED, before_ns=before_ns, limit=limit)

    def schedules(self) -> Sequence[ScheduleRow]:
        """Return all schedules, by name."""
        return [ScheduleRow(**row) for row in self._rows(_SCHEDULES)]

    def put_schedule(self, row: ScheduleRow) -> None:
        """Add or replace a schedule."""
        self._put_row(app_schedules, row)

    def remove_schedule(self, name: str) -> None:
        """Remove a schedule."""
        self._remove(_REMOVE_SCHEDULE, name=name)
