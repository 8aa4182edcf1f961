"""Runs: the list, a run with its output and its effects, starting, stopping, replaying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.server.console.console import Route, field, section
from cloche.server.console.effects import BAR_COUNT_MAX, bars_of, effects_of
from cloche.server.console.pages import HOME, go
from cloche.server.context import text
from cloche.server.documents import KeptRequest, RunBody, RunList
from cloche.server.errors import InvalidFieldError
from cloche.server.events import START
from cloche.server.guard import key_of
from cloche.server.pages import page_of
from cloche.server.runs import request_of
from cloche.store.rows import ENDED_STATUSES
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.server.console.console import Console
    from cloche.server.console.effects import Effect
    from cloche.server.live import LiveRun

_SHOWN: Final = 3_000  # characters of output and code on a page; the rest is a link away
LANGUAGES: Final = ("python", "javascript", "typescript")
_ATTACHMENT: Final = (b"content-disposition", b"attachment")


class RunViews:
    """The pages below `/console/runs`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "run",
            "/runs",
            ("GET", "", self.show_all),
            ("POST", "", self.start),
            ("GET", "/:id", self.show),
            ("GET", "/:id/events", self.events),
            ("GET", "/:id/output", self.output),
            ("GET", "/:id/journal", self.journal),
            ("GET", "/:id/effects/:sequence", self.show_effect),
            ("POST", "/:id/cancel", self.cancel),
            ("POST", "/:id/replay", self.replay),
        )

    async def show_all(self, request: Request) -> Response:
        """Show runs, newest first."""
        context, tenant = self._context, key_of(request).tenant
        session, wanted = text(request, "session"), self._console.wanted(request)

        def found() -> RunList:
            if session:
                row = context.sessions.row(tenant, session)
                rows = context.runs.of_session(tenant, row.id, wanted)
            else:
                rows = context.runs.page(tenant, wanted)
            page = page_of(rows, wanted, lambda row: row.id)
            return RunList(items=[context.runs.current(row) for row in page.items], next=page.next)

        runs = await context.call(found)
        return self._console.pages.page(
            request,
            "runs",
            runs=runs.items,
            next=runs.next,
            session=session,
            languages=LANGUAGES,
        )

    async def start(self, request: Request) -> Response:
        """Start a run of its own and show it."""
        form = await request.form()
        language, code = field(form, "language"), form.get("code") or ""
        if not code.strip():
            raise InvalidFieldError(field="code", problem="is empty")
        body = RunBody(code=lines_of(code), language=language)
        kept = KeptRequest(tenant=key_of(request).tenant, action="run", run=body)
        live = await self._context.call(lambda: self._context.runs.start(kept))
        return go(request, f"{HOME}/runs/{live.row.id}")

    async def _find(self, request: Request) -> LiveRun:
        tenant, run_id = key_of(request).tenant, request.params["id"]
        return await self._context.call(lambda: self._context.runs.find(tenant, run_id))

    async def show(self, request: Request) -> Response:
        """Show a run: how it ended, what it printed, what it asked of the world."""
        live = await self._find(request)
        run = live.document()
        effects = await self._effects(live)
        return self._console.pages.page(
            request,
            "run",
            run=run,
            code=code_of(live),
            bars=bars_of(effects),
            effect_count=len(effects),
            bar_count_max=BAR_COUNT_MAX,
            is_ended=run.status in ENDED_STATUSES,
            **output_of(live),
        )

    async def _effects(self, live: LiveRun) -> list[Effect]:
        context = self._context
        return await context.call(lambda: effects_of(context.store, live.row.id, context.limits))

    async def show_effect(self, request: Request) -> Response:
        """Show an effect: what was asked, and what came back."""
        live = await self._find(request)
        effects = await self._effects(live)
        return self._console.pages.effect(
            request, effects, of=f"run {live.row.id[:12]}", back=f"{HOME}/runs/{live.row.id}"
        )

    async def events(self, request: Request) -> Response:
        """Send what a run prints as it comes, as the API does."""
        return await self._console.runs.run_events(request)

    async def output(self, request: Request) -> Response:
        """Send all that a run has printed, as a file."""
        answer = await self._console.runs.run_output(request)
        return answer.with_fields((_ATTACHMENT,))

    async def journal(self, request: Request) -> Response:
        """Send the journal of a run, as a file."""
        answer = await self._console.runs.run_journal(request)
        return answer.with_fields((_ATTACHMENT,))

    async def cancel(self, request: Request) -> Response:
        """Stop a run."""
        run = await self._console.runs.cancel_run(request)
        return go(request, f"{HOME}/runs/{run.id}", "The run was asked to stop.")

    async def replay(self, request: Request) -> Response:
        """Execute a run again from its journal, and say whether it did the same."""
        done = await self._console.runs.replay_run(request)
        says = "Replayed from its journal: the same bytes."
        return go(request, f"{HOME}/runs/{done.run_id}", says)


def lines_of(code: str) -> str:
    """Return code with the ends of lines that it was typed with: forms send CR LF."""
    return code.replace("\r\n", "\n")


def code_of(live: LiveRun) -> str | None:
    """Return the program of a run, None where it was a file of its session."""
    kept = live.request if live.request.tenant else request_of(live.row)
    body = kept.run or kept.session_run
    return None if body is None or body.code is None else body.code


def output_of(live: LiveRun) -> dict[str, Any]:
    """Return what a page shows of the output of a run."""
    if not live.output.ended:
        return {"is_live": True, "stdout": "", "stderr": "", "most": _SHOWN}
    pieces, _ = live.output.read(START)
    texts = {
        stream: "".join(piece.text for piece in pieces if piece.stream == stream)
        for stream in ("stdout", "stderr")
    }
    return {"is_live": False, "most": _SHOWN, **texts}
