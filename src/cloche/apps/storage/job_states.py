"""What becomes of a job: its states, and how it gets from one to the next.

    pending -> running -> done
       ^          |-----> failed      no attempts left
       |----------|                   an attempt failed, or its process died
    pending, running ---> cancelled

Pure functions from one row to the next. Invariants:
- who finishes an attempt names it by its number and its owner; one that was given to another since
  then changes nothing;
- waits between attempts double up to `apps.job_backoff_ms_max`;
- an attempt that died with its process counts apart: `apps.job_lost_count_max` of them do not use
  up the attempts that the app asked for, and one more ends the job.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cloche.apps.storage.errors import JobLostError
from cloche.apps.storage.rows import JOB_ENDED

if TYPE_CHECKING:
    from cloche.apps.storage.rows import JobRow, JobState

NS_PER_MS: Final = 1_000_000
ERROR_LENGTH_MAX: Final = 4000


def backoff_ms(row: JobRow, backoff_ms_max: int) -> int:
    """Return how long to wait after the attempts that failed so far."""
    failed = max(row.attempt - row.lost, 1)
    # Beyond 2^40 it is over any limit; the number itself would grow without end.
    return min(row.backoff_ms << min(failed - 1, 40), backoff_ms_max)


def begin(row: JobRow, *, owner: str, now_ns: int, until_ns: int) -> JobRow:
    """Return a pending job as its owner runs it, with a lease."""
    return replace(
        row,
        state="running",
        attempt=row.attempt + 1,
        due_ns=now_ns,
        lease_owner=owner,
        lease_until_ns=until_ns,
    )


def check_held(row: JobRow | None, job_id: str, attempt: int, owner: str) -> JobRow:
    """Return a job that an owner runs in this attempt.

    Raises:
        JobLostError: it runs elsewhere, or does not run.
    """
    if row is None or row.state != "running" or (row.attempt, row.lease_owner) != (attempt, owner):
        raise JobLostError(id=job_id, attempt=attempt)
    return row


def finish(row: JobRow, *, result: bytes, now_ns: int) -> JobRow:
    """Return a running job whose attempt returned: done, or cancelled if it was asked to stop."""
    state: JobState = "cancelled" if row.is_cancelled else "done"
    return replace(_ended(row, now_ns), state=state, result=result, error=None)


def fail(row: JobRow, *, error: str, now_ns: int, backoff_ms_max: int) -> JobRow:
    """Return a running job whose attempt failed: pending again, or over."""
    error = error.replace("\0", "")[:ERROR_LENGTH_MAX]
    if row.is_cancelled:
        return replace(_ended(row, now_ns), state="cancelled", error=error)
    if row.attempt - row.lost > row.retry_count:
        return replace(_ended(row, now_ns), state="failed", error=error)
    wait_ns = backoff_ms(row, backoff_ms_max) * NS_PER_MS
    return replace(_released(row), state="pending", due_ns=now_ns + wait_ns, error=error)


def lose(row: JobRow, *, now_ns: int, lost_count_max: int, backoff_ms_max: int) -> JobRow:
    """Return a running job whose lease has ended: somebody else takes it, unless it was too often.

    The first one lost is due at once: most processes end because they are told to.
    """
    error = "its process ended while it ran"
    row = replace(row, lost=row.lost + 1)
    if row.is_cancelled:
        return replace(_ended(row, now_ns), state="cancelled", error=error)
    if row.lost > lost_count_max:
        return replace(_ended(row, now_ns), state="failed", error=error)
    wait_ms = 0 if row.lost == 1 else min(row.backoff_ms << min(row.lost - 2, 40), backoff_ms_max)
    return replace(
        _released(row), state="pending", due_ns=now_ns + wait_ms * NS_PER_MS, error=error
    )


def release(row: JobRow, *, now_ns: int) -> JobRow:
    """Return a running job that its owner gives back: the attempt does not count."""
    if row.is_cancelled:
        return replace(_ended(row, now_ns), state="cancelled")
    return replace(_released(row), state="pending", attempt=row.attempt - 1, due_ns=now_ns)


def cancel(row: JobRow, *, now_ns: int) -> JobRow:
    """Return a job that was asked to stop: over when it did not run, else when its attempt ends."""
    if row.state in JOB_ENDED:
        return row
    if row.state == "pending":
        return replace(_ended(row, now_ns), state="cancelled", is_cancelled=True)
    return replace(row, is_cancelled=True)


def _released(row: JobRow) -> JobRow:
    return replace(row, lease_owner=None, lease_until_ns=None)


def _ended(row: JobRow, now_ns: int) -> JobRow:
    return replace(_released(row), ended_ns=now_ns)
