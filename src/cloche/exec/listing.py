"""Which sessions there are: by name, by what they are doing, by when they were last used.

Reads the store alone; nothing is woken, no lease is taken. So a run whose process died counts as
running until somebody uses its session.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.store.ports import Store
    from cloche.store.rows import Session

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
    name: str | None = None,
    status: str | None = None,
    language: str | None = None,
    changed_before_ns: int | None = None,
    changed_after_ns: int | None = None,
) -> Iterator[Listed]:
    """Yield sessions in the order of their ids.

    Args:
        store: where they are kept.
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
            found = _status(store, row)
            if status is None or found == status:
                yield Listed(row=row, status=found)


def _status(store: Store, row: Session) -> SessionStatus:
    newest = store.runs.list(session_id=row.id, limit=1)
    if newest and newest[0].status in STATUSES:
        return cast("SessionStatus", newest[0].status)
    return "idle"
