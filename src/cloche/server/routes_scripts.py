"""Routes of scripts, of the tools that they may call, and of the approvals that they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from cloche.script.approvals import Made
from cloche.script.stubs import prompt
from cloche.server.context import text
from cloche.server.decisions import approval_document
from cloche.server.documents import (
    ApprovalDocument,
    ApprovalList,
    ApproveBody,
    MessageBody,
    MessageDocument,
    RejectBody,
    ScriptBody,
    ScriptDocument,
    ScriptList,
    TimelineDocument,
    ToolDocument,
    ToolList,
)
from cloche.server.errors import InvalidFieldError, UnknownObjectError
from cloche.server.guard import key_of, tenant_of
from cloche.server.journals import journal_lines, timeline
from cloche.server.operations import Operation
from cloche.server.pages import PAGE_QUERY, page_of
from cloche.server.scripts import document_of
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, json, stream
from cloche.web.response import text as plain

if TYPE_CHECKING:
    from cloche.script.approvals import Verdict
    from cloche.script.items import ScriptResult
    from cloche.script.tools import Tool, ToolSet
    from cloche.server.context import Context
    from cloche.server.documents import KeptScript
    from cloche.server.scripts import Job

_LINES: Final = "application/jsonl"


class ScriptRoutes:
    """Handlers of `/v1/scripts`, `/v1/messages`, `/v1/tools` and `/v1/approvals`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        script, approval = "/v1/scripts/:id", "/v1/approvals/:id"
        return [
            Operation(method="POST", template="/v1/scripts", handler=self.start_script,
                      scope="run", body=ScriptBody, answer=ScriptDocument, also=(202,)),
            Operation(method="POST", template="/v1/messages", handler=self.run_message,
                      scope="run", body=MessageBody, answer=MessageDocument),
            Operation(method="GET", template="/v1/scripts", handler=self.list_scripts,
                      scope="run", answer=ScriptList, query=PAGE_QUERY),
            Operation(method="GET", template=script, handler=self.get_script, scope="run",
                      answer=ScriptDocument),
            Operation(method="GET", template=f"{script}/journal", handler=self.script_journal,
                      scope="run", media_type=_LINES),
            Operation(method="GET", template=f"{script}/timeline", handler=self.script_timeline,
                      scope="run", answer=TimelineDocument),
            Operation(method="POST", template=f"{script}/resume", handler=self.resume_script,
                      scope="run", answer=ScriptDocument),
            Operation(method="POST", template=f"{script}/cancel", handler=self.cancel_script,
                      scope="run", answer=ScriptDocument),
            Operation(method="POST", template=f"{script}/rollback", handler=self.rollback_script,
                      scope="run", answer=ScriptDocument),
            Operation(method="GET", template="/v1/tools", handler=self.list_tools, scope="run",
                      answer=ToolList, query=(("tools", str, "Of this set."), *PAGE_QUERY)),
            Operation(method="GET", template="/v1/tools/:set/prompt", handler=self.tools_prompt,
                      scope="run", media_type="text/plain",
                      query=(("language", str, "`typescript`, or `python`."),)),
            Operation(method="GET", template="/v1/approvals", handler=self.list_approvals,
                      scope="approve", answer=ApprovalList,
                      query=(("run", str, "Of this script."), *PAGE_QUERY)),
            Operation(method="GET", template=approval, handler=self.get_approval,
                      scope="approve", answer=ApprovalDocument),
            Operation(method="POST", template=f"{approval}/approve", handler=self.approve,
                      scope="approve", body=ApproveBody, answer=ApprovalDocument),
            Operation(method="POST", template=f"{approval}/reject", handler=self.reject,
                      scope="approve", body=RejectBody, answer=ApprovalDocument),
        ]  # fmt: skip

    # --- beginning ---

    async def start_script(self, request: Request) -> Response:
        """Run a script until it ends or waits for a person; `wait` false: answer 202 at once."""
        context, tenant = self._context, tenant_of(request)
        body = await context.body(request, ScriptBody)
        run_id = request.context.get("run_id")
        job = await context.call(lambda: context.scripts.start(tenant, body, run_id=run_id))
        if not body.wait:
            known = await context.call(lambda: context.scripts.get(tenant, job.name))
            return json(known, 202)
        result: ScriptResult = await context.scripts.wait(job)
        kept = context.scripts.asked_now(body.tools, body.session)
        return json(await self._shown(tenant, result, kept))

    async def _shown(self, tenant: str, result: ScriptResult, kept: KeptScript) -> ScriptDocument:
        if not result.run_id:
            return document_of(result, kept, "")
        return await self._context.call(lambda: self._context.scripts.get(tenant, result.run_id))

    async def run_message(self, request: Request) -> MessageDocument:
        """Run the scripts of a model's message in their order."""
        context, tenant = self._context, tenant_of(request)
        body = await context.body(request, MessageBody)
        run_id = request.context.get("run_id")
        job = await context.call(lambda: context.scripts.start_message(tenant, body, run_id=run_id))
        results: tuple[ScriptResult, ...] = await context.scripts.wait(job)
        kept = context.scripts.asked_now(body.tools, body.session or job.name)
        return MessageDocument(items=[await self._shown(tenant, each, kept) for each in results])

    # --- looking ---

    async def list_scripts(self, request: Request) -> ScriptList:
        """List scripts, newest first, without what they printed and called."""
        tenant, wanted = tenant_of(request), self._context.page(request)
        found = await self._context.call(lambda: self._context.scripts.page(tenant, wanted))
        page = page_of(found, wanted, lambda script: script.id)
        return ScriptList(items=list(page.items), next=page.next)

    async def get_script(self, request: Request) -> ScriptDocument:
        """Return a script: its status, and what it returned, printed and called so far."""
        tenant, run_id = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._context.scripts.get(tenant, run_id))

    async def script_journal(self, request: Request) -> Response:
        """Return the journal of a script as JSON Lines, as far as it is kept."""
        context, tenant, run_id = self._context, tenant_of(request), request.params["id"]

        await context.call(lambda: context.scripts.kept(tenant, run_id))
        lines = await context.call(
            lambda: [line.encode() for line in journal_lines(context.store, run_id, context.limits)]
        )
        return stream(lines, _LINES, length=sum(map(len, lines)))

    async def script_timeline(self, request: Request) -> TimelineDocument:
        """Return the calls of a script in the order in which they began."""
        context, tenant, run_id = self._context, tenant_of(request), request.params["id"]

        def found() -> TimelineDocument:
            context.scripts.kept(tenant, run_id)
            return timeline(context.store, run_id, context.limits)

        return await context.call(found)

    # --- changing ---

    async def resume_script(self, request: Request) -> ScriptDocument:
        """Go on with a script that waits or was interrupted, until it ends or waits again."""
        tenant, run_id = tenant_of(request), request.params["id"]
        job = await self._context.call(lambda: self._context.scripts.resume(tenant, run_id))
        return await self._done(tenant, job)

    async def _done(self, tenant: str, job: Job) -> ScriptDocument:
        await self._context.scripts.wait(job)
        return await self._context.call(lambda: self._context.scripts.get(tenant, job.name))

    async def cancel_script(self, request: Request) -> ScriptDocument:
        """Stop a script; one that is over stays as it is."""
        tenant, run_id = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._context.scripts.cancel(tenant, run_id))

    async def rollback_script(self, request: Request) -> ScriptDocument:
        """Undo the completed calls of a script, the last one first."""
        tenant, run_id = tenant_of(request), request.params["id"]
        job = await self._context.call(lambda: self._context.scripts.rollback(tenant, run_id))
        return await self._done(tenant, job)

    # --- tools ---

    async def list_tools(self, request: Request) -> ToolList:
        """List the tools that scripts may call, with what they take and whether they ask."""
        wanted = text(request, "tools")
        sets = {wanted: self._set(wanted)} if wanted else self._context.scripts.sets
        found = [
            _tool_document(name, tool) for name in sorted(sets) for tool in sets[name].values()
        ]
        page = self._context.cut(request, found, lambda each: each.id, kind="tool")
        return ToolList(items=list(page.items), next=page.next)

    async def tools_prompt(self, request: Request) -> Response:
        """Return what to tell a model so that it writes scripts for a set of tools."""
        tools, language = self._set(request.params["set"]), text(request, "language", "typescript")
        if language == "python":
            return plain(prompt(tools, language="python"))
        if language == "typescript":
            return plain(prompt(tools, language="typescript"))
        raise InvalidFieldError(field="language", problem="is typescript or python")

    def _set(self, name: str) -> ToolSet:
        found = self._context.scripts.sets.get(name)
        if found is None:
            raise UnknownObjectError(kind="tool set", id=name)
        return found

    # --- approvals ---

    async def list_approvals(self, request: Request) -> ApprovalList:
        """List what waits for a decision, the oldest first."""
        context, tenant, wanted = self._context, tenant_of(request), self._context.page(request)
        run_id = text(request, "run")
        found = await context.call(lambda: context.decisions.page(tenant, wanted, run_id=run_id))
        page = page_of(found, wanted, lambda one: one.id)
        return ApprovalList(items=[approval_document(one) for one in page.items], next=page.next)

    async def get_approval(self, request: Request) -> ApprovalDocument:
        """Return a question: the call, the lines around it, and what was decided."""
        tenant, approval_id = tenant_of(request), request.params["id"]
        one = await self._context.call(lambda: self._context.decisions.get(tenant, approval_id))
        return approval_document(one)

    async def approve(self, request: Request) -> ApprovalDocument:
        """Let a call happen, as it is or with other arguments; its script goes on."""
        body = await self._context.body(request, ApproveBody)
        verdict: Verdict = "always" if body.always else "approve"
        made = Made(verdict=verdict, who=key_of(request).shown, reason=body.reason, args=body.args)
        return await self._decided(request, made)

    async def reject(self, request: Request) -> ApprovalDocument:
        """Let a call not happen; its script is told the reason, or ends."""
        body = await self._context.body(request, RejectBody)
        if body.never and body.run:
            raise InvalidFieldError(field="never", problem="it is about the tool or about the run")
        verdict: Verdict = "never" if body.never else "reject_run" if body.run else "reject"
        made = Made(verdict=verdict, who=key_of(request).shown, reason=body.reason)
        return await self._decided(request, made)

    async def _decided(self, request: Request, made: Made) -> ApprovalDocument:
        tenant, approval_id = tenant_of(request), request.params["id"]
        one = await self._context.call(
            lambda: self._context.decisions.decide(tenant, approval_id, made)
        )
        return approval_document(one)


def _tool_document(tools: str, tool: Tool) -> ToolDocument:
    asks: Literal["yes", "no", "rule"] = "no" if tool.read_only else "yes"
    if isinstance(tool.requires_approval, bool):
        asks = "yes" if tool.requires_approval else "no"
    elif tool.requires_approval is not None:
        asks = "rule"
    return ToolDocument(id=f"{tools}/{tool.name}", tools=tools, asks=asks, **tool.describe())
