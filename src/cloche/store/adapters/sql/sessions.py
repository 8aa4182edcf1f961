"""Sessions, their history and their leases, as rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select, update

from cloche.store.adapters.sql.common import (
    Rows,
    by_key,
    require_blobs,
    require_runs,
    values_of,
)
from cloche.store.adapters.sql.journals import extend_journal
from cloche.store.adapters.sql.runs import replace_run
from cloche.store.adapters.sql.schema import leases, runs, sessions, snapshots, steps
from cloche.store.checks import (
    check_append,
    check_history,
    check_page,
    check_run,
    check_session,
)
from cloche.store.errors import (
    LeaseHeldError,
    LeaseLostError,
    StoreChangedError,
    StoreExistsError,
    StoreUnknownError,
)
from cloche.store.rows import Head, Lease, Leased, Session, Snapshot, Step, check_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row, Select, Table
    from sqlalchemy.engine import Connection

    from cloche.store.rows import Change, SessionState

_HEAD_FIELDS: Final = ("ordinal", "snapshot", "snapshot_ordinal", "files", "document")
_PLAIN_FIELDS: Final = (
    "id name language image_id created_ns changed_ns working_dir state settings revision".split()
)
_LEASE_FIELDS: Final = ("session_id", "owner", "token", "until_ns")
_STEP_FIELDS: Final = ("ordinal", "run_id", "blob", "document")
_SNAPSHOT_FIELDS: Final = ("ordinal", "blob", "size_bytes", "created_ns")

_ADD: Final = insert(sessions)
_REPLACE: Final = update(sessions).where(sessions.c.id == bindparam("key"))
# The row of the session is what two who come first at once wait for.
_LOCKED: Final = by_key(sessions, "id").with_for_update()
_REVISION: Final = (
    select(sessions.c.revision).where(sessions.c.id == bindparam("id")).with_for_update()
)
_FIND: Final = (
    select(sessions)
    .where(or_(sessions.c.id == bindparam("wanted"), sessions.c.name == bindparam("wanted")))
    .order_by((sessions.c.id == bindparam("wanted")).desc())
    .limit(1)
)
_NAMESAKE: Final = select(sessions.c.id).where(
    and_(sessions.c.name == bindparam("name"), sessions.c.id != bindparam("id"))
)
_GET_LEASE: Final = by_key(leases, "session_id")
_ADD_LEASE: Final = insert(leases)
_REPLACE_LEASE: Final = update(leases).where(leases.c.session_id == bindparam("key"))
_CHANGE_HELD_LEASE: Final = update(leases).where(
    and_(
        leases.c.session_id == bindparam("key"),
        leases.c.owner == bindparam("held_owner"),
        leases.c.token == bindparam("held_token"),
    )
)


def _history(table: Table, fields: Iterable[str]) -> Select[Any]:
    """Return the query of what stands behind an ordinal in the history of a session."""
    query = select(*(table.c[name] for name in fields)).where(
        and_(table.c.session_id == bindparam("session_id"), table.c.ordinal > bindparam("after"))
    )
    return query.order_by(table.c.ordinal)


def _taken(table: Table) -> Select[Any]:
    """Return the query of the ordinals of a session that lie between two."""
    between = table.c.ordinal.between(bindparam("first"), bindparam("last"))
    return select(table.c.ordinal).where(
        and_(table.c.session_id == bindparam("session_id"), between)
    )


_STEPS: Final = _history(steps, _STEP_FIELDS).limit(bindparam("most"))
_SNAPSHOTS: Final = _history(snapshots, _SNAPSHOT_FIELDS)
_TAKEN: Final = {table.name: _taken(table) for table in (steps, snapshots)}
_ADD_HISTORY: Final = {table.name: insert(table) for table in (steps, snapshots)}


class SqlSessions(Rows):
    """The port `SessionTable`."""

    def create(
        self, session: Session, *, steps: Sequence[Step] = (), snapshots: Sequence[Snapshot] = ()
    ) -> None:
        """Add a session with its history."""
        check_session(session, self.limits)
        check_history(steps, snapshots, self.limits)

        def work(connection: Connection) -> None:
            if connection.execute(_REVISION, {"id": session.id}).first() is not None:
                raise StoreExistsError(what="session", id=session.id)
            _check_name(connection, session)
            _check_named(connection, session, steps, snapshots)
            connection.execute(_ADD, _values(session))
            _add_history(connection, session.id, steps, snapshots)

        self.database.write(work)

    def get(self, id_or_name: str) -> Session | None:
        """Return the session of this id, else of this name."""
        check_id("session", id_or_name)
        row = self.database.read(
            lambda connection: connection.execute(_FIND, {"wanted": id_or_name}).first()
        )
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
        for append in change.journals:
            check_append(append, self.limits)
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
        values = {"session_id": session_id, "after": after, "most": limit}
        rows = self.database.read(lambda connection: connection.execute(_STEPS, values).all())
        return [Step(**row._mapping) for row in rows]

    def snapshots(self, session_id: str) -> Sequence[Snapshot]:
        """Return all snapshots, oldest first."""
        check_id("session", session_id)
        # A snapshot of the start has the ordinal 0.
        values = {"session_id": session_id, "after": -1}
        rows = self.database.read(lambda connection: connection.execute(_SNAPSHOTS, values).all())
        return [Snapshot(**row._mapping) for row in rows]


class SqlLeases(Rows):
    """The port `LeaseTable`."""

    def acquire(self, session_id: str, *, owner: str, now_ns: int, until_ns: int) -> Leased:
        """Take the lease of a session."""
        check_id("session", session_id)
        check_id("owner", owner)

        def work(connection: Connection) -> Leased:
            session = connection.execute(_LOCKED, {"id": session_id}).first()
            if session is None:
                raise StoreUnknownError(what="session", id=session_id)
            row = connection.execute(_GET_LEASE, {"session_id": session_id}).first()
            lease = Lease(session_id=session_id, owner=owner, token=1, until_ns=until_ns)
            if row is None:
                connection.execute(_ADD_LEASE, values_of(lease, _LEASE_FIELDS))
                return Leased(lease=lease, session=_session(session))
            if row.owner == owner:
                lease = replace(lease, token=row.token)
            elif row.owner is None or row.until_ns <= now_ns:
                lease = replace(lease, token=row.token + 1)
            else:
                raise LeaseHeldError(session_id=session_id, owner=row.owner, until_ns=row.until_ns)
            values = {"owner": owner, "token": lease.token, "until_ns": until_ns}
            connection.execute(_REPLACE_LEASE, {"key": session_id, **values})
            return Leased(lease=lease, session=_session(session))

        return self.database.write(work)

    def get(self, session_id: str) -> Lease | None:
        """Return the lease of a session."""
        check_id("session", session_id)
        values = {"session_id": session_id}
        row = self.database.read(lambda connection: connection.execute(_GET_LEASE, values).first())
        return None if row is None or row.owner is None else Lease(**row._mapping)

    def renew(self, lease: Lease, *, until_ns: int) -> Lease:
        """Move the end of a lease."""
        if not self._change_held(lease, until_ns=until_ns):
            raise LeaseLostError(session_id=lease.session_id, token=lease.token)
        return replace(lease, until_ns=until_ns)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        self._change_held(lease, owner=None, until_ns=0)

    def _change_held(self, lease: Lease, **values: Any) -> bool:
        """Change a lease if it is still this one; return whether it is."""
        held = {"key": lease.session_id, "held_owner": lease.owner, "held_token": lease.token}
        return self.database.write(
            lambda connection: connection.execute(_CHANGE_HELD_LEASE, held | values).rowcount > 0
        )


def _apply(connection: Connection, change: Change) -> Session:
    session = change.session
    revision = connection.execute(_REVISION, {"id": session.id}).scalar()
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
    for append in change.journals:
        extend_journal(connection, append)
    _forget(connection, change)
    _add_history(connection, session.id, change.steps, change.snapshots)
    changed = replace(session, revision=revision + 1)
    values = {
        name: value for name, value in _values(changed).items() if name not in {"id", "created_ns"}
    }
    connection.execute(_REPLACE, {"key": session.id, **values})
    return changed


def _check_token(connection: Connection, session_id: str, token: int) -> None:
    lease = connection.execute(_GET_LEASE, {"session_id": session_id}).first()
    if lease is None or lease.owner is None or lease.token != token:
        raise LeaseLostError(session_id=session_id, token=token)


def _check_name(connection: Connection, session: Session) -> None:
    if session.name is None:
        return
    values = {"name": session.name, "id": session.id}
    if connection.execute(_NAMESAKE, values).first() is not None:
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
    values = [values_of(row, _STEP_FIELDS) for row in new_steps]
    _add_rows(connection, steps, "step", session_id, values)
    values = [values_of(row, _SNAPSHOT_FIELDS) for row in new_snapshots]
    _add_rows(connection, snapshots, "snapshot", session_id, values)


def _add_rows(
    connection: Connection,
    table: Table,
    what: str,
    session_id: str,
    rows: Sequence[dict[str, Any]],
) -> None:
    if not rows:
        return
    ordinals = sorted(row["ordinal"] for row in rows)
    values = {"session_id": session_id, "first": ordinals[0], "last": ordinals[-1]}
    taken = set(connection.execute(_TAKEN[table.name], values).scalars()) & set(ordinals)
    if taken:
        raise StoreExistsError(what=what, id=f"{session_id}/{min(taken)}")
    connection.execute(
        _ADD_HISTORY[table.name], [{"session_id": session_id, **row} for row in rows]
    )


def _values(session: Session) -> dict[str, Any]:
    return values_of(session, _PLAIN_FIELDS) | values_of(session.head, _HEAD_FIELDS)


def _session(row: Row[Any]) -> Session:
    return Session(head=Head(**values_of(row, _HEAD_FIELDS)), **values_of(row, _PLAIN_FIELDS))
