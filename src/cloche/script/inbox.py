"""What people have to decide, wherever the scripts run: the desk of a store, for one who decides.

Owns what a person is told of a decision. Invariants:
- a decision that comes late, twice, or about nothing changes nothing, and the answer says so;
- deciding runs nothing: whoever has the tools goes on with the run (`ScriptHarness.resume`);
- changed arguments are checked when they are given, by the schema in the question or by the tools
  where these are at hand, and again before the call.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.limits.adapters.settings import load_limits
from cloche.script.adapters.desk import NS_PER_MS, Desk
from cloche.script.approvals import Approval, AuditEntry, Ignored, Made, Step
from cloche.script.errors import ApprovalUnknownError, ToolValidationError
from cloche.script.json_schemas import SchemaSignature
from cloche.script.schemas import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.limits import Limits
    from cloche.script.approvals import ApprovalStatus, Verdict
    from cloche.script.tools import ToolSet
    from cloche.store.ports import Store
    from cloche.store.rows import AuditHead

_ID_CHARACTERS: Final = 64
_WHY: Final[dict[Ignored, str]] = {
    "unknown": "there is no such approval; nothing was decided",
    "same": "this was decided so before; nothing changed",
    "decided": "this was decided otherwise before; nothing changed",
    "expired": "nobody decided in time, the run is over; nothing changed",
    "run_over": "the run is over; nothing changed",
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision did.

    Args:
        changed: False if it changed nothing.
        says: in words, for people.
        approval: as it is now; None if there is none.
        ignored: why it changed nothing.
    """

    changed: bool
    says: str
    approval: Approval | None = None
    ignored: Ignored | None = None


class Inbox:
    """The open questions of a store. Usable from any thread and process.

    Args:
        store: where the runs wait.
        tools: to check changed arguments as the call does; without them the schema in the question
            says what fits.
        limits: None for the configured ones.
        clock_ms: wall clock.
    """

    def __init__(
        self,
        store: Store,
        *,
        tools: ToolSet | None = None,
        limits: Limits | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // NS_PER_MS,
    ) -> None:
        self._limits = limits or load_limits()
        self._tools = tools
        self._desk = Desk(store, clock_ms=clock_ms, limits=self._limits)

    def list(self, *, run_id: str | None = None) -> tuple[Approval, ...]:
        """Return what waits for a decision, the oldest first. What is over by now is closed."""
        self._desk.expire()
        return self._desk.pending(run_id)

    def find(self, approval_id: str) -> Approval:
        """Return the approval of this id, or whose id begins so.

        Raises:
            ApprovalUnknownError: there is none, or more than one.
        """
        if not approval_id.isprintable() or not 0 < len(approval_id) <= _ID_CHARACTERS:
            raise ApprovalUnknownError(approval_id=approval_id[:_ID_CHARACTERS])
        known = self._desk.get(approval_id)
        if known is not None:
            return known
        rows = self._desk.store.approvals.list(after=approval_id, limit=2)
        found = [row.id for row in rows if row.id.startswith(approval_id)]
        approval = self._desk.get(found[0]) if len(found) == 1 else None
        if approval is None:
            raise ApprovalUnknownError(approval_id=approval_id, found=len(found))
        return approval

    def show(self, approval_id: str) -> dict[str, Any]:
        """Return all that a person should see of an approval, as JSON-ready data.

        Raises:
            ApprovalUnknownError: there is none, or more than one.
        """
        self._desk.expire()
        document: dict[str, Any] = msgspec.to_builtins(self.find(approval_id))
        return document

    def approve(
        self,
        approval_id: str,
        *,
        who: str,
        args: dict[str, Any] | None = None,
        always: bool = False,
        reason: str = "",
    ) -> Answer:
        """Let a call happen.

        Args:
            approval_id: which, or how its id begins.
            who: decides.
            args: instead of those of the script.
            always: and every other call of this tool in the session, now and later.
            reason: for the audit.

        Raises:
            ToolValidationError, ToolNotFoundError: these arguments do not fit; nothing was decided.
            ValueError: `args` and `always` together; nothing was decided.
        """
        verdict: Verdict = "always" if always else "approve"
        return self.decide(approval_id, Made(verdict=verdict, who=who, reason=reason, args=args))

    def reject(
        self,
        approval_id: str,
        *,
        who: str,
        reason: str = "",
        never: bool = False,
        run: bool = False,
    ) -> Answer:
        """Let a call not happen.

        Args:
            approval_id: which, or how its id begins.
            who: decides.
            reason: the script is told.
            never: nor any other call of this tool in the session, now and later.
            run: end the whole run; it never calls anything again.

        Raises:
            ValueError: `never` and `run` together; nothing was decided.
        """
        if never and run:
            raise ValueError("a decision is about the tool in this session, or about the run")
        verdict: Verdict = "never" if never else "reject_run" if run else "reject"
        return self.decide(approval_id, Made(verdict=verdict, who=who, reason=reason))

    def decide(self, approval_id: str, made: Made) -> Answer:
        """Make a decision; see `approve` and `reject`."""
        if made.args is not None and made.verdict != "approve":
            raise ValueError("arguments can be changed by approving them, and in no other way")
        try:
            known = self.find(approval_id)
        except ApprovalUnknownError as error:
            return Answer(changed=False, says=error.message, ignored="unknown")
        if made.args is not None:
            args = self._checked(known, made.args)
            made = msgspec.structs.replace(made, args=args)
        return answer_of(self._desk.decide(known.id, made))

    def _checked(self, known: Approval, args: dict[str, Any]) -> dict[str, Any]:
        if self._tools is not None:
            return self._tools.find(known.tool).check_args(args, limits=self._limits)
        parameters = {"type": "object", **known.parameters}
        signature = SchemaSignature(names=(), parameters=parameters, returns={})
        try:
            return signature.bind(args)
        except Invalid as error:
            raise ToolValidationError(
                tool=known.tool, subject="arguments", problem=str(error)
            ) from None

    def counts(self) -> dict[ApprovalStatus, int]:
        """Return how many approvals there are of each status."""
        self._desk.expire()
        return self._desk.counts()

    def verify(self) -> AuditHead:
        """Return how many entries the audit has, and its last hash, after every hash was compared.

        Raises:
            AuditBrokenError: it was changed.
        """
        return self._desk.verify()

    def audit(self, *, run_id: str | None = None) -> tuple[AuditEntry, ...]:
        """Return what was asked and decided, verified, in order; of one run or of all.

        Raises:
            AuditBrokenError: it was changed.
        """
        return tuple(one for one in self._desk.audit() if run_id in {None, one.run_id})


def answer_of(step: Step) -> Answer:
    """Return what a person is told of a step."""
    if step.ignored is not None or step.approval is None:
        ignored: Ignored = step.ignored or "unknown"
        return Answer(changed=False, says=_WHY[ignored], approval=step.approval, ignored=ignored)
    one = step.approval
    says = f"{one.tool} of run {one.run_id} is {one.status}"
    return Answer(changed=True, says=says, approval=one)
