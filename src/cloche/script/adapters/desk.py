"""The state of approvals, kept in a store: one desk for all processes.

Owns how a step of `approvals` is loaded, made and kept. Invariants:
- what a step changes is kept at once with what the audit says of it, or not at all;
- two processes that change something at the same time do it one after the other: the second one
  looks again before it decides;
- a run that was put away and that a step ends is ended in the store by the same step.

The rules are in `approvals`; this loads as little of the ledger as an event needs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from cloche.gate.canonical import digest, encode_canonical
from cloche.script import approvals, audit
from cloche.script.approvals import Approval, Ledger, Made, Step
from cloche.script.errors import (
    ApprovalTamperedError,
    ApprovalTimeoutError,
    HarnessInternalError,
    ScriptCancelledError,
    ScriptError,
)
from cloche.script.items import ScriptResult, settled
from cloche.store import rows
from cloche.store.errors import StoreChangedError
from cloche.store.rows import (
    ENDED_STATUSES,
    ApprovalChange,
    AuditHead,
    AuditRow,
    Document,
    Run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cloche.limits import Limits
    from cloche.script.approvals import RunStatus
    from cloche.store.ports import Store

NS_PER_MS: Final = 1_000_000
LASTING_KIND: Final = "approval-lasting"
_ATTEMPT_COUNT_MAX: Final = 1000  # each one means that somebody else was faster
_TO_ROW: Final[dict[str, Any]] = {"rejected": "denied"}
_FROM_ROW: Final[dict[str, Any]] = {"denied": "rejected"}


class Desk:
    """Asks, decides and ends, for everybody who has the store. Usable from any thread.

    Args:
        store: where approvals, runs and the audit are.
        clock_ms: wall clock.
        limits: the group `scripts`.
    """

    def __init__(self, store: Store, *, clock_ms: Callable[[], int], limits: Limits) -> None:
        self.store = store
        self.clock_ms = clock_ms
        self._limits = limits

    # --- what there is ---

    def get(self, approval_id: str) -> Approval | None:
        """Return an approval."""
        row = self.store.approvals.get(approval_id)
        return None if row is None else _from_row(row)

    def pending(self, run_id: str | None = None) -> tuple[Approval, ...]:
        """Return what waits for a decision, the oldest first; of one run or of all."""
        if run_id is not None:
            # By its run alone: a database might look through all that is pending.
            return tuple(one for one in self.of_run(run_id) if one.status == "pending")
        found = map(_from_row, self._rows(status="pending"))
        return tuple(sorted(found, key=lambda one: (one.created_ms, one.id)))

    def of_run(self, run_id: str) -> tuple[Approval, ...]:
        """Return every approval of a run, the oldest first."""
        found = map(_from_row, self._rows(run_id=run_id))
        return tuple(sorted(found, key=lambda one: (one.created_ms, one.id)))

    def counts(self) -> dict[approvals.ApprovalStatus, int]:
        """Return how many approvals there are of each status."""
        names: tuple[approvals.ApprovalStatus, ...] = get_args(approvals.ApprovalStatus)
        return {name: self.store.approvals.count(_TO_ROW.get(name, name)) for name in names}

    def run_status(self, run_id: str) -> RunStatus:
        """Return what the approvals of a run have made of it; "over" is for its row to say."""
        return status_of(map(_from_row, self._rows(run_id=run_id)))

    def audit(self) -> Iterator[approvals.AuditEntry]:
        """Yield the whole audit, verified.

        Raises:
            AuditBrokenError: it was changed.
        """
        return audit.check((row.data, row.hash) for row in self._audit_rows())

    def verify(self) -> AuditHead:
        """Return where the audit ends, after every hash was compared.

        Raises:
            AuditBrokenError: it was changed.
        """
        count, last = 0, audit.EMPTY_HASH

        def rows_read() -> Iterator[tuple[bytes, bytes]]:
            nonlocal count, last
            for row in self._audit_rows():
                count, last = count + 1, row.hash
                yield row.data, row.hash

        deque(audit.check(rows_read()), maxlen=0)
        return AuditHead(count=count, hash=last)

    def checked(self, run_id: str) -> tuple[Approval, ...]:
        """Return every approval of a run, the oldest first, compared with what the audit says.

        Raises:
            ApprovalTamperedError: one of them is another than it was.
        """
        own = self.of_run(run_id)
        for one in own:
            place = -1 if one.entry is None else one.entry
            start = max(0, place - 1)
            found = [] if place < 0 else self.store.audit.read(start=start, limit=2)
            problem = "the audit does not tell of it"
            if len(found) > place - start >= 0:
                told = found[place - start]
                before = found[0].hash if place else audit.EMPTY_HASH
                problem = audit.compare(one, told.data, told.hash, before)
            if problem:
                raise ApprovalTamperedError(approval_id=one.id, run_id=run_id, problem=problem)
        return own

    # --- what happens ---

    def ask(self, question: Approval, *, is_known: bool = True) -> Step:
        """Ask about a call; see `approvals.ask`.

        Args:
            question: about it.
            is_known: whether it may have been asked before.
        """
        if is_known:
            known = self._ledger([question.run_id])
            if question.id in known.approvals:
                # Nothing can change, so nothing has to be compared.
                return approvals.ask(known, question, limits=self._limits)

        def load() -> Ledger:
            ledger = self._ledger([question.run_id])
            open_here = len(ledger.pending())
            elsewhere = max(0, self.store.approvals.count("pending") - open_here)
            key = (question.session_id, question.tool)
            document = self.store.documents.get(LASTING_KIND, _lasting_name(key))
            lasting = {} if document is None else {key: _made_of(document)}
            return replace(ledger, lasting=lasting, elsewhere=elsewhere)

        # That the run is put away, or what somebody decides, is durable and makes this so.
        return self._take(
            load,
            lambda ledger: approvals.ask(ledger, question, limits=self._limits),
            is_lazy=True,
        )

    def decide(self, approval_id: str, made: Made) -> Step:
        """Decide about a call; see `approvals.decide`."""
        now_ms = self.clock_ms()

        def load() -> Ledger:
            run_ids = self._overdue_runs(now_ms)
            one = self.get(approval_id)
            if one is not None:
                run_ids.add(one.run_id)
            if one is not None and made.verdict in {"always", "never"}:
                key = (one.session_id, one.tool)
                alike = (other for other in self.pending() if (other.session_id, other.tool) == key)
                run_ids |= {other.run_id for other in alike}
            return self._ledger(run_ids)

        return self._take(
            load, lambda ledger: approvals.decide(ledger, approval_id, made, now_ms=now_ms)
        )

    def expire(self) -> Step:
        """Close what nobody decided in time; see `approvals.expire`."""
        now_ms = self.clock_ms()
        if not self._overdue_runs(now_ms):
            return Step(ledger=Ledger())
        return self._take(
            lambda: self._ledger(self._overdue_runs(now_ms)),
            lambda ledger: approvals.expire(ledger, now_ms=now_ms),
        )

    def end_run(
        self, run: Run, *, expected: rows.RunStatus, append: rows.JournalAppend | None = None
    ) -> None:
        """Keep a run that is over, and cancel what is pending of it.

        Args:
            run: as it ended.
            expected: the status that it must have.
            append: the end of its journal.

        Raises:
            StoreChangedError: the run has another status than expected; nothing was changed.
        """
        if not any(row.status == "pending" for row in self._rows(run_id=run.id)):
            # Nothing to cancel: only the run's own process asks, and that is who ends it.
            self.store.runs.update(run, expected=expected, append=append)
            return
        if append is not None:
            self.store.journals.append(run.id, append.entries, expected_count=append.expected_count)
        now_ms = self.clock_ms()
        step = self._take(
            lambda: self._ledger([run.id]),
            lambda ledger: approvals.end_run(ledger, run.id, "over", now_ms=now_ms),
            run=(run, expected),
        )
        if not step.audit:
            self.store.runs.update(run, expected=expected)

    # --- how ---

    def _take(
        self,
        load: Callable[[], Ledger],
        event: Callable[[Ledger], Step],
        *,
        run: tuple[Run, rows.RunStatus] | None = None,
        is_lazy: bool = False,
    ) -> Step:
        for _ in range(_ATTEMPT_COUNT_MAX):
            head = self.store.audit.head()
            before = load()
            step = event(before)
            if not step.audit:
                return step
            places = {
                entry.approval_id: head.count + index for index, entry in enumerate(step.audit)
            }
            change = ApprovalChange(
                expected_count=head.count,
                audit=tuple(
                    AuditRow(run_id=entry.run_id, data=text, hash=found)
                    for entry, text, found in audit.link(step.audit, head.hash)
                ),
                approvals=tuple(
                    _to_row(one, places.get(name))
                    for name, one in step.ledger.approvals.items()
                    if before.approvals.get(name) is not one
                ),
                runs=self._ended_runs(before, step) if run is None else (run,),
                documents=self._new_lasting(before, step),
                is_lazy=is_lazy,
            )
            try:
                self.store.approvals.apply(change)
            except StoreChangedError as error:
                if run is not None and error.fields["what"] == "run":
                    raise
                continue
            return step
        raise HarnessInternalError(problem="the desk never came to an end; others were faster")

    def _ended_runs(self, before: Ledger, step: Step) -> tuple[tuple[Run, rows.RunStatus], ...]:
        """Return the runs that were put away, and that a step ends."""
        ended: list[tuple[Run, rows.RunStatus]] = []
        for run_id, status in step.ledger.runs.items():
            if before.run_status(run_id) != "active":
                continue
            row = self.store.runs.get(run_id)
            if row is not None and row.status == "suspended":
                own = [one for one in step.ledger.approvals.values() if one.run_id == run_id]
                ended.append((rejected_run(row, status, own, self.clock_ms()), "suspended"))
        return tuple(ended)

    def _new_lasting(self, before: Ledger, step: Step) -> tuple[Document, ...]:
        documents: list[Document] = []
        for key, made in step.ledger.lasting.items():
            if before.lasting.get(key) is made:
                continue
            name = _lasting_name(key)
            kept = self.store.documents.get(LASTING_KIND, name)
            data = msgspec.json.encode({"session_id": key[0], "tool": key[1], "made": made})
            revision = 1 if kept is None else kept.revision + 1
            documents.append(Document(kind=LASTING_KIND, name=name, data=data, revision=revision))
        return tuple(documents)

    def _ledger(self, run_ids: Iterable[str]) -> Ledger:
        known: dict[str, Approval] = {}
        runs: dict[str, RunStatus] = {}
        for run_id in sorted(run_ids):
            own = [_from_row(row) for row in self._rows(run_id=run_id)]
            known |= {one.id: one for one in own}
            status = status_of(own)
            if status == "active" and self._is_over(run_id):
                status = "over"
            if status != "active":
                runs[run_id] = status
        return Ledger(approvals=known, runs=runs)

    def _is_over(self, run_id: str) -> bool:
        row = self.store.runs.get(run_id)
        return row is not None and row.status in ENDED_STATUSES

    def _overdue_runs(self, now_ms: int) -> set[str]:
        overdue = self._rows(status="pending", expired_ns=now_ms * NS_PER_MS)
        return {row.run_id for row in overdue}

    def _rows(self, **which: Any) -> Iterator[rows.Approval]:
        after, most = "", self._limits.store.page_count_max
        while page := self.store.approvals.list(after=after, limit=most, **which):
            yield from page
            if len(page) < most:
                return
            after = page[-1].id

    def _audit_rows(self) -> Iterator[AuditRow]:
        start, most = 0, self._limits.store.page_count_max
        while page := self.store.audit.read(start=start, limit=most):
            yield from page
            start += len(page)


def rejected_run(row: Run, status: RunStatus, own: Iterable[Approval], now_ms: int) -> Run:
    """Return the row of a run that its approvals ended: what it had done, and why it is over."""
    document = msgspec.json.decode(row.result)
    result = msgspec.convert({"type": "script_result", **document}, ScriptResult)
    error = rejection(status, own).to_document()
    calls = settled(result.tool_calls)
    ended = msgspec.structs.replace(result, status="rejected", error=error, tool_calls=calls)
    return replace(
        row,
        status="cancelled",
        ended_ns=now_ms * NS_PER_MS,
        result=msgspec.json.encode(ended.to_document()),
    )


def rejection(status: RunStatus, own: Iterable[Approval]) -> ScriptError:
    """Return what a model is told of a run that its approvals ended."""
    own = tuple(own)
    late = next((one for one in own if one.status == "expired"), None)
    if status == "expired" and late is not None:
        return ApprovalTimeoutError(tool=late.tool, expires_ms=late.expires_ms - late.created_ms)
    made = next((one.made for one in own if ends_run(one)), None)
    who = f" by {made.who}" if made is not None and made.who else ""
    why = f": {made.reason}" if made is not None and made.reason else ""
    return ScriptCancelledError(reason=f"the run was rejected{who}{why}")


def status_of(own: Iterable[Approval]) -> RunStatus:
    """Return what the approvals of a run have made of it."""
    for one in own:
        if one.status == "expired":
            return "expired"
        if ends_run(one):
            return "rejected"
    return "active"


def ends_run(approval: Approval) -> bool:
    """Return whether a person ended the whole run by this answer."""
    return approval.made is not None and approval.made.verdict == "reject_run"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a decision: it, and where the audit tells of it."""

    made: Made | None = None
    entry: int | None = None


