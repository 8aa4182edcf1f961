"""Tools of MCP servers, over stdio and HTTP; needs the extra `mcp`.

Owns one connection to one server. Invariants:
- what the server says is not trusted: names are cleaned, descriptions and schemas are cut or
  refused, and that a tool "only reads" counts only where `trust_hints` says so;
- one thread serves the connection; a call waits for it on its own thread and can be given up;
- a server that goes away makes calls fail, not hang.

Tools are listed once, when the connection is made.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.script.errors import ToolDeclarationError
from cloche.script.json_schemas import clean_name, schema_tool
from cloche.script.tools import ToolContext, ToolSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import Self

    from cloche.script.tools import Tool

_CONNECT_S: Final = 30.0
_READ_S: Final = 300.0  # a server may keep a stream open
_CLOSE_S: Final = 5.0
_LOOK_S: Final = 0.02  # how often a waiting call looks whether it is still wanted
_PAGE_COUNT_MAX: Final = 100  # of a listing; a server might have no last one


class McpConnectionError(ClocheError):
    """A server cannot be reached, or went away. State: nothing is connected."""

    code = "MCP_UNREACHABLE"
    blame = "environment"
    retryable = True

    def __init__(self, *, server: str, problem: str) -> None:
        super().__init__(f"the MCP server {server}: {problem}", server=server, problem=problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioServer:
    """A server that is a command of this machine.

    Args:
        command: and its arguments.
        env: what it gets besides a path and a home.
        cwd: where it starts.

    Raises:
        ToolDeclarationError: on construction, the command is no list of words.
    """

    command: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: str | None = None

    def __post_init__(self) -> None:
        words = () if isinstance(self.command, str) else tuple(self.command)
        if not words or not all(isinstance(word, str) and word for word in words[:1]):
            problem = f"the command is {self.command!r}, expected a list: a program and its words"
            raise ToolDeclarationError(where="an MCP server", problem=problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServer:
    """A server at an address. `headers` may hold secrets: no script and no record sees them.

    Raises:
        ToolDeclarationError: on construction, the address is of no web server.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            problem = f"the url is {self.url!r}, expected one that starts with https:// or http://"
            raise ToolDeclarationError(where="an MCP server", problem=problem)


