"""The tools that a model gets over MCP: run code, sessions, their files, scripts.

Needs the extra `mcp`: import it by `mcp_server`. Invariants: a program that fails is a result with
its error in it; what the caller did wrong is an error of the tool; nothing blocks the loop that
speaks with the client; a call of a script happens when a person said so, never because the model
did.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import unquote

from mcp.server.elicitation import AcceptedElicitation, DeclinedElicitation
from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.shared.exceptions import McpError
from mcp.types import (
    CallToolResult,
    ClientCapabilities,
    ContentBlock,
    ElicitationCapability,
    TextContent,
)
from pydantic import BaseModel, Field

from cloche._version import __version__
from cloche.errors import ClocheError
from cloche.script.approvals import Made
from cloche.server.errors import InvalidFieldError
from cloche.server.mcp_backend import Language, ScriptLanguage  # noqa: TC001 - read at run time
from cloche.server.pictures import picture_kind, shown_kind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp.server.fastmcp.tools import Tool

    from cloche.script.approvals import Approval
    from cloche.server.mcp_backend import Backend, Listener, Outcome

T = TypeVar("T")
Asked = Context[Any, Any, Any]
BackendOf = Callable[[Asked], "Backend"]

INSTRUCTIONS: Final = (
    "Run Python, JavaScript or TypeScript in a sandbox without network. run_code starts afresh "
    "each time; a session keeps variables and files between runs. Python has numpy, pandas and "
    "matplotlib. run_script runs a program that calls tools; a person may have to approve a call."
)
PROGRESS_INTERVAL_S: Final = 0.5
LINE_LENGTH_MAX: Final = 200
QUESTION_COUNT_MAX: Final = 100  # to the person at the client, for one script


class Decision(BaseModel):
    """What a person says to a call. Only flat values are allowed in a form of MCP."""

    approve: bool = Field(description="Whether the call may happen")
    reason: str = Field(default="", description="What the script is told if it may not")
    args_json: str = Field(default="", description="Other arguments, as a JSON object")


TimeoutMs = Annotated[int | None, Field(ge=1, description="How long it may run")]
RunCount = Annotated[int, Field(ge=1, description="How many")]
Said = AcceptedElicitation[Decision] | DeclinedElicitation


def make_tools(backend_of: BackendOf, *, who: Callable[[Asked], str]) -> FastMCP:
    """Return a server with all tools.

    Args:
        backend_of: returns what answers a request.
        who: returns who decides where the client asks its person, as the audit says it.
    """
    # Its errors are answers of the protocol; a client that leaves is none.
    server = FastMCP("cloche", instructions=INSTRUCTIONS, log_level="CRITICAL")
    server._mcp_server.version = __version__  # else it tells that of the library
    tools = _Tools(backend_of, who)
    for each in (
        tools.run_code,
        tools.session_run,
        tools.session_create,
        tools.session_list,
        tools.session_fork,
        tools.session_revert,
        tools.session_delete,
        tools.write_file,
        tools.list_files,
        tools.run_script,
        tools.script_status,
    ):
        server.add_tool(each)
    server.add_tool(tools.read_file, structured_output=False)
    for added in server._tool_manager.list_tools():
        _refuse_others(added)
    server.resource(
        "cloche://sessions/{session}/files/{path}",
        name="session_file",
        description="A file of a session; slashes in its path are written %2F",
        mime_type="application/octet-stream",
    )(tools.session_file)
    server.resource(
        "cloche://runs/{run_id}/journal",
        name="run_journal",
        description="The journal of a run or script: everything that crossed the gate",
        mime_type="application/jsonl",
    )(tools.run_journal)
    return server


def _refuse_others(added: Tool) -> None:
    """See that an argument which a tool does not have is an error, and not passed over."""
    model = added.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    added.parameters = model.model_json_schema(by_alias=True)


class _Tools:
    """One method for each tool; the docstring is what the model reads."""

    def __init__(self, backend_of: BackendOf, who: Callable[[Asked], str]) -> None:
        self._backend_of = backend_of
        self._who = who

    # --- runs ---

    async def run_code(
        self,
        ctx: Asked,
        code: str,
        language: Language = "python",
        files: dict[str, str] | None = None,
        stdin: str = "",
        timeout_ms: TimeoutMs = None,
    ) -> CallToolResult:
        """Run a program in a fresh sandbox; return what it printed, its exit code, its error.

        Pictures that it writes as files, as with `plt.savefig("plot.png")`, are shown.
        """
        backend = self._backend_of(ctx)
        return await _told(
            ctx,
            lambda told: backend.run_code(
                code,
                language=language,
                files=files or {},
                stdin=stdin,
                timeout_ms=timeout_ms,
                on_output=told,
            ),
        )

    async def session_run(
        self, ctx: Asked, session: str, code: str, timeout_ms: TimeoutMs = None
    ) -> CallToolResult:
        """Run a program in a session, by id or name; pictures that it writes are shown."""
        backend = self._backend_of(ctx)
        return await _told(
            ctx,
            lambda told: backend.session_run(session, code, timeout_ms=timeout_ms, on_output=told),
        )

    # --- sessions ---

    async def session_create(
        self, ctx: Asked, language: Language = "python", name: str | None = None
    ) -> dict[str, Any]:
        """Create a session: variables and files live on from run to run, and after a restart."""
        return await self._backend_of(ctx).session_create(language, name)

    async def session_list(self, ctx: Asked) -> list[dict[str, Any]]:
        """List all sessions."""
        return await self._backend_of(ctx).session_list()

    async def session_fork(
        self, ctx: Asked, session: str, name: str | None = None
    ) -> dict[str, Any]:
        """Create a second session in the same state; the two go their own ways."""
        return await self._backend_of(ctx).session_fork(session, name)

    async def session_revert(self, ctx: Asked, session: str, last: RunCount = 1) -> str:
        """Undo the last runs of a session."""
        await self._backend_of(ctx).session_revert(session, last)
        return f"undid {last} runs"

    async def session_delete(self, ctx: Asked, session: str) -> str:
        """Remove a session for ever."""
        await self._backend_of(ctx).session_delete(session)
        return "deleted"

    # --- files ---

    async def write_file(
        self, ctx: Asked, session: str, path: str, content: str, is_base64: bool = False
    ) -> str:
        """Put a file into a session: text, or bytes in base64."""
        try:
            data = base64.b64decode(content, validate=True) if is_base64 else content.encode()
        except (binascii.Error, UnicodeEncodeError) as error:
            raise InvalidFieldError(field="content", problem=str(error)) from None
        await self._backend_of(ctx).write_file(session, path, data)
        return f"wrote {len(data)} bytes to {path}"

    async def read_file(self, ctx: Asked, session: str, path: str) -> Any:
        """Read a file of a session: text, an image as an image, other bytes in base64."""
        data = await self._backend_of(ctx).read_file(session, path)
        kind = shown_kind(path, data)
        if kind is not None:
            return Image(data=data, format=kind)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return base64.b64encode(data).decode()

    async def list_files(self, ctx: Asked, session: str, path: str = ".") -> list[dict[str, Any]]:
        """List the files of a session, with all directories below the path."""
        return await self._backend_of(ctx).list_files(session, path)

    # --- scripts ---

    async def run_script(
        self,
        ctx: Asked,
        source: str,
        language: ScriptLanguage = "typescript",
        tools: str = "default",
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run a program that calls tools, as `await tools.name({…})`, and returns a value.

        TypeScript and JavaScript are the body of an async function; the value of Python is that of
        its last expression, and its tools take keywords. `tools.search("words")` finds tools,
        `tools.describe("name")` explains one; `context.params` has the parameters.

        A person may have to approve a call: if you are told that the script is suspended, tell your
        user, and ask for `script_status` later.
        """
        backend = self._backend_of(ctx)
        found = await backend.run_script(
            source, language=language, tools=tools, params=params or {}
        )
        if backend.may_approve and _has_forms(ctx):
            found = await self._asked(ctx, backend, found)
        return found

    async def script_status(self, ctx: Asked, run_id: str) -> dict[str, Any]:
        """Return what has become of a script that waited for a person."""
        return await self._backend_of(ctx).script_status(run_id)

    async def _asked(self, ctx: Asked, backend: Backend, found: dict[str, Any]) -> dict[str, Any]:
        """Ask the person at the client about calls, until the script ends or nobody answers."""
        problem = ""
        for _ in range(QUESTION_COUNT_MAX):
            if found["status"] != "suspended":
                break
            waiting = await backend.approvals(found["run_id"])
            if not waiting:
                break
            said = await _question(ctx, waiting[0], problem)
            if said is None:
                break
            try:
                await backend.decide(waiting[0].id, _made(said, self._who(ctx)))
                problem = ""
            except ClocheError as error:
                # What they wrote was wrong, or another one was faster: what is so now says which.
                problem = str(error)
            found = await backend.script_status(found["run_id"])
        return found

    # --- resources ---

    # A parameter of a class with parameters is made anew for these, without its request.

    async def session_file(self, session: str, path: str, ctx: Context) -> bytes:  # type: ignore[type-arg]
        """Return the content of a file."""
        return await self._backend_of(ctx).read_file(unquote(session), unquote(path))

    async def run_journal(self, run_id: str, ctx: Context) -> str:  # type: ignore[type-arg]
        """Return the journal of a run as JSON Lines."""
        return await self._backend_of(ctx).journal(unquote(run_id))


