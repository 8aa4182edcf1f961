"""Runs, as rows."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select, update

from cloche.store.adapters.sql.common import Rows, by_key, named, require_runs, values_of
from cloche.store.adapters.sql.journals import begin_journal, extend_journal
from cloche.store.adapters.sql.prepared import Prepared
from cloche.store.adapters.sql.records import put_document
from cloche.store.adapters.sql.schema import runs, sessions, steps
from cloche.store.checks import (
    check_append,
    check_document,
    check_entries,
    check_page,
    check_run,
)
from cloche.store.errors import StoreChangedError, StoreExistsError, StoreUnknownError
from cloche.store.rows import Run, can_follow, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from cloche.store.rows import Document, JournalAppend, RunStatus

_FIELDS: Final = tuple(column.name for column in runs.columns)
_CHANGING_FIELDS: Final = tuple(
    name for name in _FIELDS if name not in {"id", "session_id", "created_ns"}
)
_GET: Final = Prepared(by_key(runs, "id"))
_STATUS: Final = Prepared(
    select(runs.c.status).where(runs.c.id == bindparam("id")).with_for_update()
)
_SESSION: Final = Prepared(select(sessions.c.id).where(sessions.c.id == bindparam("id")))
_ADD: Final = Prepared(insert(runs))
_REPLACE: Final = Prepared(update(runs).where(runs.c.id == bindparam("key")))


@cache
def _page(names: frozenset[str]) -> Prepared:
    """Return the query of the newest runs whose columns of these names have given values."""
    return Prepared(_newest(names))


def _newest(names: frozenset[str]) -> Select[Any]:
    query = select(runs).where(*(runs.c[name] == bindparam(name) for name in sorted(names)))
    return query.order_by(runs.c.created_ns.desc(), runs.c.id.desc()).limit(bindparam("most"))


@cache
def _next_page(names: frozenset[str]) -> Prepared:
    """Return the same, older than another run."""
    last_ns = select(runs.c.created_ns).where(runs.c.id == bindparam("after")).scalar_subquery()
    same = and_(runs.c.created_ns == last_ns, runs.c.id < bindparam("after"))
    return Prepared(_newest(names).where(or_(runs.c.created_ns < last_ns, same)))


class SqlRuns(Rows):
    """The port `RunTable`."""

    def create(
        self, run: Run, *, entries: Sequence[bytes] = (), documents: Sequence[Document] = ()
    ) -> None:
        """Add a run; its journal begins with these entries."""
        check_run(run, self.limits)
        check_entries(entries, b"", self.limits)
        for document in documents:
            check_document("document.data", document.data, self.limits)

        def work(connection: Connection) -> None:
            if _STATUS.first(connection, {"id": run.id}) is not None:
                raise StoreExistsError(what="run", id=run.id)
            session_id = run.session_id
            if session_id is not None and not _SESSION.rows(connection, {"id": session_id}):
                raise StoreUnknownError(what="session", id=session_id)
            _ADD.change(connection, values_of(run, _FIELDS))
            begin_journal(connection, run.id, entries)
            for document in documents:
                put_document(connection, document)

        self.database.write(work)

    def get(self, run_id: str) -> Run | None:
        """Return a run."""
        check_id("run", run_id)
        row = self.database.first(_GET, {"id": run_id})
        return None if row is None else Run(**named(_FIELDS, row))

    def list(
        self,
        *,
        session_id: str | None = None,
        status: RunStatus | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Run]:
        """Return runs, newest first."""
        check_page(limit, self.limits)
        given = {"session_id": session_id, "status": status}
        chosen = {name: value for name, value in given.items() if value is not None}
        names = frozenset(chosen)
        values = {"most": limit, **chosen}

        def work(connection: Connection) -> Sequence[Any]:
            if not after:
                return _page(names).rows(connection, values)
            require_runs(connection, {after})
            return _next_page(names).rows(connection, {"after": after, **values})

        return [Run(**named(_FIELDS, row)) for row in self.database.read(work)]

    def update(
        self,
        run: Run,
        *,
        expected: RunStatus,
        append: JournalAppend | None = None,
        is_lazy: bool = False,
    ) -> None:
        """Replace a run that has the expected status."""
        check_run(run, self.limits)
        check_append(append, self.limits)

        def work(connection: Connection) -> None:
            replace_run(connection, run, expected=expected)
            if append is not None:
                extend_journal(connection, append)

        self.database.write(work, is_lazy=is_lazy)

    def delete(self, run_id: str) -> bool:
        """Remove a run with all that hangs on it."""
        check_id("run", run_id)

        def work(connection: Connection) -> bool:
            query = select(steps.c.session_id).where(steps.c.run_id == run_id).limit(1)
            holder = connection.execute(query).scalar()
            if holder is not None:
                raise StoreChangedError(
                    what="run",
                    id=run_id,
                    expected="no history that names it",
                    found=f"that of session '{holder}'",
                )
            return connection.execute(delete(runs).where(runs.c.id == run_id)).rowcount > 0

        return self.database.write(work)

    def prune(self, *, ended_before_ns: int, limit: int = 1000) -> int:
        """Remove runs that ended before, oldest first, unless history names them."""
        check_page(limit, self.limits)
        old = and_(runs.c.ended_ns < ended_before_ns, ~exists().where(steps.c.run_id == runs.c.id))
        chosen = select(runs.c.id).where(old).order_by(runs.c.ended_ns, runs.c.id).limit(limit)
        statement = delete(runs).where(and_(runs.c.id.in_(chosen), old))
        return self.database.write(lambda connection: connection.execute(statement).rowcount)


def replace_run(connection: Connection, run: Run, *, expected: RunStatus | None = None) -> None:
    """Replace a run whose status lets it.

    Raises:
        StoreUnknownError: there is no such run.
        StoreChangedError: it has another status than expected, or one that cannot change so.
    """
    found = _STATUS.value(connection, {"id": run.id})
    if found is None:
        raise StoreUnknownError(what="run", id=run.id)
    if expected is not None and found != expected:
        raise StoreChangedError(what="run", id=run.id, expected=expected, found=found)
    if not can_follow(found, run.status):
        raise StoreChangedError(
            what="run", id=run.id, expected=f"a status before {run.status}", found=found
        )
    _REPLACE.change(connection, {"key": run.id, **values_of(run, _CHANGING_FIELDS)})
