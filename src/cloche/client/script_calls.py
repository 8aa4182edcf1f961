"""What is said to a server about scripts and approvals, and what its answers mean. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.client.calls import Call, _lines, _part, _query, _struct
from cloche.server.documents import (
    ApprovalDocument,
    ApprovalList,
    MessageDocument,
    ScriptDocument,
    ScriptList,
    TimelineDocument,
    ToolList,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_MESSAGE: Final = frozenset({"tools", "session", "mode"})
_OF_SCRIPT: Final = _OF_MESSAGE | {"language", "params"}


# --- scripts ---


def begin_script(source: str, options: Mapping[str, Any], *, wait: bool) -> Call[ScriptDocument]:
    """Run a script until it ends or waits for a person; without `wait`, only start it."""
    body = {"source": source, "wait": wait, **_sent(options, _OF_SCRIPT)}
    return Call(method="POST", path="/v1/scripts", body=body, read=_struct(ScriptDocument))


def run_message(message: object, api: str, options: Mapping[str, Any]) -> Call[MessageDocument]:
    """Run the scripts of a model's message."""
    body = {"message": message, "api": api, **_sent(options, _OF_MESSAGE)}
    return Call(method="POST", path="/v1/messages", body=body, read=_struct(MessageDocument))


def _sent(options: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    unknown = sorted(options.keys() - known)
    if unknown:
        raise TypeError(f"a server's script takes no {', '.join(unknown)}")
    return {name: value for name, value in options.items() if value is not None}


def list_scripts(limit: int | None, after: str | None) -> Call[ScriptList]:
    """Return a page of scripts."""
    query = _query(limit=limit, after=after)
    return Call(method="GET", path="/v1/scripts", query=query, read=_struct(ScriptList))


def get_script(script_id: str) -> Call[ScriptDocument]:
    """Return a script."""
    return Call(method="GET", path=_script(script_id), read=_struct(ScriptDocument))


def script_journal(script_id: str) -> Call[list[str]]:
    """Return the lines of a script's journal."""
    return Call(method="GET", path=_script(script_id, "journal"), read=_lines)


def script_timeline(script_id: str) -> Call[TimelineDocument]:
    """Return the calls of a script."""
    path = _script(script_id, "timeline")
    return Call(method="GET", path=path, read=_struct(TimelineDocument))


def change_script(script_id: str, verb: str) -> Call[ScriptDocument]:
    """Let a script go on, stop it, or undo it."""
    return Call(method="POST", path=_script(script_id, verb), read=_struct(ScriptDocument))


def _script(script_id: str, rest: str = "") -> str:
    path = f"/v1/scripts/{_part(script_id)}"
    return f"{path}/{rest}" if rest else path


# --- tools ---


def list_tools(tools: str | None, limit: int | None, after: str | None) -> Call[ToolList]:
    """Return a page of tools."""
    query = _query(tools=tools, limit=limit, after=after)
    return Call(method="GET", path="/v1/tools", query=query, read=_struct(ToolList))


def prompt(tools: str, language: str) -> Call[str]:
    """Return what to tell a model about a set of tools."""
    return Call(
        method="GET",
        path=f"/v1/tools/{_part(tools)}/prompt",
        query=_query(language=language),
        read=lambda reply: reply.content.decode(),
    )


# --- approvals ---


def list_approvals(run: str | None, limit: int | None, after: str | None) -> Call[ApprovalList]:
    """Return a page of what waits."""
    query = _query(run=run, limit=limit, after=after)
    return Call(method="GET", path="/v1/approvals", query=query, read=_struct(ApprovalList))


def get_approval(approval_id: str) -> Call[ApprovalDocument]:
    """Return a question."""
    return Call(method="GET", path=_approval(approval_id), read=_struct(ApprovalDocument))


def approve(
    approval_id: str, args: Mapping[str, Any] | None, *, always: bool, reason: str
) -> Call[ApprovalDocument]:
    """Let a call happen."""
    body = {"args": None if args is None else dict(args), "always": always, "reason": reason}
    path = f"{_approval(approval_id)}/approve"
    return Call(method="POST", path=path, body=body, read=_struct(ApprovalDocument))


def reject(approval_id: str, reason: str, *, never: bool, run: bool) -> Call[ApprovalDocument]:
    """Let a call not happen."""
    body = {"reason": reason, "never": never, "run": run}
    path = f"{_approval(approval_id)}/reject"
    return Call(method="POST", path=path, body=body, read=_struct(ApprovalDocument))


def _approval(approval_id: str) -> str:
    return f"/v1/approvals/{_part(approval_id)}"
