"""The MCP tools on a store of one's own: what `cloche mcp` speaks of on standard input and output.

Who started the process is who asks, and who decides about calls of scripts. Invariants: a run or
script ends when nobody waits for it any more; a script goes on with the set of tools that it began
with, or not at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cloche.exec.adapters.effects import CancelToken
from cloche.exec.api import execute, make_request
from cloche.exec.session import Session, sessions_of
from cloche.exec.types import File, Limits
from cloche.gate.policy import Policy
from cloche.script.harness import ScriptHarness
from cloche.server.errors import InvalidFieldError, UnknownObjectError
from cloche.server.journals import journal_lines
from cloche.server.mcp_backend import Outcome
from cloche.server.mcp_pictures import Pictures
from cloche.server.pictures import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.exec.adapters.runner import Execution
    from cloche.limits import Limits as AllLimits
    from cloche.script.approvals import Approval, Made
    from cloche.script.tools import ToolSet
    from cloche.server.mcp_backend import Language, Listener, ScriptLanguage
    from cloche.store.ports import Store

T = TypeVar("T")
_LIST_COUNT_MAX: Final = 1000
_STOP_TIMEOUT_S: Final = 10.0  # a program stops within a tick; a tool that it waits for may not


class LocalBackend:
    """Answers with a store; see `Backend`.

    Args:
        store: where sessions and scripts are kept; whoever opened it closes it.
        limits: in force.
        tools: tool sets of scripts by their names.
    """

    may_approve = True

    def __init__(
        self, store: Store, limits: AllLimits, tools: Mapping[str, ToolSet] | None = None
    ) -> None:
        self._store = store
        self._limits = limits
        self._harnesses = {
            name: ScriptHarness(each, limits=limits, store=store)
            for name, each in (tools or {}).items()
        }
        self._toolless = ScriptHarness(limits=limits, store=store)
        self._sets: dict[str, str] = {}  # of the scripts that wait, by their runs

    async def run_code(
        self,
        code: str,
        *,
        language: Language,
        files: Mapping[str, str],
        stdin: str,
        timeout_ms: int | None,
        on_output: Listener,
    ) -> Outcome:
        """Run a program once."""

        def work(cancel: CancelToken) -> Outcome:
            request = make_request(
                code,
                language=language,
                files=[File(name=name, content=text.encode()) for name, text in files.items()],
                stdin=stdin,
                limits=_limits(timeout_ms),
                policy=Policy(),
            )
            done = execute(
                request, on_output=lambda _stream, data: on_output(_text(data)), cancel=cancel
            )
            images = drawn(done.files, given=request.files, cwd=request.cwd)
            return Outcome(document=_document(done), images=images)

        return await _stoppable(work)

    async def session_create(self, language: Language, name: str | None) -> dict[str, Any]:
        """Create a session."""
        return await _called(
            lambda: _session(Session.create(language, name=name, store=self._store))
        )

    async def session_list(self) -> list[dict[str, Any]]:
        """List sessions."""
        found = await _called(lambda: self._store.sessions.list(limit=_LIST_COUNT_MAX))
        return [{"id": row.id, "name": row.name, "language": row.language} for row in found]

    async def session_run(
        self, session: str, code: str, *, timeout_ms: int | None, on_output: Listener
    ) -> Outcome:
        """Run a program in a session."""

        def work(cancel: CancelToken) -> Outcome:
            opened = self._open(session)
            pictures = Pictures(opened)
            done = opened.execute(
                code,
                limits=_limits(timeout_ms),
                on_output=lambda _stream, data: on_output(_text(data)),
                cancel=cancel,
            )
            document = {"run_id": done.run_id, **_document(done)}  # which names its journal
            return Outcome(document=document, images=pictures.new())

        return await _stoppable(work)

    async def session_fork(self, session: str, name: str | None) -> dict[str, Any]:
        """Create a session in the same state."""
        return await _called(lambda: _session(self._open(session).fork(name)))

    async def session_revert(self, session: str, last: int) -> None:
        """Undo the last runs."""
        await _called(lambda: self._open(session).revert(last=last))

    async def session_delete(self, session: str) -> None:
        """Remove a session."""
        await _called(lambda: self._open(session).delete())

    async def write_file(self, session: str, path: str, content: bytes) -> None:
        """Put a file in place."""
        await _called(lambda: self._open(session).write_file(path, content))

    async def read_file(self, session: str, path: str) -> bytes:
        """Return the content of a file."""
        return await _called(lambda: self._open(session).download(path))

    async def list_files(self, session: str, path: str) -> list[dict[str, Any]]:
        """List what is in a directory and below."""
        found = await _called(lambda: self._open(session).list_files(path, recursive=True))
        return [
            {"path": each.path, "kind": each.kind, "size_bytes": each.size_bytes} for each in found
        ]

    async def run_script(
        self, source: str, *, language: ScriptLanguage, tools: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Run a script with one of the tool sets."""
        harness = self._harnesses.get(tools)
        if harness is None:
            known = ", ".join(sorted(self._harnesses)) or "none; start `cloche mcp --tools …`"
            raise InvalidFieldError(
                field="tools", problem=f"there is no set {tools!r}; there are: {known}"
            )
        result = await _stoppable(
            lambda cancel: harness.run(source, language=language, params=params, cancel=cancel)
        )
        if result.status == "suspended":
            self._sets[result.run_id] = tools
        return {"tools": tools, **result.to_document()}

    async def script_status(self, run_id: str) -> dict[str, Any]:
        """Return what has become of a script, gone on with where a decision lets it."""
        result = await _called(lambda: self._toolless.result(run_id))
        if result.status == "suspended":
            harness = self._harness(run_id, {call.tool for call in result.tool_calls})
            if harness is not None:
                result = await _stoppable(lambda cancel: harness.resume(run_id, cancel=cancel))
        if result.status != "suspended":
            self._sets.pop(run_id, None)
        return result.to_document()

    async def approvals(self, run_id: str) -> Sequence[Approval]:
        """Return what a script waits for."""
        waiting = await _called(lambda: self._toolless.pending)
        return [each for each in waiting if each.run_id == run_id]

    async def decide(self, approval_id: str, made: Made) -> None:
        """Decide about a call."""

        def work() -> None:
            found = [each for each in self._toolless.pending if each.id == approval_id]
            # Only who has the tool can check other arguments.
            harness = self._harness(found[0].run_id, {found[0].tool}) if found else None
            (harness or self._toolless).decide(approval_id, made)

        await _called(work)

    async def journal(self, run_id: str) -> str:
        """Return the journal of a run or script as JSON Lines."""

        def lines() -> str:
            found = "".join(journal_lines(self._store, run_id, self._limits))
            if not found:
                raise UnknownObjectError(kind="journal of run", id=run_id)
            return found

        return await _called(lines)

    def _harness(self, run_id: str, names: set[str]) -> ScriptHarness | None:
        """Return that with the tools of a script; None where there is none, or more than one."""
        if run_id in self._sets:
            return self._harnesses[self._sets[run_id]]
        able = [each for each in self._harnesses.values() if names <= each.tools.keys()]
        return able[0] if len(able) == 1 else None

    def _open(self, name: str) -> Session:
        return Session.open(name, store=self._store)

    def close(self) -> None:
        """Put sessions to sleep."""
        sessions_of(self._store).close()


async def _called(work: Callable[[], T]) -> T:
    """Return what a function returns, called on a thread."""
    import anyio.to_thread  # noqa: PLC0415 - comes with the extra

    return await anyio.to_thread.run_sync(work)


async def _stoppable(work: Callable[[CancelToken], T]) -> T:
    """Return what a function returns, called on a thread; it is stopped when nobody waits."""
    import anyio.to_thread  # noqa: PLC0415 - comes with the extra

    cancel = CancelToken()
    running = asyncio.ensure_future(anyio.to_thread.run_sync(work, cancel))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cancel.cancel()
        running.add_done_callback(lambda done: done.cancelled() or done.exception())  # for nobody
        # Else the next run would find its session busy.
        with anyio.CancelScope(shield=True):
            await asyncio.wait([running], timeout=_STOP_TIMEOUT_S)
        raise


def _limits(timeout_ms: int | None) -> Limits | None:
    return None if timeout_ms is None else Limits(time_ms=timeout_ms)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _session(session: Session) -> dict[str, Any]:
    return {"id": session.id, "name": session.name, "language": session.language}


def _document(done: Execution) -> dict[str, Any]:
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
