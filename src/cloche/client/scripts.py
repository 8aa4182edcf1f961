"""Scripts and approvals of a server: `client.scripts` and `client.approvals`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.client import script_calls as calls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.client.asynchronous import AsyncClient
    from cloche.client.synchronous import Client
    from cloche.server.documents import (
        ApprovalDocument,
        ApprovalList,
        ScriptDocument,
        ScriptList,
        TimelineDocument,
        ToolList,
    )

    # Inside the classes `list` is a verb.
    Lines = list[str]
    Documents = list[ScriptDocument]


class Scripts:
    """The scripts of a server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, source: str, **options: Any) -> ScriptDocument:
        """Run a script until it ends or waits for a person.

        Args:
            source: of the script.
            options: `language`, `tools` (a tool set of the server), `session` (what "always" and
                "never" hold for), `params`, `mode` ("enabled" or "dry-run").
        """
        return self._client._send(calls.begin_script(source, options, wait=True))

    def start(self, source: str, **options: Any) -> ScriptDocument:
        """Start a script and return at once; options are those of `run`."""
        return self._client._send(calls.begin_script(source, options, wait=False))

    def message(self, message: Any, *, api: str, **options: Any) -> Documents:
        """Run the scripts of a model's message in their order.

        Args:
            message: as the API answered it.
            api: "openai.responses", "openai.chat" or "anthropic.messages".
            options: `tools`, `session`, `mode`, as of `run`.
        """
        return self._client._send(calls.run_message(message, api, options)).items

    def list(self, *, limit: int | None = None, after: str | None = None) -> ScriptList:
        """Return a page of scripts, without what they printed and called."""
        return self._client._send(calls.list_scripts(limit, after))

    def get(self, script_id: str) -> ScriptDocument:
        """Return a script: its status, and what it returned, printed and called so far."""
        return self._client._send(calls.get_script(script_id))

    def journal(self, script_id: str) -> Lines:
        """Return the lines of a script's journal, JSON each."""
        return self._client._send(calls.script_journal(script_id))

    def timeline(self, script_id: str) -> TimelineDocument:
        """Return the calls of a script in the order in which they began."""
        return self._client._send(calls.script_timeline(script_id))

    def resume(self, script_id: str) -> ScriptDocument:
        """Go on with a script that waits or was interrupted, until it ends or waits again."""
        return self._client._send(calls.change_script(script_id, "resume"))

    def cancel(self, script_id: str) -> ScriptDocument:
        """Stop a script; one that is over stays as it is."""
        return self._client._send(calls.change_script(script_id, "cancel"))

    def rollback(self, script_id: str) -> ScriptDocument:
        """Undo the completed calls of a script, the last one first."""
        return self._client._send(calls.change_script(script_id, "rollback"))

    def tools(
        self, tools: str | None = None, *, limit: int | None = None, after: str | None = None
    ) -> ToolList:
        """Return a page of the tools that scripts may call, of all sets or of one."""
        return self._client._send(calls.list_tools(tools, limit, after))

    def prompt(self, tools: str, *, language: str = "typescript") -> str:
        """Return what to tell a model so that it writes scripts for a set of tools.

        Args:
            tools: a tool set of the server.
            language: "typescript" or "python".
        """
        return self._client._send(calls.prompt(tools, language))