async def _question(ctx: Asked, one: Approval, problem: str) -> Said | None:
    """Return what a person says to a call, None where nobody answers.

    Args:
        ctx: of the request.
        one: what the script waits for.
        problem: what was wrong with what they said before.
    """
    text = (
        f"A script asks to call {one.tool} with\n{json.dumps(one.shown, ensure_ascii=False)}\n\n"
        f"{one.excerpt}"
    )
    if problem:
        text = f"That was not done: {problem}\n\n{text}"
    try:
        answer = await ctx.elicit(text, Decision)
    except (McpError, ValueError):
        return None  # the client refuses to ask, or what it sends is no such form
    return None if answer.action == "cancel" else answer


def _made(answer: Said, who: str) -> Made:
    """Return a person's answer as a decision.

    Raises:
        InvalidFieldError: the arguments are no JSON object.
    """
    if answer.action == "decline":
        return Made(verdict="reject", who=who, reason="the user declined")
    said = answer.data
    if not said.approve:
        return Made(verdict="reject", who=who, reason=said.reason)
    args = None
    if said.args_json.strip():
        try:
            args = json.loads(said.args_json)
        except (ValueError, RecursionError) as error:
            raise InvalidFieldError(field="args_json", problem=str(error)) from None
        if not isinstance(args, dict):
            raise InvalidFieldError(field="args_json", problem="is no object")
    return Made(verdict="approve", who=who, reason=said.reason, args=args)


