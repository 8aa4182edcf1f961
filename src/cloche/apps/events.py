"""Jobs and schedules of apps, as calls of their handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.apps.adapters.jobs import JobFailedError, JobLoop
from cloche.apps.routing import AppName
from cloche.apps.storage.jobs import event_of
from cloche.apps.storage.rows import app_parts
from cloche.exec.adapters.effects import CancelToken

if TYPE_CHECKING:
    from cloche.apps.adapters.jobs import JobControl
    from cloche.apps.serving import AppServer
    from cloche.apps.storage.rows import JobRow


def job_loop(server: AppServer) -> JobLoop:
    """Return the loop that runs jobs and schedules; whoever starts it stops it."""

    def run(app: str, job: JobRow, control: JobControl) -> Any:
        tenant, name = app_parts(app)
        return run_job(server, AppName(tenant=tenant, name=name), job, control)

    loop = JobLoop(
        server.apps.storage.desk,
        run,
        server.apps.limits,
        owner=server.new_id(),
        now_ns=server.apps.now_ns,
    )
    server.apps.storage.on_job(loop.wake)
    return loop


def run_job(server: AppServer, app: AppName, job: JobRow, control: JobControl) -> Any:
    """Call the handler of a job, or of a schedule's firing; return what it returned.

    Raises:
        JobFailedError: it failed, or the app has no such handler.
        AppError: the app cannot be called now.
    """
    cancel = CancelToken()
    control.on_stop(cancel.cancel)
    kind, event = event_of(job)
    timeout_ms = job.timeout_ms or server.apps.limits.apps.job_timeout_ms_max
    execution = server.call(
        app,
        kind,
        event,
        job=job,
        cancel=cancel,
        timeout_ms=timeout_ms,
        stopped=lambda: control.reason,
    )
    if execution is None:
        raise JobFailedError(f"the version that answers has no handler `{kind}`")
    if execution.failure is not None:
        raise JobFailedError(execution.failure.message)
    return execution.value
