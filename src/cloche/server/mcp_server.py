"""The tools that a model gets over MCP: run code, sessions, their files.

    cloche mcp          # speaks MCP on standard input and output

Needs the extra `mcp`. Invariants: a program that fails is a result with its error in it; what the
caller did wrong is an error of the tool; nothing blocks the loop that speaks with the client.
"""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from cloche.errors import ClocheError
from cloche.exec.api import execute, make_request
from cloche.exec.session import Session, sessions_of
from cloche.exec.types import File, Limits
from cloche.gate.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.fastmcp import FastMCP

    from cloche.exec.adapters.runner import Execution
    from cloche.store.ports import Store

T = TypeVar("T")
Language = Literal["python", "javascript", "typescript"]
INSTRUCTIONS: Final = (
    "Run Python, JavaScript or TypeScript in a sandbox without network. run_code starts afresh "
    "each time; a session keeps variables and files between runs. Python has numpy, pandas and "
    "matplotlib."
)
_IMAGES: Final = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}
_LIST_COUNT_MAX: Final = 1000


class McpMissingError(ClocheError):
    """The library that speaks MCP is not installed."""

    code = "SERVER_MCP_MISSING"
    blame = "environment"

    def __init__(self) -> None:
        super().__init__("MCP needs an extra; install it with `pip install 'cloche[mcp]'`")


