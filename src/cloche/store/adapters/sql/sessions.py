"""Sessions, their history and their leases, as rows."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select, update

from cloche.store.adapters.sql.common import Rows, require_blobs, require_runs
from cloche.store.adapters.sql.runs import replace_run
from cloche.store.adapters.sql.schema import leases, runs, sessions, snapshots, steps
from cloche.store.checks import check_history, check_page, check_run, check_session
from cloche.store.errors import (
    LeaseHeldError,
    LeaseLostError,
    StoreChangedError,
    StoreExistsError,
    StoreUnknownError,
)
from cloche.store.rows import Head, Lease, Session, Snapshot, Step, check_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row, Table
    from sqlalchemy.engine import Connection

    from cloche.store.rows import Change, SessionState

_HEAD_FIELDS = ("ordinal", "snapshot", "snapshot_ordinal", "files", "document")
_PLAIN_FIELDS = (
    "id name language image_id created_ns changed_ns working_dir state settings revision".split()
)


class SqlSessions(Rows):
    """The port `SessionTable`."""

    def create(
        self, session: Session, *, steps: Sequence[Step] = (), snapshots: Sequence[Snapshot] = ()
    ) -> None:
        """Add a session with its history."""
        check_session(session, self.limits)
        check_history(steps, snapshots, self.limits)

        def work(connection: Connection) -> None:
            found = connection.execute(select(sessions.c.id).where(sessions.c.id == session.id))
            if found.first() is not None:
                raise StoreExistsError(what="session", id=session.id)
            _check_name(connection, session)
            _check_named(connection, session, steps, snapshots)
            connection.execute(insert(sessions), _values(session))
            _add_history(connection, session.id, steps, snapshots)

        self.database.write(work)

    def get(self, id_or_name: str) -> Session | None:
        """Return the session of this id, else of this name."""
        check_id("session", id_or_name)
        query = (
            select(sessions)
            .where(or_(sessions.c.id == id_or_name, sessions.c.name == id_or_name))
            .order_by((sessions.c.id == id_or_name).desc())
            .limit(1)
        )
        row = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _session(row)

    def list(
        self, *, state: SessionState | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Session]:
        """Return sessions in the order of their ids."""
        check_page(limit, self.limits)
        query = select(sessions).where(sessions.c.id > after).order_by(sessions.c.id).limit(limit)
        if state is not None:
            query = query.where(sessions.c.state == state)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [_session(row) for row in rows]

    def apply(self, change: Change) -> Session:
        """Make a change."""
        check_session(change.session, self.limits)
        check_history(change.steps, change.snapshots, self.limits)
        for run in change.runs:
            check_run(run, self.limits)
        return self.database.write(lambda connection: _apply(connection, change))

    def delete(self, session_id: str) -> bool:
        """Remove a session, its history, its lease and the runs that nobody else names."""
        check_id("session", session_id)

        def work(connection: Connection) -> bool:
            connection.execute(delete(steps).where(steps.c.session_id == session_id))
            named = exists().where(steps.c.run_id == runs.c.id)
            connection.execute(delete(runs).where(and_(runs.c.session_id == session_id, ~named)))
            found = connection.execute(delete(sessions).where(sessions.c.id == session_id))
            return found.rowcount > 0

        return self.database.write(work)

    def steps(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Step]:
        """Return steps behind an ordinal."""
        check_id("session", session_id)
        check_page(limit, self.limits)
        query = (
            select(steps.c.ordinal, steps.c.run_id, steps.c.blob, steps.c.document)
            .where(and_(steps.c.session_id == session_id, steps.c.ordinal > after))
            .order_by(steps.c.ordinal)
            .limit(limit)
        )
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [Step(**row._mapping) for row in rows]

    def snapshots(self, session_id: str) -> Sequence[Snapshot]:
        """Return all snapshots, oldest first."""
        check_id("session", session_id)
        columns = snapshots.c
        query = (
            select(columns.ordinal, columns.blob, columns.size_bytes, columns.created_ns)
            .where(columns.session_id == session_id)
            .order_by(columns.ordinal)
        )
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [Snapshot(**row._mapping) for row in rows]


class SqlLeases(Rows):
    """The port `LeaseTable`."""

    def acquire(self, session_id: str, *, owner: str, now_ns: int, until_ns: int) -> Lease:
        """Take the lease of a session."""
        check_id("session", session_id)
        check_id("owner", owner)

        def work(connection: Connection) -> Lease:
            # The row of the session is what two who come first at once wait for.
            session = select(sessions.c.id).where(sessions.c.id == session_id).with_for_update()
            if connection.execute(session).first() is None:
                raise StoreUnknownError(what="session", id=session_id)
            query = select(leases).where(leases.c.session_id == session_id)
            row = connection.execute(query).first()
            lease = Lease(session_id=session_id, owner=owner, token=1, until_ns=until_ns)
            if row is None:
                connection.execute(insert(leases), asdict(lease))
                return lease
            if row.owner == owner:
                lease = replace(lease, token=row.token)
            elif row.owner is None or row.until_ns <= now_ns:
                lease = replace(lease, token=row.token + 1)
            else:
                raise LeaseHeldError(session_id=session_id, owner=row.owner, until_ns=row.until_ns)
            where = leases.c.session_id == session_id
            connection.execute(update(leases).where(where).values(asdict(lease)))
            return lease

        return self.database.write(work)

    def renew(self, lease: Lease, *, until_ns: int) -> Lease:
        """Move the end of a lease."""
        statement = update(leases).where(_is_held(lease)).values(until_ns=until_ns)
        found = self.database.write(lambda connection: connection.execute(statement).rowcount)
        if not found:
            raise LeaseLostError(session_id=lease.session_id, token=lease.token)
        return replace(lease, until_ns=until_ns)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        statement = update(leases).where(_is_held(lease)).values(owner=None, until_ns=0)
        self.database.write(lambda connection: connection.execute(statement))


def _is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        leases.c.session_id == lease.session_id,
        leases.c.owner == lease.owner,
        leases.c.token == lease.token,
    )


def _apply(connection: Connection, change: Change) -> Session:
    session = change.session
    query = select(sessions.c.revision).where(sessions.c.id == session.id).with_for_update()
    revision = connection.execute(query).scalar()
    if revision is None:
        raise StoreUnknownError(what="session", id=session.id)
    if revision != session.revision:
        raise StoreChangedError(
            what="session",
            id=session.id,
            expected=f"revision {session.revision}",
            found=f"revision {revision}",
        )
    if change.token is not None:
        _check_token(connection, session.id, change.token)
    _check_name(connection, session)
    _check_named(connection, session, change.steps, change.snapshots)
    for run in change.runs:
        replace_run(connection, run)
    _forget(connection, change)
    _add_history(connection, session.id, change.steps, change.snapshots)
    changed = replace(session, revision=revision + 1)
    values = {name: value for name, value in _values(changed).items() if name != "created_ns"}
    connection.execute(update(sessions).where(sessions.c.id == session.id).values(values))
    return changed


def _check_token(connection: Connection, session_id: str, token: int) -> None:
    query = select(leases.c.owner, leases.c.token).where(leases.c.session_id == session_id)
    lease = connection.execute(query).first()
    if lease is None or lease.owner is None or lease.token != token:
        raise LeaseLostError(session_id=session_id, token=token)


def _check_name(connection: Connection, session: Session) -> None:
    if session.name is None:
        return
    query = select(sessions.c.id).where(
        and_(sessions.c.name == session.name, sessions.c.id != session.id)
    )
    if connection.execute(query).first() is not None:
        raise StoreExistsError(what="session", id=session.name)


def _check_named(
    connection: Connection, session: Session, steps: Iterable[Step], snapshots: Iterable[Snapshot]
) -> None:
    require_runs(connection, {step.run_id for step in steps if step.run_id is not None})
    named = {step.blob for step in steps} | {snapshot.blob for snapshot in snapshots}
    named |= {session.head.snapshot, session.head.files}
    require_blobs(connection, {sha256 for sha256 in named if sha256 is not None})


def _forget(connection: Connection, change: Change) -> None:
    for table in (steps, snapshots):
        if change.forget_after is not None:
            behind = table.c.ordinal > change.forget_after
            connection.execute(
                delete(table).where(and_(table.c.session_id == change.session.id, behind))
            )
    if change.forget_snapshots:
        chosen = snapshots.c.ordinal.in_(change.forget_snapshots)
        connection.execute(
            delete(snapshots).where(and_(snapshots.c.session_id == change.session.id, chosen))
        )


def _add_history(
    connection: Connection,
    session_id: str,
    new_steps: Sequence[Step],
    new_snapshots: Sequence[Snapshot],
) -> None:
    _add_rows(connection, steps, "step", session_id, new_steps)
    _add_rows(connection, snapshots, "snapshot", session_id, new_snapshots)


def _add_rows(
    connection: Connection,
    table: Table,
    what: str,
    session_id: str,
    rows: Sequence[Step] | Sequence[Snapshot],
) -> None:
    if not rows:
        return
    ordinals = sorted(row.ordinal for row in rows)
    query = select(table.c.ordinal).where(
        and_(
            table.c.session_id == session_id,
            table.c.ordinal.between(ordinals[0], ordinals[-1]),
        )
    )
    taken = set(connection.execute(query).scalars()) & set(ordinals)
    if taken:
        raise StoreExistsError(what=what, id=f"{session_id}/{min(taken)}")
    connection.execute(insert(table), [{"session_id": session_id, **asdict(row)} for row in rows])


def _values(session: Session) -> dict[str, Any]:
    values = {name: getattr(session, name) for name in _PLAIN_FIELDS}
    return values | {name: getattr(session.head, name) for name in _HEAD_FIELDS}


def _session(row: Row[Any]) -> Session:
    head = Head(**{name: getattr(row, name) for name in _HEAD_FIELDS})
    return Session(head=head, **{name: getattr(row, name) for name in _PLAIN_FIELDS})
