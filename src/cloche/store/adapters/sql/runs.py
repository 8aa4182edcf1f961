"""Runs, as rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, insert, or_, select, update

from cloche.store.adapters.sql.common import Rows, require_runs
from cloche.store.adapters.sql.schema import journals, runs, sessions, steps
from cloche.store.checks import check_page, check_run
from cloche.store.errors import StoreChangedError, StoreExistsError, StoreUnknownError
from cloche.store.rows import Run, can_follow, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from cloche.store.rows import RunStatus

_FIXED_FIELDS = {"id", "session_id", "created_ns"}


class SqlRuns(Rows):
    """The port `RunTable`."""

    def create(self, run: Run) -> None:
        """Add a run with an empty journal."""
        check_run(run, self.limits)

        def work(connection: Connection) -> None:
            query = select(runs.c.id).where(runs.c.id == run.id)
            if connection.execute(query).first() is not None:
                raise StoreExistsError(what="run", id=run.id)
            if run.session_id is not None:
                query = select(sessions.c.id).where(sessions.c.id == run.session_id)
                if connection.execute(query).first() is None:
                    raise StoreUnknownError(what="session", id=run.session_id)
            connection.execute(insert(runs), asdict(run))
            empty = {"run_id": run.id, "count": 0, "size_bytes": 0, "head": b""}
            connection.execute(insert(journals), empty)

        self.database.write(work)

    def get(self, run_id: str) -> Run | None:
        """Return a run."""
        check_id("run", run_id)
        query = select(runs).where(runs.c.id == run_id)
        row = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Run(**row._mapping)

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
        query = select(runs).order_by(runs.c.created_ns.desc(), runs.c.id.desc()).limit(limit)
        if session_id is not None:
            query = query.where(runs.c.session_id == session_id)
        if status is not None:
            query = query.where(runs.c.status == status)

        def work(connection: Connection) -> Sequence[Any]:
            if not after:
                return connection.execute(query).all()
            require_runs(connection, {after})
            last_ns = select(runs.c.created_ns).where(runs.c.id == after).scalar_subquery()
            same = and_(runs.c.created_ns == last_ns, runs.c.id < after)
            return connection.execute(query.where(or_(runs.c.created_ns < last_ns, same))).all()

        return [Run(**row._mapping) for row in self.database.read(work)]

    def update(self, run: Run, *, expected: RunStatus) -> None:
        """Replace a run that has the expected status."""
        check_run(run, self.limits)
        self.database.write(lambda connection: replace_run(connection, run, expected=expected))

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
    query = select(runs.c.status).where(runs.c.id == run.id).with_for_update()
    found = connection.execute(query).scalar()
    if found is None:
        raise StoreUnknownError(what="run", id=run.id)
    if expected is not None and found != expected:
        raise StoreChangedError(what="run", id=run.id, expected=expected, found=found)
    if not can_follow(found, run.status):
        raise StoreChangedError(
            what="run", id=run.id, expected=f"a status before {run.status}", found=found
        )
    values = {name: value for name, value in asdict(run).items() if name not in _FIXED_FIELDS}
    connection.execute(update(runs).where(runs.c.id == run.id).values(values))