class Tools:
    """What the tools do, blocking; sessions are those of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run_code(
        self,
        code: str,
        language: Language,
        files: dict[str, str],
        stdin: str,
        timeout_ms: int | None,
    ) -> dict[str, Any]:
        """Run a program once."""
        request = make_request(
            code,
            language=language,
            files=[File(name=name, content=text.encode()) for name, text in files.items()],
            stdin=stdin,
            limits=_limits(timeout_ms),
            policy=Policy(),
        )
        return _outcome(execute(request))

    def session_create(self, language: Language, name: str | None) -> dict[str, Any]:
        """Create a session."""
        session = Session.create(language, name=name, store=self._store)
        return {"id": session.id, "name": session.name, "language": session.language}

    def session_list(self) -> list[dict[str, Any]]:
        """List sessions."""
        found = self._store.sessions.list(limit=_LIST_COUNT_MAX)
        return [{"id": row.id, "name": row.name, "language": row.language} for row in found]

    def session_run(self, session: str, code: str, timeout_ms: int | None) -> dict[str, Any]:
        """Run a program in a session."""
        limits = _limits(timeout_ms)
        return _outcome(self._open(session).execute(code, limits=limits))

    def session_fork(self, session: str, name: str | None) -> dict[str, Any]:
        """Create a session in the same state."""
        fork = self._open(session).fork(name)
        return {"id": fork.id, "name": fork.name, "language": fork.language}

    def session_revert(self, session: str, last: int) -> str:
        """Undo the last runs."""
        self._open(session).revert(last=last)
        return f"undid {last} runs"

    def session_delete(self, session: str) -> str:
        """Remove a session."""
        self._open(session).delete()
        return "deleted"

    def write_file(self, session: str, path: str, content: str, is_base64: bool) -> str:
        """Put a file in place."""
        data = base64.b64decode(content, validate=True) if is_base64 else content.encode()
        self._open(session).write_file(path, data)
        return f"wrote {len(data)} bytes to {path}"

    def read_file(self, session: str, path: str) -> bytes:
        """Return the content of a file."""
        return self._open(session).download(path)

    def list_files(self, session: str, path: str) -> list[dict[str, Any]]:
        """List what is in a directory and below."""
        found = self._open(session).list_files(path, recursive=True)
        return [
            {"path": each.path, "kind": each.kind, "size_bytes": each.size_bytes} for each in found
        ]

    def _open(self, name: str) -> Session:
        return Session.open(name, store=self._store)

    def close(self) -> None:
        """Put sessions to sleep."""
        sessions_of(self._store).close()


def make_server(tools: Tools) -> FastMCP:
    """Return a server with all tools.

    Raises:
        McpMissingError: the library is not installed.
    """
    try:
        from mcp.server.fastmcp import FastMCP  # noqa: PLC0415 - an extra
    except ImportError:
        raise McpMissingError from None
    server = FastMCP("cloche", instructions=INSTRUCTIONS)
    _add_runs(server, tools)
    _add_sessions(server, tools)
    _add_files(server, tools)
    return server


def _add_runs(server: FastMCP, tools: Tools) -> None:
    @server.tool()
    async def run_code(
        code: str,
        language: Language = "python",
        files: dict[str, str] | None = None,
        stdin: str = "",
        timeout_ms: int | None = None,
    ) -> dict[str, Any]:
        """Run a program in a fresh sandbox; return what it printed, its exit code, its error."""
        return await _called(lambda: tools.run_code(code, language, files or {}, stdin, timeout_ms))

    @server.tool()
    async def session_run(session: str, code: str, timeout_ms: int | None = None) -> dict[str, Any]:
        """Run a program in a session, by id or name."""
        return await _called(lambda: tools.session_run(session, code, timeout_ms))


def _add_sessions(server: FastMCP, tools: Tools) -> None:
    @server.tool()
    async def session_create(
        language: Language = "python", name: str | None = None
    ) -> dict[str, Any]:
        """Create a session: variables and files live on from run to run, and after a restart."""
        return await _called(lambda: tools.session_create(language, name))

    @server.tool()
    async def session_list() -> list[dict[str, Any]]:
        """List all sessions."""
        return await _called(tools.session_list)

    @server.tool()
    async def session_fork(session: str, name: str | None = None) -> dict[str, Any]:
        """Create a second session in the same state; the two go their own ways."""
        return await _called(lambda: tools.session_fork(session, name))

    @server.tool()
    async def session_revert(session: str, last: int = 1) -> str:
        """Undo the last runs of a session."""
        return await _called(lambda: tools.session_revert(session, last))

    @server.tool()
    async def session_delete(session: str) -> str:
        """Remove a session for ever."""
        return await _called(lambda: tools.session_delete(session))


def _add_files(server: FastMCP, tools: Tools) -> None:
    from mcp.server.fastmcp import Image  # noqa: PLC0415 - an extra

    @server.tool()
    async def write_file(session: str, path: str, content: str, is_base64: bool = False) -> str:
        """Put a file into a session: text, or bytes in base64."""
        return await _called(lambda: tools.write_file(session, path, content, is_base64))

    @server.tool(structured_output=False)
    async def read_file(session: str, path: str) -> Any:
        """Read a file of a session: text, an image as an image, other bytes in base64."""
        data = await _called(lambda: tools.read_file(session, path))
        kind = _IMAGES.get(PurePosixPath(path).suffix.lower())
        if kind is not None:
            return Image(data=data, format=kind)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return base64.b64encode(data).decode()

    @server.tool()
    async def list_files(session: str, path: str = ".") -> list[dict[str, Any]]:
        """List the files of a session, with all directories below the path."""
        return await _called(lambda: tools.list_files(session, path))


async def _called(work: Callable[[], T]) -> T:
    """Return what a function returns, called on a thread."""
    import anyio.to_thread  # noqa: PLC0415 - comes with the extra

    return await anyio.to_thread.run_sync(work)


def _limits(timeout_ms: int | None) -> Limits | None:
    return None if timeout_ms is None else Limits(time_ms=timeout_ms)


def _outcome(done: Execution) -> dict[str, Any]:
    result = asdict(done.result)
    compiled = result["compile"] or {"stdout": "", "stderr": ""}
    error = done.error
    return {
        "stdout": compiled["stdout"] + result["run"]["stdout"],
        "stderr": compiled["stderr"] + result["run"]["stderr"],
        "exit_code": done.exit_code,
        "error": None if error is None else {"code": error.code, "message": error.message},
        "time_ms": result["time_ms"],
    }
