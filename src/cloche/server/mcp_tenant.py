"""The MCP tools of a server, for the tenant of a key: what `/mcp` speaks of.

Invariants: a tool needs the scope that the route of the same work needs; runs are executed by the
server's workers, within its queue and limits.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from cloche.errors import ClocheError
from cloche.server.documents import (
    FileBody,
    KeptRequest,
    LimitsBody,
    RunBody,
    ScriptBody,
    SessionBody,
    SessionRunBody,
)
from cloche.server.errors import ScopeError, unavailable
from cloche.server.events import START
from cloche.server.journals import journal_lines
from cloche.server.mcp_backend import Outcome
from cloche.server.mcp_pictures import Pictures
from cloche.server.pages import PageRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.script.approvals import Approval, Made
    from cloche.server.context import Context
    from cloche.server.documents import RunDocument
    from cloche.server.keys import Key, Scope
    from cloche.server.live import LiveRun
    from cloche.server.mcp_backend import Language, Listener, ScriptLanguage

T = TypeVar("T")
_LIST_COUNT_MAX: Final = 1000
_PAGE: Final = PageRequest(limit=_LIST_COUNT_MAX, after="")


class TenantBackend:
    """Answers for the tenant of a key; see `Backend`.

    Args:
        context: of the server.
        key: of who asks.
    """

    def __init__(self, context: Context, key: Key) -> None:
        self._context = context
        self._key = key
        self._tenant = key.tenant

    @property
    def may_approve(self) -> bool:
        """Whether the key may decide about calls of scripts."""
        return self._key.may("approve")

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
        self._check("run")
        body = RunBody(
            code=code,
            language=language,
            files=[FileBody(name=name, content=text) for name, text in files.items()],
            stdin=stdin,
            limits=_limits(timeout_ms),
            keep=False,
        )
        kept = KeptRequest(tenant=self._tenant, action="run", run=body)
        live = await self._call(lambda: self._context.runs.start(kept, has_pictures=True))
        document = await self._done(live, on_output)
        del document["run_id"]  # nothing of it is kept
        return Outcome(document=document, images=live.pictures or {})

    async def session_create(self, language: Language, name: str | None) -> dict[str, Any]:
        """Create a session."""
        self._check("session")
        body = SessionBody(language=language, name=name)
        made = await self._call(lambda: self._context.sessions.create(self._tenant, body))
        return {"id": made.id, "name": made.name, "language": made.language}

    async def session_list(self) -> list[dict[str, Any]]:
        """List sessions."""
        self._check("session")
        found = await self._call(lambda: self._context.sessions.page(self._tenant, _PAGE))
        return [
            {"id": each.id, "name": each.name, "language": each.language}
            for each in found[:_LIST_COUNT_MAX]
        ]

    async def session_run(
        self, session: str, code: str, *, timeout_ms: int | None, on_output: Listener
    ) -> Outcome:
        """Run a program in a session."""
        self._check("session")
        sessions = self._context.sessions
        row = await self._call(lambda: sessions.row(self._tenant, session))
        pictures = await self._call(lambda: Pictures(sessions.handle(self._tenant, row.id)))
        body = SessionRunBody(code=code, limits=_limits(timeout_ms))
        kept = KeptRequest(tenant=self._tenant, action="session_run", session_run=body)
        live = await self._call(lambda: self._context.runs.start(kept, session=row))
        document = await self._done(live, on_output)
        return Outcome(document=document, images=await self._call(pictures.new))

    async def session_fork(self, session: str, name: str | None) -> dict[str, Any]:
        """Create a session in the same state."""
        self._check("session")
        made = await self._call(lambda: self._context.sessions.fork(self._tenant, session, name))
        return {"id": made.id, "name": made.name, "language": made.language}

    async def session_revert(self, session: str, last: int) -> None:
        """Undo the last runs."""
        self._check("session")
        sessions = self._context.sessions
        await self._call(lambda: sessions.handle(self._tenant, session).revert(last=last))

    async def session_delete(self, session: str) -> None:
        """Remove a session."""
        self._check("session")
        await self._call(lambda: self._context.sessions.delete(self._tenant, session))

    async def write_file(self, session: str, path: str, content: bytes) -> None:
        """Put a file in place."""
        self._check("session")
        sessions = self._context.sessions
        await self._call(
            lambda: sessions.put_files(self._tenant, session, [(path, content)], read_only=False)
        )

    async def read_file(self, session: str, path: str) -> bytes:
        """Return the content of a file."""
        self._check("session")
        return await self._call(lambda: self._context.sessions.file(self._tenant, session, path))

    async def list_files(self, session: str, path: str) -> list[dict[str, Any]]:
        """List what is in a directory and below."""
        self._check("session")
        found = await self._call(
            lambda: self._context.sessions.files(self._tenant, session, path, recursive=True)
        )
        return [
            {"path": each.path, "kind": each.kind, "size_bytes": each.size_bytes} for each in found
        ]

    async def run_script(
        self, source: str, *, language: ScriptLanguage, tools: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Run a script until it ends or waits for a person."""
        self._check("run")
        scripts = self._context.scripts
        body = ScriptBody(source=source, language=language, tools=tools, params=params)
        job = await self._call(lambda: scripts.start(self._tenant, body))
        result = await scripts.wait(job)
        if not result.run_id:
            return {"tools": tools, **result.to_document()}
        return await self.script_status(result.run_id)

    async def script_status(self, run_id: str) -> dict[str, Any]:
        """Return what has become of a script; one that is going on is waited for."""
        self._check("run")
        job = self._context.scripts.busy(self._tenant, run_id)
        if job is not None:
            await self._context.scripts.wait(job)
        found = await self._call(lambda: self._context.scripts.get(self._tenant, run_id))
        document: dict[str, Any] = msgspec.to_builtins(found)
        return {**document, "run_id": found.id}

    async def approvals(self, run_id: str) -> Sequence[Approval]:
        """Return what a script waits for."""
        self._check("approve")
        found = await self._call(
            lambda: self._context.decisions.page(self._tenant, _PAGE, run_id=run_id)
        )
        return found[:_LIST_COUNT_MAX]

    async def decide(self, approval_id: str, made: Made) -> None:
        """Decide about a call; the server goes on with the script by itself."""
        self._check("approve")
        await self._call(lambda: self._context.decisions.decide(self._tenant, approval_id, made))

    async def journal(self, run_id: str) -> str:
        """Return the journal of a run or script as JSON Lines."""
        self._check("run")
        context = self._context

        def lines() -> str:
            if not context.scripts.is_own(self._tenant, run_id):
                context.runs.find(self._tenant, run_id)
            return "".join(journal_lines(context.store, run_id, context.limits))

        return await self._call(lines)

    def _check(self, scope: Scope) -> None:
        if not self._key.may(scope):
            raise ScopeError(needed=scope)

    async def _call(self, work: Callable[[], T]) -> T:
        """Return what a function returns; what went wrong tells nothing of the store's place."""
        try:
            return await self._context.call(work)
        except ClocheError as raised:
            retry_after_ms = self._context.limits.server.retry_after_ms
            away = unavailable(raised, retry_after_ms=retry_after_ms)
            if away is None:
                raise
            raise away from raised

    async def _done(self, live: LiveRun, on_output: Listener) -> dict[str, Any]:
        """Return what became of a run; who stops waiting stops it."""
        runs = self._context.runs
        listening = asyncio.ensure_future(self._listen(live, on_output))
        try:
            return _document(await runs.wait(live))
        except asyncio.CancelledError:
            live.cancel.cancel()
            raise
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    async def _listen(self, live: LiveRun, on_output: Listener) -> None:
        async for piece in self._context.runs.follow(live, START):
            on_output(piece.text)


def _limits(timeout_ms: int | None) -> LimitsBody | None:
    return None if timeout_ms is None else LimitsBody(time_ms=timeout_ms)


def _document(done: RunDocument) -> dict[str, Any]:
    compiled = done.compile
    error = done.error
    return {
        "run_id": done.id,
        "status": done.status,
        "stdout": (compiled.stdout if compiled else "") + done.stdout,
        "stderr": (compiled.stderr if compiled else "") + done.stderr,
        "exit_code": done.exit_code,
        "error": None if error is None else {"code": error.code, "message": error.message},
        "time_ms": done.time_ms,
    }