def _to_row(approval: Approval, entry: int | None) -> rows.Approval:
    question = msgspec.structs.replace(
        approval, status="pending", made=None, decided_ms=None, entry=entry
    )
    decided_ms = approval.decided_ms
    return rows.Approval(
        id=approval.id,
        run_id=approval.run_id,
        seq=approval.sequence,
        document=msgspec.json.encode(question),
        created_ns=approval.created_ms * NS_PER_MS,
        expires_ns=approval.expires_ms * NS_PER_MS,
        status=_TO_ROW.get(approval.status, approval.status),
        decision=_decision_of(approval, entry),
        decided_ns=None if decided_ms is None else decided_ms * NS_PER_MS,
    )


def _decision_of(approval: Approval, entry: int | None) -> bytes:
    if approval.status == "pending":
        return b""
    return msgspec.json.encode(_Kept(made=approval.made, entry=entry))


def _from_row(row: rows.Approval) -> Approval:
    decided_ns = row.decided_ns
    question = msgspec.json.decode(row.document, type=Approval)
    kept = msgspec.json.decode(row.decision or b"{}", type=_Kept)
    return msgspec.structs.replace(
        question,
        entry=kept.entry if row.decision else question.entry,
        status=_FROM_ROW.get(row.status, row.status),
        made=kept.made,
        decided_ms=None if decided_ns is None else decided_ns // NS_PER_MS,
    )


def _lasting_name(key: tuple[str, str]) -> str:
    return digest(encode_canonical(list(key)))


def _made_of(document: Document) -> Made:
    return msgspec.convert(msgspec.json.decode(document.data)["made"], Made)
