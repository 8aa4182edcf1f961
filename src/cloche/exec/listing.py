"""Which sessions there are: by name, by what they are doing, by when they were last used.

Reads the store alone; nothing is woken, no lease is taken, nothing is written. A run whose process
died is told as interrupted from the moment on at which its lease is over; when its session is used
it goes on all the same, if it can.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.store.ports import Store
    from cloche.store.rows import Run, RunStatus, Session

SessionStatus = Literal["idle", "running", "suspended", "interrupted", "failed"]
STATUSES: Final = get_args(SessionStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A session in a list: its row, and what its newest run says of it.

    Args:
        row: as it is kept.
        status: of its newest run; "idle" where that ended by itself or there is none. A session
            whose run failed or was interrupted is as it was before that run, and can be used.
    """

    row: Session
    status: SessionStatus


def list_sessions(
    store: Store,
    *,
    now_ns: int,
    name: str | None = None,
    status: str | None = None,
    language: str | None = None,
    changed_before_ns: int | None = None,
    changed_after_ns: int | None = None,
) -> Iterator[Listed]:
    """Yield sessions in the order of their ids.

    Args:
        store: where they are kept.
        now_ns: to tell whose lease is over.
        name: a pattern with `*`, `?` and `[…]` for their names; those without a name have none.
        status: of `STATUSES`.
        language: "javascript", "typescript" or "python".
        changed_before_ns: only those that were not changed since.
        changed_after_ns: only those that were changed since.

    Raises:
        InvalidRunError: there is no such status.
    """
    if status is not None and status not in STATUSES:
        raise InvalidRunError(f"{status!r} is no status; there are {', '.join(STATUSES)}")
    after = ""
    while page := store.sessions.list(after=after):
        after = page[-1].id
        for row in page:
            if name is not None and not fnmatchcase(row.name or "", name):
                continue
            if language is not None and row.language != language:
                continue
            if changed_before_ns is not None and row.changed_ns >= changed_before_ns:
                continue
            if changed_after_ns is not None and row.changed_ns < changed_after_ns:
                continue
            found = _status(store, row, now_ns)
            if status is None or found == status:
                yield Listed(row=row, status=found)


def status_of_run(store: Store, run: Run, now_ns: int) -> RunStatus:
    """Return the status of a run as it is told: "interrupted" where nobody works on it any more.

    Args:
        store: where it is kept.
        run: as it is kept.
        now_ns: the wall clock.
    """
    if run.status != "running" or run.session_id is None:
        return run.status
    lease = store.leases.get(run.session_id)
    if lease is not None and lease.until_ns > now_ns:
        return "running"
    # Its process may have ended it, and let go of the session, since the run was read.
    again = store.runs.get(run.id)
    return "interrupted" if again is None or again.status == "running" else again.status


def _status(store: Store, row: Session, now_ns: int) -> SessionStatus:
    newest = store.runs.list(session_id=row.id, limit=1)
    if newest:
        status = status_of_run(store, newest[0], now_ns)
        if status in STATUSES:
            return cast("SessionStatus", status)
    return "idle"
