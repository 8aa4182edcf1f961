"""Promises, timers and approvals in memory: what a run waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloche.store.adapters.memory_records import check_audit, check_revision
from cloche.store.adapters.memory_state import Part, check_run_change, page_of, replace_run
from cloche.store.checks import (
    check_approval,
    check_change,
    check_document,
    check_page,
)
from cloche.store.errors import (
    StoreChangedError,
    StoreExistsError,
    StoreInvalidError,
    StoreUnknownError,
)
from cloche.store.rows import (
    Approval,
    AuditHead,
    Promise,
    Timer,
    check_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.store.adapters.memory_state import State
    from cloche.store.rows import ApprovalChange, ApprovalStatus


class MemoryPromises(Part):
    """The port `PromiseTable`."""

    def create(self, promise: Promise) -> None:
        """Add a promise."""
        check_document("promise.value", promise.value or b"", self.limits)
        with self._state() as state:
            if promise.id in state.promises:
                raise StoreExistsError(what="promise", id=promise.id)
            if promise.run_id is not None:
                state.require_run(promise.run_id)
            state.promises[promise.id] = promise

    def get(self, promise_id: str) -> Promise | None:
        """Return a promise."""
        check_id("promise", promise_id)
        with self._state() as state:
            return state.promises.get(promise_id)

    def complete(self, promise_id: str, value: bytes, *, now_ns: int) -> bool:
        """Give the value, once."""
        check_id("promise", promise_id)
        check_document("promise.value", value, self.limits)
        with self._state() as state:
            promise = state.promises.get(promise_id)
            if promise is None:
                raise StoreUnknownError(what="promise", id=promise_id)
            if promise.value is not None:
                return False
            state.promises[promise_id] = replace(promise, value=value, completed_ns=now_ns)
            return True


class MemoryTimers(Part):
    """The port `TimerTable`."""

    def set(self, timer: Timer) -> None:
        """Add a timer, or move it."""
        with self._state() as state:
            state.require_run(timer.run_id)
            state.timers[timer.id] = timer

    def due(self, *, now_ns: int, limit: int = 100) -> Sequence[Timer]:
        """Return the timers that are due, earliest first."""
        check_page(limit, self.limits)
        with self._state() as state:
            rows = [timer for timer in state.timers.values() if timer.due_ns <= now_ns]
            return sorted(rows, key=lambda timer: (timer.due_ns, timer.id.encode()))[:limit]

    def next_due_ns(self) -> int | None:
        """Return when the earliest timer is due."""
        with self._state() as state:
            return min((timer.due_ns for timer in state.timers.values()), default=None)

    def remove(self, timer_id: str) -> bool:
        """Remove a timer."""
        check_id("timer", timer_id)
        with self._state() as state:
            return state.timers.pop(timer_id, None) is not None


class MemoryApprovals(Part):
    """The port `ApprovalTable`."""

    def create(self, approval: Approval) -> None:
        """Add a pending approval."""
        check_approval(approval, self.limits)
        with self._state() as state:
            place = (approval.run_id, approval.seq)
            taken = any((row.run_id, row.seq) == place for row in state.approvals.values())
            if approval.id in state.approvals or taken:
                raise StoreExistsError(what="approval", id=approval.id)
            state.require_run(approval.run_id)
            state.approvals[approval.id] = approval

    def get(self, approval_id: str) -> Approval | None:
        """Return an approval."""
        check_id("approval", approval_id)
        with self._state() as state:
            return state.approvals.get(approval_id)

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
        with self._state() as state:
            rows = [
                row
                for row in state.approvals.values()
                if status in (None, row.status)
                and run_id in (None, row.run_id)
                and (expired_ns is None or row.expires_ns <= expired_ns)
            ]
            return page_of(rows, after, limit)

    def count(self, status: ApprovalStatus) -> int:
        """Return how many approvals have a status."""
        with self._state() as state:
            return sum(row.status == status for row in state.approvals.values())

    def apply(self, change: ApprovalChange) -> AuditHead:
        """Make a change, with what the audit says of it."""
        check_change(change, self.limits)
        with self._state() as state:
            check_audit(state, change.expected_count)
            for approval in change.approvals:
                _check_put(state, approval)
            for run, expected in change.runs:
                check_run_change(state, run, expected)
            for document in change.documents:
                check_revision(state, document)
            state.audit += change.audit
            state.approvals.update({row.id: row for row in change.approvals})
            for run, _ in change.runs:
                replace_run(state, run)
            for document in change.documents:
                state.documents[document.kind, document.name] = document
            return AuditHead(count=len(state.audit), hash=state.audit[-1].hash)

    def decide(
        self, approval_id: str, status: ApprovalStatus, *, decision: bytes = b"", now_ns: int
    ) -> Approval:
        """Answer a pending approval, once."""
        check_id("approval", approval_id)
        check_document("approval.decision", decision, self.limits)
        if status == "pending":
            raise StoreInvalidError(where="status", problem="is pending, which decides nothing")
        with self._state() as state:
            approval = state.approvals.get(approval_id)
            if approval is None:
                raise StoreUnknownError(what="approval", id=approval_id)
            if approval.status == "pending":
                approval = _decided(approval, status, decision, now_ns)
                state.approvals[approval_id] = approval
            if approval.status != status:
                raise StoreChangedError(
                    what="approval", id=approval_id, expected="pending", found=approval.status
                )
            return approval

    def expire(self, *, now_ns: int, limit: int = 100) -> Sequence[Approval]:
        """Set pending approvals that are over to expired."""
        check_page(limit, self.limits)
        with self._state() as state:
            over = [
                row
                for row in state.approvals.values()
                if row.status == "pending" and row.expires_ns <= now_ns
            ]
            expired = [
                replace(row, status="expired", decided_ns=now_ns)
                for row in page_of(over, "", limit)
            ]
            state.approvals.update({row.id: row for row in expired})
            return expired


def _check_put(state: State, approval: Approval) -> None:
    state.require_run(approval.run_id)
    found = state.approvals.get(approval.id)
    if found is not None and found.status != "pending":
        raise StoreChangedError(
            what="approval", id=approval.id, expected="pending", found=found.status
        )


def _decided(approval: Approval, status: ApprovalStatus, decision: bytes, now_ns: int) -> Approval:
    if now_ns >= approval.expires_ns:
        return replace(approval, status="expired", decided_ns=now_ns)
    return replace(approval, status=status, decision=decision, decided_ns=now_ns)
