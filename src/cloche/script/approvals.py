"""What people are asked, what they decide, and what becomes of a run by that.

Owns the state machine of approvals, as data and functions from state to state. Invariants:
- an approval leaves "pending" once, and never comes back;
- the same decision twice is the decision once; a late, another or an unknown one changes nothing,
  and says so;
- whoever decides after the expiry decides too late, whether or not somebody looked at the clock;
- a run that is rejected, expired or over is asked about no more, whatever it does, and nothing of
  it stays pending;
- rejecting a call is an answer that the script may catch; rejecting a run, and letting it expire,
  ends the run.

Time is an argument, in milliseconds of the Unix epoch. It stores nothing and performs no call.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.gate.canonical import digest, encode_canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.limits import Limits

Verdict = Literal["approve", "reject", "always", "never", "reject_run"]
ApprovalStatus = Literal["pending", "approved", "rejected", "expired", "cancelled"]
RunStatus = Literal["active", "rejected", "expired", "over"]
Ignored = Literal["unknown", "same", "decided", "expired", "run_over"]
Refused = Literal["run_over", "full"]

_BECOMES: Final[dict[Verdict, ApprovalStatus]] = {
    "approve": "approved",
    "always": "approved",
    "reject": "rejected",
    "never": "rejected",
    "reject_run": "rejected",
}
SYSTEM: Final = "cloche"  # who decides what no person decided


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A decision.

    Args:
        verdict: about this call; "always" and "never" hold for the tool in the rest of the session.
        who: decided.
        reason: what the script and the audit read.
        args: instead of the call's own; checked already. Only with "approve".

    Raises:
        ValueError: on construction, there is no such verdict.
    """

    verdict: Verdict
    who: str
    reason: str = ""
    args: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.verdict not in _BECOMES:
            known = ", ".join(_BECOMES)
            raise ValueError(f"{self.verdict!r} is no verdict; it is one of {known}")


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One question.

    Args:
        id: equal when the same call is asked about again.
        run_id: whose call it is.
        session_id: what "always" and "never" hold for.
        tool: its name.
        shown: the arguments as people see them: cut, and without secrets.
        args_sha256: of the arguments that will be used.
        who: is asked.
        created_ms: when.
        expires_ms: until when, the end not included.
        script_sha256: of the program.
        line: of the program where the call stands, from 1; None where it cannot be told.
        excerpt: the lines of the program around the call.
        sequence: of the call among the effects of its run.
        tools_used: calls that the run has completed.
        calls_left: how many more it may make; None where that is not known.
        detached: detached work that the run has started and that may go on.
        parameters: JSON Schema of the arguments, to check changed ones anywhere.
        entry: of the audit, where the last change of it stands.
        status: see the module.
        made: the decision, once there is one.
        decided_ms: when.
    """

    id: str
    run_id: str
    session_id: str
    tool: str
    shown: Any
    args_sha256: str
    who: str
    created_ms: int
    expires_ms: int
    script_sha256: str = ""
    line: int | None = None
    excerpt: str = ""
    sequence: int = 0
    tools_used: tuple[str, ...] = ()
    calls_left: int | None = None
    detached: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    entry: int | None = None
    status: ApprovalStatus = "pending"
    made: Made | None = None
    decided_ms: int | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened: who, when, about which arguments.

    Args:
        at_ms: when.
        approval_id: about which question.
        run_id: of which run.
        session_id: of which session.
        tool: which tool.
        args_sha256: of the arguments of the call.
        event: what became of the question.
        who: decided, or asked.
        verdict: the decision, None where nobody made one.
        changed_sha256: of the arguments that a person gave instead, else empty.
        reason: as it was said.
    """

    at_ms: int
    approval_id: str
    run_id: str
    session_id: str = ""
    tool: str
    args_sha256: str
    event: ApprovalStatus
    who: str
    verdict: Verdict | None = None
    changed_sha256: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The state: approvals, runs that are not active, lasting decisions.

    It may be a part of everything, if that part has what an event is about. `elsewhere` counts the
    pending approvals of the rest.
    """

    approvals: Mapping[str, Approval] = field(default_factory=dict)
    runs: Mapping[str, RunStatus] = field(default_factory=dict)
    lasting: Mapping[tuple[str, str], Made] = field(default_factory=dict)
    elsewhere: int = 0

    def run_status(self, run_id: str) -> RunStatus:
        """Return what has become of a run."""
        return self.runs.get(run_id, "active")

    def pending(self, run_id: str | None = None) -> tuple[Approval, ...]:
        """Return what waits for a decision, the oldest first; of one run or of all."""
        found = [
            approval
            for approval in self.approvals.values()
            if approval.status == "pending" and run_id in {None, approval.run_id}
        ]
        return tuple(sorted(found, key=lambda approval: (approval.created_ms, approval.id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an event did: the next state, what is to be said, and what goes into the audit.

    Args:
        ledger: the next state; the same object if nothing changed.
        approval: the one the event was about, as it is now; None if there is none.
        ignored: why a decision changed nothing.
        refused: why a question was not asked: the call must not happen.
        audit: what happened, in order.
    """

    ledger: Ledger
    approval: Approval | None = None
    ignored: Ignored | None = None
    refused: Refused | None = None
    audit: tuple[AuditEntry, ...] = ()