def _has_forms(ctx: Asked) -> bool:
    wanted = ClientCapabilities(elicitation=ElicitationCapability())
    return bool(ctx.session.check_client_capability(wanted))


# --- runs, as they are told ---


async def _told(ctx: Asked, begin: Callable[[Listener], Awaitable[Outcome]]) -> CallToolResult:
    """Return how a run ended; while it goes on, the client is told what it prints."""
    printed = _Printed()
    telling = asyncio.ensure_future(_tell(ctx, printed))
    try:
        outcome = await begin(printed.add)
    finally:
        telling.cancel()
    content: list[ContentBlock] = [
        TextContent(type="text", text=json.dumps(outcome.document, ensure_ascii=False, indent=2))
    ]
    for path, data in outcome.images.items():
        content.append(TextContent(type="text", text=path))
        content.append(Image(data=data, format=picture_kind(path)).to_image_content())
    return CallToolResult(content=content, structuredContent=outcome.document)


class _Printed:
    """How much a program has printed, and its last line."""

    def __init__(self) -> None:
        self.count = 0
        self.line = ""

    def add(self, text: str) -> None:
        """Take what was printed now. From any thread."""
        self.count += len(text)
        lines = text.rstrip("\n").rsplit("\n", 1)
        self.line = lines[-1][-LINE_LENGTH_MAX:]


async def _tell(ctx: Asked, printed: _Printed) -> None:
    told = 0
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL_S)
        if printed.count > told:
            told = printed.count
            await ctx.report_progress(told, message=printed.line)