class McpTools:
    """The tools of a server, as a context manager: `with McpTools("github", server) as mcp: …`.

    Args:
        name: the namespace: `tools.<name>.<tool>`.
        server: where it is.
        trust_hints: whether a tool that says it only reads is believed, and so not asked about.
        limits: None for the defaults.
        timeout_ms: of one call; None for `scripts.tool_timeout_ms`.
    """

    def __init__(
        self,
        name: str,
        server: StdioServer | HttpServer,
        *,
        trust_hints: bool = False,
        limits: Limits | None = None,
        timeout_ms: int | None = None,
    ) -> None:
        self.name = clean_name(name)
        self._server = server
        self._trust_hints = trust_hints
        self._limits = limits or Limits()
        self._timeout_s = (timeout_ms or self._limits.scripts.tool_timeout_ms) / 1000
        self._tools: ToolSet | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Any = None
        self._stop: asyncio.Event | None = None
        self._problem = "it is not connected"
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tools(self) -> ToolSet:
        """What the server offers; connects if that has not happened.

        Raises:
            McpConnectionError: it cannot be reached.
        """
        if self._tools is None:
            self.connect()
        assert self._tools is not None
        return self._tools

    def connect(self) -> None:
        """Start the server or call its address, and ask for its tools.

        Raises:
            McpConnectionError: that failed, or took too long; nothing is left of it.
            ToolDeclarationError: the extra is missing, or a tool has an impossible schema.
        """
        _check_extra()
        listed: Future[list[Any]] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(listed,), name=f"cloche-mcp-{self.name}", daemon=True
        )
        self._thread.start()
        try:
            found = listed.result(_CONNECT_S)
            self._tools = ToolSet(*self._made(found))
        except (FutureTimeoutError, FutureCancelledError):
            self.close()
            problem = f"no answer within {_CONNECT_S:.0f} s"
            raise McpConnectionError(server=self.name, problem=problem) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection, and the server if it is a command; may be called again."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if loop is not None and stop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_S)

    # --- the connection's thread ---

    def _serve(self, listed: Future[list[Any]]) -> None:
        try:
            asyncio.run(self._connected(listed))
        except BaseException as error:  # noqa: BLE001 - whatever the SDK raises, waiters must know
            self._problem = _innermost(error)
            if not listed.done():
                problem = McpConnectionError(server=self.name, problem=self._problem)
                listed.set_exception(problem)
        finally:
            self._session = None

    async def _connected(self, listed: Future[list[Any]]) -> None:
        from mcp import ClientSession  # noqa: PLC0415 - an extra

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            streams = await stack.enter_async_context(self._transport())
            session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
            await session.initialize()
            listed.set_result(await self._list(session))
            self._session = session
            await self._stop.wait()
            self._problem = "the connection is closed"

    def _transport(self) -> Any:
        server = self._server
        if isinstance(server, StdioServer):
            from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: PLC0415

            return stdio_client(
                StdioServerParameters(
                    command=server.command[0],
                    args=list(server.command[1:]),
                    env=dict(server.env or {}),
                    cwd=server.cwd,
                )
            )
        return _http_streams(server)

    async def _list(self, session: Any) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        for _ in range(_PAGE_COUNT_MAX):
            page = await session.list_tools(cursor)
            found += page.tools
            cursor = page.nextCursor
            if cursor is None or len(found) > self._limits.scripts.tool_count_max:
                break
        return found[: self._limits.scripts.tool_count_max]

    # --- tools ---

    def _made(self, found: list[Any]) -> list[Tool]:
        taken: list[str] = []
        made = []
        for one in found:
            name = clean_name(one.name, taken)
            taken.append(name)
            hints = one.annotations
            only_reads = self._trust_hints and hints is not None and bool(hints.readOnlyHint)
            made.append(
                schema_tool(
                    f"{self.name}.{name}",
                    self._caller(one.name),
                    description=one.description or "",
                    parameters=one.inputSchema,
                    returns=one.outputSchema,
                    context_name="context",
                    read_only=only_reads,
                )
            )
        return [replace(one, pack="mcp") for one in made]

    def _caller(self, tool_name: str) -> Any:
        def call(args: dict[str, Any], context: ToolContext) -> Any:
            return self._call(tool_name, args, context)

        return call

    def _call(self, tool_name: str, args: dict[str, Any], context: ToolContext) -> Any:
        session, loop = self._session, self._loop
        if session is None or loop is None:
            raise EffectFailure("MCP_UNREACHABLE", f"{self.name}: {self._problem}", retryable=True)
        answer = asyncio.run_coroutine_threadsafe(session.call_tool(tool_name, args), loop)
        left_s = self._timeout_s
        while True:
            try:
                return _value(answer.result(min(_LOOK_S, left_s)))
            except FutureTimeoutError:
                left_s -= _LOOK_S
                is_late = left_s <= 0
                if is_late or context.cancelled() or self._session is None:
                    answer.cancel()
                    problem = "took too long" if is_late else "was given up"
                    raise EffectFailure("MCP_TIMEOUT", f"the call {problem}") from None
            except EffectFailure:
                raise
            except Exception as error:
                raise EffectFailure("MCP_FAILED", _innermost(error)) from error


@asynccontextmanager
async def _http_streams(server: HttpServer) -> AsyncIterator[Any]:
    import httpx  # noqa: PLC0415 - comes with the extra
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415 - an extra

    # The SDK follows redirects within the origin only: the headers go nowhere else.
    timeout = httpx.Timeout(_CONNECT_S, read=_READ_S)
    client = httpx.AsyncClient(headers=dict(server.headers), timeout=timeout)
    async with client, streamable_http_client(server.url, http_client=client) as streams:
        yield streams


def _value(result: Any) -> Any:
    """Return what a tool of a server gave: structured if it is, else its text, else its parts."""
    parts = [part.model_dump(mode="json", exclude_none=True) for part in result.content]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    if result.isError:
        raise EffectFailure("MCP_TOOL_ERROR", "\n".join(texts)[:2000] or "the tool failed")
    if result.structuredContent is not None:
        return result.structuredContent
    if len(texts) == len(parts):
        return "\n".join(texts)
    return parts


def _check_extra() -> None:
    try:
        import mcp  # noqa: F401, PLC0415 - an extra
    except ImportError:
        problem = "MCP servers need the extra: pip install 'cloche[mcp]'"
        raise ToolDeclarationError(where="mcp", problem=problem) from None


def _innermost(error: BaseException) -> str:
    """Return what happened; the SDK's task groups wrap it."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:500]
