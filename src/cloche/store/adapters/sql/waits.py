"""Promises, timers and approvals, as rows: what a run waits for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update

from cloche.store.adapters.sql.common import Rows, by_key, named, require_runs, values_of
from cloche.store.adapters.sql.prepared import Prepared
from cloche.store.adapters.sql.records import append_audit, put_document
from cloche.store.adapters.sql.runs import replace_run
from cloche.store.adapters.sql.schema import approvals, promises, timers
from cloche.store.checks import check_approval, check_change, check_document, check_page
from cloche.store.errors import (
    StoreChangedError,
    StoreExistsError,
    StoreInvalidError,
    StoreUnknownError,
)
from cloche.store.rows import Approval, AuditHead, Promise, Timer, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from cloche.store.rows import ApprovalChange, ApprovalStatus

_PROMISE_FIELDS: Final = tuple(column.name for column in promises.columns)
_APPROVAL_FIELDS: Final = tuple(column.name for column in approvals.columns)
_GET_PROMISE: Final = by_key(promises, "id")
_ADD_PROMISE: Final = insert(promises)
_COMPLETE: Final = update(promises).where(
    and_(promises.c.id == bindparam("key"), promises.c.value.is_(None))
)
_MOVE_TIMER: Final = update(timers).where(timers.c.id == bindparam("key"))
_ADD_TIMER: Final = insert(timers)
_REMOVE_TIMER: Final = delete(timers).where(timers.c.id == bindparam("key"))
_DUE: Final = (
    select(timers)
    .where(timers.c.due_ns <= bindparam("now_ns"))
    .order_by(timers.c.due_ns, timers.c.id)
    .limit(bindparam("most"))
)
_GET: Final = Prepared(by_key(approvals, "id"))
_LOCKED: Final = Prepared(by_key(approvals, "id").with_for_update())
_APPROVAL_STATUS: Final = Prepared(
    select(approvals.c.status).where(approvals.c.id == bindparam("id")).with_for_update()
)
_COUNT: Final = Prepared(
    select(func.count()).select_from(approvals).where(approvals.c.status == bindparam("status"))
)
_ADD: Final = Prepared(insert(approvals))
_DECIDE: Final = Prepared(update(approvals).where(approvals.c.id == bindparam("key")))


class SqlPromises(Rows):
    """The port `PromiseTable`."""

    def create(self, promise: Promise) -> None:
        """Add a promise."""
        check_document("promise.value", promise.value or b"", self.limits)

        def work(connection: Connection) -> None:
            if connection.execute(_GET_PROMISE, {"id": promise.id}).first() is not None:
                raise StoreExistsError(what="promise", id=promise.id)
            if promise.run_id is not None:
                require_runs(connection, {promise.run_id})
            connection.execute(_ADD_PROMISE, values_of(promise, _PROMISE_FIELDS))

        self.database.write(work)

    def get(self, promise_id: str) -> Promise | None:
        """Return a promise."""
        check_id("promise", promise_id)
        values = {"id": promise_id}
        row = self.database.read(
            lambda connection: connection.execute(_GET_PROMISE, values).first()
        )
        return None if row is None else Promise(**row._mapping)

    def complete(self, promise_id: str, value: bytes, *, now_ns: int) -> bool:
        """Give the value, once."""
        check_id("promise", promise_id)
        check_document("promise.value", value, self.limits)

        def work(connection: Connection) -> bool:
            values = {"key": promise_id, "value": value, "completed_ns": now_ns}
            if connection.execute(_COMPLETE, values).rowcount:
                return True
            if connection.execute(_GET_PROMISE, {"id": promise_id}).first() is None:
                raise StoreUnknownError(what="promise", id=promise_id)
            return False

        return self.database.write(work)


class SqlTimers(Rows):
    """The port `TimerTable`."""

    def set(self, timer: Timer) -> None:
        """Add a timer, or move it."""

        def work(connection: Connection) -> None:
            require_runs(connection, {timer.run_id})
            values = {"run_id": timer.run_id, "due_ns": timer.due_ns}
            if not connection.execute(_MOVE_TIMER, {"key": timer.id, **values}).rowcount:
                connection.execute(_ADD_TIMER, {"id": timer.id, **values})

        self.database.write(work)

    def due(self, *, now_ns: int, limit: int = 100) -> Sequence[Timer]:
        """Return the timers that are due, earliest first."""
        check_page(limit, self.limits)
        values = {"now_ns": now_ns, "most": limit}
        rows = self.database.read(lambda connection: connection.execute(_DUE, values).all())
        return [Timer(**row._mapping) for row in rows]

    def next_due_ns(self) -> int | None:
        """Return when the earliest timer is due."""
        query = select(func.min(timers.c.due_ns))
        return self.database.read(lambda connection: connection.execute(query).scalar())

    def remove(self, timer_id: str) -> bool:
        """Remove a timer."""
        check_id("timer", timer_id)
        values = {"key": timer_id}
        return self.database.write(
            lambda connection: connection.execute(_REMOVE_TIMER, values).rowcount > 0
        )


@cache
def _approvals_query(names: frozenset[str]) -> Prepared:
    """Return the query of a page; made once, because making it takes longer than asking it."""
    columns = approvals.c
    conditions = {
        "status": columns.status == bindparam("status"),
        "run_id": columns.run_id == bindparam("run_id"),
        "expired_ns": columns.expires_ns <= bindparam("expired_ns"),
    }
    query = select(approvals).where(columns.id > bindparam("after"))
    query = query.where(*(conditions[name] for name in sorted(names)))
    return Prepared(query.order_by(columns.id).limit(bindparam("most")))


class SqlApprovals(Rows):
    """The port `ApprovalTable`."""

    def create(self, approval: Approval) -> None:
        """Add a pending approval."""
        check_approval(approval, self.limits)

        def work(connection: Connection) -> None:
            place = and_(approvals.c.run_id == approval.run_id, approvals.c.seq == approval.seq)
            query = select(approvals.c.id).where(or_(approvals.c.id == approval.id, place))
            if connection.execute(query).first() is not None:
                raise StoreExistsError(what="approval", id=approval.id)
            require_runs(connection, {approval.run_id})
            _ADD.change(connection, values_of(approval, _APPROVAL_FIELDS))

        self.database.write(work)

    def get(self, approval_id: str) -> Approval | None:
        """Return an approval."""
        check_id("approval", approval_id)
        row = self.database.first(_GET, {"id": approval_id})
        return None if row is None else Approval(**named(_APPROVAL_FIELDS, row))

    def list(
        self,
        *,
        status: ApprovalStatus | None = None,
        run_id: str | None = None,
        expired_ns: int | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Approval]:
        """Return approvals in the order of their ids."""
        check_page(limit, self.limits)
        given = {"status": status, "run_id": run_id, "expired_ns": expired_ns}
        chosen = {name: value for name, value in given.items() if value is not None}
        query = _approvals_query(frozenset(chosen))
        values = {"after": after, "most": limit, **chosen}
        rows = self.database.rows(query, values)
        return [Approval(**named(_APPROVAL_FIELDS, row)) for row in rows]

    def count(self, status: ApprovalStatus) -> int:
        """Return how many approvals have a status."""
        count: int = self.database.first(_COUNT, {"status": status})[0]
        return count

    def apply(self, change: ApprovalChange) -> AuditHead:
        """Make a change, with what the audit says of it."""
        check_change(change, self.limits)

        def work(connection: Connection) -> None:
            append_audit(connection, change.audit, change.expected_count)
            require_runs(connection, {approval.run_id for approval in change.approvals})
            for approval in change.approvals:
                _put(connection, approval)
            for run, expected in change.runs:
                replace_run(connection, run, expected=expected)
            for document in change.documents:
                put_document(connection, document)

        self.database.write(work, is_lazy=change.is_lazy)
        count = change.expected_count + len(change.audit)
        return AuditHead(count=count, hash=change.audit[-1].hash)

    def decide(
        self, approval_id: str, status: ApprovalStatus, *, decision: bytes = b"", now_ns: int
    ) -> Approval:
        """Answer a pending approval, once."""
        check_id("approval", approval_id)
        check_document("approval.decision", decision, self.limits)
        if status == "pending":
            raise StoreInvalidError(where="status", problem="is pending, which decides nothing")

        def work(connection: Connection) -> tuple[Approval, bool]:
            return _decide(connection, approval_id, status, decision, now_ns)

        # An expiry is kept although the answer is refused: raise only after the transaction.
        approval, agreed = self.database.write(work)
        if not agreed:
            raise StoreChangedError(
                what="approval", id=approval_id, expected="pending", found=approval.status
            )
        return approval

    def expire(self, *, now_ns: int, limit: int = 100) -> Sequence[Approval]:
        """Set pending approvals that are over to expired."""
        check_page(limit, self.limits)
        over = and_(approvals.c.status == "pending", approvals.c.expires_ns <= now_ns)
        query = select(approvals).where(over).order_by(approvals.c.id).limit(limit)

        def work(connection: Connection) -> list[Approval]:
            found = [
                Approval(**row._mapping)
                for row in connection.execute(query.with_for_update(skip_locked=True))
            ]
            expired = [replace(row, status="expired", decided_ns=now_ns) for row in found]
            for approval in expired:
                _save(connection, approval)
            return expired

        return self.database.write(work)


def _decide(
    connection: Connection, approval_id: str, status: ApprovalStatus, decision: bytes, now_ns: int
) -> tuple[Approval, bool]:
    row = _LOCKED.first(connection, {"id": approval_id})
    if row is None:
        raise StoreUnknownError(what="approval", id=approval_id)
    approval = Approval(**named(_APPROVAL_FIELDS, row))
    if approval.status != "pending":
        return approval, approval.status == status
    if now_ns >= approval.expires_ns:
        approval = replace(approval, status="expired", decided_ns=now_ns)
    else:
        approval = replace(approval, status=status, decision=decision, decided_ns=now_ns)
    _save(connection, approval)
    return approval, approval.status == status


def _put(connection: Connection, approval: Approval) -> None:
    found = _APPROVAL_STATUS.value(connection, {"id": approval.id})
    if found is None:
        _ADD.change(connection, values_of(approval, _APPROVAL_FIELDS))
        return
    if found != "pending":
        raise StoreChangedError(what="approval", id=approval.id, expected="pending", found=found)
    _save(connection, approval)


def _save(connection: Connection, approval: Approval) -> None:
    values = {
        "status": approval.status,
        "decision": approval.decision,
        "decided_ns": approval.decided_ns,
    }
    _DECIDE.change(connection, {"key": approval.id, **values})
