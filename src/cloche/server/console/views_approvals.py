"""Approvals: what waits for a person, the call with the lines around it, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.script.approvals import Made
from cloche.server.console.arguments import changed_args, fields_of, json_value
from cloche.server.console.console import Route, field, section
from cloche.server.console.pages import HOME, go
from cloche.server.decisions import session_name
from cloche.server.errors import InvalidFieldError
from cloche.server.guard import key_of
from cloche.server.pages import page_of
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.script.approvals import Approval, Verdict
    from cloche.server.console.console import Console
    from cloche.web.target import Pairs

_APPROVE: Final[dict[str, Verdict]] = {"approve": "approve", "always": "always"}
_REJECT: Final[dict[str, Verdict]] = {
    "reject": "reject",
    "never": "never",
    "reject_run": "reject_run",
}


class ApprovalViews:
    """The pages below `/console/approvals`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "approve",
            "/approvals",
            ("GET", "", self.show_all),
            ("GET", "/:id", self.show),
            ("POST", "/:id/approve", self.approve),
            ("POST", "/:id/reject", self.reject),
        )

    async def show_all(self, request: Request) -> Response:
        """Show what waits, the oldest first."""
        tenant, wanted = key_of(request).tenant, self._console.wanted(request)
        found = await self._context.call(lambda: self._context.decisions.page(tenant, wanted))
        page = page_of(found, wanted, lambda one: one.id)
        return self._console.pages.page(request, "approvals", approvals=page.items, next=page.next)

    async def _get(self, request: Request) -> Approval:
        tenant, approval_id = key_of(request).tenant, request.params["id"]
        return await self._context.call(lambda: self._context.decisions.get(tenant, approval_id))

    async def show(self, request: Request) -> Response:
        """Show a question, with a form for the decision while it waits."""
        one = await self._get(request)
        return self._console.pages.page(
            request,
            "approval",
            one=one,
            fields=fields_of(one.shown, one.args_sha256),
            lines=[(text, text.startswith(">")) for text in one.excerpt.splitlines()],
            session=session_name(one),
        )

    async def approve(self, request: Request) -> Response:
        """Let a call happen, as it is or with the arguments of the form."""
        one, form = await self._get(request), await request.form()
        verdict = _verdict(_APPROVE, form)
        return await self._decide(request, form, one, verdict, _args(one, form))

    async def reject(self, request: Request) -> Response:
        """Let a call not happen."""
        one, form = await self._get(request), await request.form()
        return await self._decide(request, form, one, _verdict(_REJECT, form), None)

    async def _decide(
        self,
        request: Request,
        form: Pairs,
        one: Approval,
        verdict: Verdict,
        args: dict[str, Any] | None,
    ) -> Response:
        key = key_of(request)
        made = Made(verdict=verdict, who=key.shown, reason=field(form, "reason"), args=args)
        done = await self._context.call(
            lambda: self._context.decisions.decide(key.tenant, one.id, made)
        )
        changed = "" if args is None else ", with changed arguments"
        says = f"{done.tool} of run {done.run_id[:12]} is {done.status}{changed}."
        return go(request, f"{HOME}/approvals", says)


def _verdict(known: dict[str, Verdict], form: Pairs) -> Verdict:
    found = known.get(field(form, "verdict"))
    if found is None:
        raise InvalidFieldError(field="verdict", problem=f"is one of {', '.join(known)}")
    return found


def _args(one: Approval, form: Pairs) -> dict[str, Any] | None:
    """Return the arguments that a form changes, None where it leaves them."""
    fields = fields_of(one.shown, one.args_sha256)
    if fields is not None:
        return changed_args(one.shown, fields, form)
    text = field(form, "arguments")
    args = json_value("arguments", text) if text else None
    if args is not None and not isinstance(args, dict):
        raise InvalidFieldError(field="arguments", problem="is an object of JSON, as {}")
    return args