def ask(ledger: Ledger, question: Approval, *, limits: Limits) -> Step:
    """Ask about a call; asking again about the same call is asking once.

    A lasting decision of the session answers at once. A run that is not active gets no answer.
    """
    known = ledger.approvals.get(question.id)
    if ledger.run_status(question.run_id) != "active":
        return Step(ledger=ledger, approval=known, refused="run_over")
    if known is not None:
        return Step(ledger=ledger, approval=known)
    if len(ledger.pending()) + ledger.elsewhere >= limits.scripts.approval_count_max:
        return Step(ledger=ledger, refused="full")
    opened, entry = _moved(question, "pending", SYSTEM, "", question.created_ms)
    asked = _with(ledger, (opened,))
    made = ledger.lasting.get((question.session_id, question.tool))
    if made is None:
        return Step(ledger=asked, approval=opened, audit=(entry,))
    return _prepend(entry, _decided(asked, (opened,), made, question.created_ms))


def decide(ledger: Ledger, approval_id: str, made: Made, *, now_ms: int) -> Step:
    """Decide about a call.

    "always" and "never" decide the other open questions about this tool in the session, too.
    "reject_run" ends the run.
    """
    if made.args is not None and made.verdict != "approve":
        raise ValueError("arguments can be changed by approving them, and in no other way")
    late = expire(ledger, now_ms=now_ms)
    ledger = late.ledger
    approval = ledger.approvals.get(approval_id)
    if approval is None:
        return Step(ledger=ledger, ignored="unknown", audit=late.audit)
    if approval.status != "pending":
        return Step(
            ledger=ledger, approval=approval, ignored=_why_not(approval, made), audit=late.audit
        )
    if made.verdict in {"always", "never"}:
        key = (approval.session_id, approval.tool)
        ledger = replace(ledger, lasting={**ledger.lasting, key: made})
        alike = tuple(one for one in ledger.pending() if (one.session_id, one.tool) == key)
        others = tuple(one for one in alike if one.id != approval_id)
        step = _decided(ledger, (approval, *others), made, now_ms)
    else:
        step = _decided(ledger, (approval,), made, now_ms)
    if made.verdict == "reject_run":
        ended = end_run(step.ledger, approval.run_id, "rejected", now_ms=now_ms)
        step = replace(step, ledger=ended.ledger, audit=step.audit + ended.audit)
    return replace(step, audit=late.audit + step.audit)


def expire(ledger: Ledger, *, now_ms: int) -> Step:
    """Close what nobody decided in time, and end its runs."""
    audit: tuple[AuditEntry, ...] = ()
    for approval in ledger.pending():
        if now_ms < approval.expires_ms or ledger.approvals[approval.id].status != "pending":
            continue
        expired, entry = _moved(approval, "expired", SYSTEM, "nobody decided in time", now_ms)
        ended = end_run(_with(ledger, (expired,)), approval.run_id, "expired", now_ms=now_ms)
        ledger, audit = ended.ledger, (*audit, entry, *ended.audit)
    return Step(ledger=ledger, audit=audit)


def end_run(ledger: Ledger, run_id: str, status: RunStatus, *, now_ms: int) -> Step:
    """Say that a run asks no more; what is pending of it is cancelled. The first end stays.

    Raises:
        ValueError: "active" is no end.
    """
    if status == "active":
        raise ValueError("a run that has ended does not become active again")
    if ledger.run_status(run_id) != "active":
        return Step(ledger=ledger)
    moves = [_moved(one, "cancelled", SYSTEM, "", now_ms) for one in ledger.pending(run_id)]
    ledger = _with(ledger, tuple(approval for approval, _ in moves))
    ledger = replace(ledger, runs={**ledger.runs, run_id: status})
    return Step(ledger=ledger, audit=tuple(entry for _, entry in moves))


def _why_not(approval: Approval, made: Made) -> Ignored:
    if approval.status == "expired":
        return "expired"
    if approval.status == "cancelled":
        return "run_over"
    return "same" if approval.made == made else "decided"


def _decided(ledger: Ledger, approvals: tuple[Approval, ...], made: Made, now_ms: int) -> Step:
    """Apply one decision to open questions; the first is the one that the event is about."""
    status = _BECOMES[made.verdict]
    moves = [_moved(one, status, made.who, made.reason, now_ms, made) for one in approvals]
    return Step(
        ledger=_with(ledger, tuple(approval for approval, _ in moves)),
        approval=moves[0][0],
        audit=tuple(entry for _, entry in moves),
    )


def _moved(
    approval: Approval,
    status: ApprovalStatus,
    who: str,
    reason: str,
    at_ms: int,
    made: Made | None = None,
) -> tuple[Approval, AuditEntry]:
    if status != "pending":
        approval = msgspec.structs.replace(approval, status=status, made=made, decided_ms=at_ms)
    entry = AuditEntry(
        at_ms=at_ms,
        approval_id=approval.id,
        run_id=approval.run_id,
        session_id=approval.session_id,
        tool=approval.tool,
        args_sha256=approval.args_sha256,
        event=status,
        who=who,
        verdict=None if made is None else made.verdict,
        changed_sha256=_digest_of(made),
        reason=reason,
    )
    return approval, entry


def _digest_of(made: Made | None) -> str:
    return "" if made is None or made.args is None else digest(encode_canonical(made.args))


def _with(ledger: Ledger, approvals: tuple[Approval, ...]) -> Ledger:
    changed = {approval.id: approval for approval in approvals}
    return replace(ledger, approvals={**ledger.approvals, **changed}) if changed else ledger


def _prepend(entry: AuditEntry, step: Step) -> Step:
    return replace(step, audit=(entry, *step.audit))
