"""What becomes of a job: attempts that fail, are lost, or are not what they were."""

from __future__ import annotations

import pytest

from cloche.apps.storage import job_states
from cloche.apps.storage.errors import JobLostError
from cloche.apps.storage.rows import JobRow

NOW_NS = 1_700_000_000_000_000_000
MAX_MS = 3_600_000


def begun(job, *, owner="w"):
    """Return a job that somebody works on."""
    return job_states.begin(job, owner=owner, now_ns=NOW_NS, until_ns=NOW_NS + 1)


def new(**values):
    """Return a job that waits."""
    options = {"id": "job-1", "name": "j", "data": b"null", "created_ns": NOW_NS, "due_ns": NOW_NS}
    return JobRow(**{**options, **values})


def failed(job):
    """Return what an attempt that failed makes of a job."""
    return job_states.fail(job, error="no", now_ns=NOW_NS, backoff_ms_max=MAX_MS)


def lost(job, most=5):
    """Return what an attempt whose process ended makes of a job."""
    return job_states.lose(job, now_ns=NOW_NS, lost_count_max=most, backoff_ms_max=MAX_MS)


def test_an_attempt_of_before():
    """A worker may lose a job and take it again; its first attempt does not end the second."""
    first = begun(new())
    second = begun(lost(first))
    assert (second.attempt, second.lease_owner) == (2, first.lease_owner)
    assert job_states.check_held(second, second.id, 2, "w") is second
    for row, attempt, owner in ((second, 1, "w"), (second, 2, "v"), (lost(second), 2, "w")):
        with pytest.raises(JobLostError):
            job_states.check_held(row, second.id, attempt, owner)
    with pytest.raises(JobLostError):
        job_states.check_held(None, second.id, 2, "w")


def test_what_is_lost_is_no_failure():
    """An attempt whose process ended takes none of the attempts that may fail."""
    job = begun(lost(begun(new(retry_count=1))))
    job = failed(job)
    assert (job.state, job.attempt, job.lost) == ("pending", 2, 1)
    assert failed(begun(job)).state == "failed"
    assert failed(begun(new())).state == "failed"


def test_how_long_the_next_attempt_waits():
    """The first waits for what the job says, each behind it twice as long, up to the limit."""
    job, waits = new(retry_count=20, backoff_ms=1000), []
    for _ in range(14):
        job = failed(begun(job))
        waits.append((job.due_ns - NOW_NS) // 1_000_000)
    assert waits[:4] == [1000, 2000, 4000, 8000]
    assert waits[-1] == MAX_MS


def test_how_often_a_job_is_lost():
    """So often as the limit says, then it has failed."""
    job = new()
    for _ in range(2):
        job = lost(begun(job), most=2)
        assert job.state == "pending"
    assert lost(begun(job), most=2).state == "failed"


def test_what_is_given_back():
    """A worker that ends gives a job back as if it had not begun it."""
    job = job_states.release(begun(new()), now_ns=NOW_NS)
    assert (job.state, job.attempt, job.lease_owner) == ("pending", 0, None)
