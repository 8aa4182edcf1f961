"""Approvals of one tenant's scripts: what waits, and what its people decide.

Owns which questions a tenant sees. What a decision does, and that it is in the audit, is the
desk's. Invariants:
- a question about another tenant's script is as unknown as one that does not exist;
- a session that nobody has named has no name, whatever it is called in the store;
- who decided is the key that asked, never what a request says;
- a script about which something was decided goes on by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.script.errors import ApprovalUnknownError
from cloche.script.inbox import Inbox
from cloche.server.documents import ApprovalDocument, DecisionDocument
from cloche.server.errors import InvalidFieldError, StateError, UnknownObjectError
from cloche.server.runs import NS_PER_MS

if TYPE_CHECKING:
    from cloche.limits import Limits
    from cloche.script.approvals import Approval, Made
    from cloche.server.owners import Owners
    from cloche.server.pages import PageRequest
    from cloche.server.ports import Host
    from cloche.server.scripts import Scripts
    from cloche.store.ports import Store

MESSAGE_DIGITS: Final = 24  # of the id of a script that its message gives


class Decisions:
    """The approvals of every tenant in one store."""

    def __init__(
        self, store: Store, limits: Limits, *, host: Host, owners: Owners, scripts: Scripts
    ) -> None:
        self._owners = owners
        self._scripts = scripts
        self._inbox = Inbox(store, limits=limits, clock_ms=lambda: host.now_ns() // NS_PER_MS)

    def page(self, tenant: str, wanted: PageRequest, *, run_id: str = "") -> list[Approval]:
        """Return what waits, the oldest first, one more than wanted where there are more.

        Args:
            tenant: whose.
            wanted: the page.
            run_id: of this script alone.

        Raises:
            UnknownObjectError: the tenant has no such script, or the page begins behind nothing.
        """
        if run_id:
            self._scripts.kept(tenant, run_id)
        after = self.get(tenant, wanted.after) if wanted.after else None
        begin = (0, "") if after is None else (after.created_ms, after.id)
        found: list[Approval] = []
        for one in self._inbox.list(run_id=run_id or None):
            if (one.created_ms, one.id) > begin and self._is_own(tenant, one):
                found.append(one)
                if len(found) > wanted.limit:
                    break
        return found

    def _is_own(self, tenant: str, one: Approval) -> bool:
        # Of a session of the tenant by its name, and begun through this door.
        is_named = one.session_id.startswith(f"{tenant}/")
        return is_named and self._owners.script(tenant, one.run_id) is not None

    def get(self, tenant: str, approval_id: str) -> Approval:
        """Return an approval of a tenant, by its whole id.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        try:
            one = self._inbox.find(approval_id)
        except ApprovalUnknownError:
            raise UnknownObjectError(kind="approval", id=approval_id) from None
        if one.id != approval_id or not self._is_own(tenant, one):
            raise UnknownObjectError(kind="approval", id=approval_id)
        return one

    def decide(self, tenant: str, approval_id: str, made: Made) -> Approval:
        """Decide, and go on with the scripts that waited for it; the same again changes nothing.

        Raises:
            UnknownObjectError: the tenant has none of this id.
            InvalidFieldError: arguments for more than this call.
            StateError: it was decided otherwise, expired, or its script is over.
            ToolValidationError, ToolNotFoundError: the tool does not take these arguments.
        """
        one = self.get(tenant, approval_id)
        if made.args is not None and made.verdict != "approve":
            raise InvalidFieldError(field="args", problem="they are for this call, not for all")
        alike = {one.run_id}
        if made.verdict in {"always", "never"}:
            key = (one.session_id, one.tool)
            alike |= {
                each.run_id for each in self._inbox.list() if (each.session_id, each.tool) == key
            }
        harness = self._scripts.harness_for(tenant, one.run_id)
        decide = self._inbox.decide if harness is None else harness.decide
        answer = decide(one.id, made)
        if answer.ignored not in {None, "same"}:
            state = "unknown" if answer.approval is None else answer.approval.status
            raise StateError(kind="approval", id=approval_id, state=state, problem=answer.says)
        if answer.changed:
            for run_id in sorted(alike):
                self._scripts.go_on(tenant, run_id)
        return answer.approval or one


def session_name(one: Approval) -> str:
    """Return what the tenant calls the session of a script; empty where it has not named one.

    Such a script, or message of scripts, is in one of its own, which is called as it is.
    """
    name = one.session_id.partition("/")[2]
    # The ids of the scripts of a message begin with that of the message.
    is_own = len(name) == len(one.run_id) and name[:MESSAGE_DIGITS] == one.run_id[:MESSAGE_DIGITS]
    return "" if is_own else name


def approval_document(one: Approval) -> ApprovalDocument:
    """Return an approval as it is answered."""
    made = one.made
    decision = None
    if made is not None:
        decision = DecisionDocument(
            verdict=made.verdict, who=made.who, reason=made.reason, args=made.args
        )
    return ApprovalDocument(
        id=one.id,
        run_id=one.run_id,
        session=session_name(one),
        tool=one.tool,
        args=one.shown,
        args_sha256=one.args_sha256,
        status=one.status,
        created_ms=one.created_ms,
        expires_ms=one.expires_ms,
        line=one.line,
        excerpt=one.excerpt,
        tools_used=list(one.tools_used),
        decision=decision,
        decided_ms=one.decided_ms,
    )