class AsyncScripts:
    """The scripts of a server."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def run(self, source: str, **options: Any) -> ScriptDocument:
        """Run a script until it ends or waits for a person.

        Args:
            source: of the script.
            options: `language`, `tools` (a tool set of the server), `session` (what "always" and
                "never" hold for), `params`, `mode` ("enabled" or "dry-run").
        """
        return await self._client._send(calls.begin_script(source, options, wait=True))

    async def start(self, source: str, **options: Any) -> ScriptDocument:
        """Start a script and return at once; options are those of `run`."""
        return await self._client._send(calls.begin_script(source, options, wait=False))

    async def message(self, message: Any, *, api: str, **options: Any) -> Documents:
        """Run the scripts of a model's message in their order.

        Args:
            message: as the API answered it.
            api: "openai.responses", "openai.chat" or "anthropic.messages".
            options: `tools`, `session`, `mode`, as of `run`.
        """
        return (await self._client._send(calls.run_message(message, api, options))).items

    async def list(self, *, limit: int | None = None, after: str | None = None) -> ScriptList:
        """Return a page of scripts, without what they printed and called."""
        return await self._client._send(calls.list_scripts(limit, after))

    async def get(self, script_id: str) -> ScriptDocument:
        """Return a script: its status, and what it returned, printed and called so far."""
        return await self._client._send(calls.get_script(script_id))

    async def journal(self, script_id: str) -> Lines:
        """Return the lines of a script's journal, JSON each."""
        return await self._client._send(calls.script_journal(script_id))

    async def timeline(self, script_id: str) -> TimelineDocument:
        """Return the calls of a script in the order in which they began."""
        return await self._client._send(calls.script_timeline(script_id))

    async def resume(self, script_id: str) -> ScriptDocument:
        """Go on with a script that waits or was interrupted, until it ends or waits again."""
        return await self._client._send(calls.change_script(script_id, "resume"))

    async def cancel(self, script_id: str) -> ScriptDocument:
        """Stop a script; one that is over stays as it is."""
        return await self._client._send(calls.change_script(script_id, "cancel"))

    async def rollback(self, script_id: str) -> ScriptDocument:
        """Undo the completed calls of a script, the last one first."""
        return await self._client._send(calls.change_script(script_id, "rollback"))

    async def tools(
        self, tools: str | None = None, *, limit: int | None = None, after: str | None = None
    ) -> ToolList:
        """Return a page of the tools that scripts may call, of all sets or of one."""
        return await self._client._send(calls.list_tools(tools, limit, after))

    async def prompt(self, tools: str, *, language: str = "typescript") -> str:
        """Return what to tell a model so that it writes scripts for a set of tools.

        Args:
            tools: a tool set of the server.
            language: "typescript" or "python".
        """
        return await self._client._send(calls.prompt(tools, language))


class Approvals:
    """What scripts ask people, for keys with the scope `approve`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(
        self, *, run: str | None = None, limit: int | None = None, after: str | None = None
    ) -> ApprovalList:
        """Return a page of what waits for a decision, the oldest first."""
        return self._client._send(calls.list_approvals(run, limit, after))

    def get(self, approval_id: str) -> ApprovalDocument:
        """Return a question: the call, the lines around it, and what was decided."""
        return self._client._send(calls.get_approval(approval_id))

    def approve(
        self,
        approval_id: str,
        args: Mapping[str, Any] | None = None,
        *,
        always: bool = False,
        reason: str = "",
    ) -> ApprovalDocument:
        """Let a call happen, as it is or with other arguments; its script goes on.

        Args:
            approval_id: of the question.
            args: instead of those that the script gave.
            always: also every later call of this tool in the session.
            reason: is kept with the decision.
        """
        return self._client._send(calls.approve(approval_id, args, always=always, reason=reason))

    def reject(
        self, approval_id: str, reason: str = "", *, never: bool = False, run: bool = False
    ) -> ApprovalDocument:
        """Let a call not happen; its script is told the reason.

        Args:
            approval_id: of the question.
            reason: is told to the script.
            never: nor any later call of this tool in the session.
            run: end the whole script instead.
        """
        return self._client._send(calls.reject(approval_id, reason, never=never, run=run))


class AsyncApprovals:
    """What scripts ask people, for keys with the scope `approve`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(
        self, *, run: str | None = None, limit: int | None = None, after: str | None = None
    ) -> ApprovalList:
        """Return a page of what waits for a decision, the oldest first."""
        return await self._client._send(calls.list_approvals(run, limit, after))

    async def get(self, approval_id: str) -> ApprovalDocument:
        """Return a question: the call, the lines around it, and what was decided."""
        return await self._client._send(calls.get_approval(approval_id))

    async def approve(
        self,
        approval_id: str,
        args: Mapping[str, Any] | None = None,
        *,
        always: bool = False,
        reason: str = "",
    ) -> ApprovalDocument:
        """Let a call happen, as it is or with other arguments; its script goes on.

        Args:
            approval_id: of the question.
            args: instead of those that the script gave.
            always: also every later call of this tool in the session.
            reason: is kept with the decision.
        """
        return await self._client._send(
            calls.approve(approval_id, args, always=always, reason=reason)
        )

    async def reject(
        self, approval_id: str, reason: str = "", *, never: bool = False, run: bool = False
    ) -> ApprovalDocument:
        """Let a call not happen; its script is told the reason.

        Args:
            approval_id: of the question.
            reason: is told to the script.
            never: nor any later call of this tool in the session.
            run: end the whole script instead.
        """
        return await self._client._send(calls.reject(approval_id, reason, never=never, run=run))
