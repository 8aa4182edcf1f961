"""Scripts: the list, and one with its lines, its calls, its questions, and what came of it.

What a script may call, and how it goes on, is the server's `Scripts`; who may decide is the section
of approvals. A tenant sees its own scripts alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.script.adapters.calls import QUIET
from cloche.script.adapters.desk import Desk
from cloche.script.adapters.shelf import Asked
from cloche.server.console.console import Route, section
from cloche.server.console.effects import BAR_COUNT_MAX, Effect, bars_of, effects_of
from cloche.server.console.pages import HOME, go, part
from cloche.server.console.script_lines import lines_of, with_calls
from cloche.server.guard import key_of
from cloche.server.pages import page_of
from cloche.server.routes_scripts import ScriptRoutes
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.script.approvals import Approval
    from cloche.server.console.console import Console
    from cloche.server.documents import ScriptDocument

_SHOWN: Final = 1_500  # characters
_APPROVALS_SHOWN: Final = 10
_NS_PER_MS: Final = 1_000_000
_BUSY: Final = frozenset({"queued", "running"})
_UNDOABLE: Final = frozenset({"completed", "failed", "rejected", "cancelled", "suspended"})
_ATTACHMENT: Final = (b"content-disposition", b"attachment")


class ScriptViews:
    """The pages below `/console/scripts`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context
        self._api = ScriptRoutes(console.context)
        self._desk = Desk(
            console.context.store,
            clock_ms=lambda: console.context.host.now_ns() // _NS_PER_MS,
            limits=console.context.limits,
        )

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "run",
            "/scripts",
            ("GET", "", self.show_all),
            ("GET", "/:id", self.show),
            ("GET", "/:id/effects/:sequence", self.show_effect),
            ("GET", "/:id/journal", self.journal),
            ("POST", "/:id/resume", self.resume),
            ("POST", "/:id/cancel", self.cancel),
            ("POST", "/:id/rollback", self.rollback),
        )

    async def show_all(self, request: Request) -> Response:
        """Show scripts, newest first."""
        tenant, wanted = key_of(request).tenant, self._console.wanted(request)
        found = await self._context.call(lambda: self._context.scripts.page(tenant, wanted))
        page = page_of(found, wanted, lambda script: script.id)
        return self._console.pages.page(request, "scripts", scripts=page.items, next=page.next)

    async def show(self, request: Request) -> Response:
        """Show a script: its lines, its calls, questions, output, value."""
        tenant, run_id = key_of(request).tenant, request.params["id"]

        def found() -> tuple[ScriptDocument, Asked | None, list[Effect], tuple[Approval, ...]]:
            script = self._context.scripts.get(tenant, run_id)
            return (
                script,
                self._asked(tenant, run_id),
                self._effects(run_id),
                self._questions(run_id),
            )

        script, asked, effects, questions = await self._context.call(found)
        calls = script.tool_calls
        shown = ([], 0) if asked is None else lines_of(asked.source, asked.language, calls)
        return self._console.pages.page(
            request,
            "script",
            script=script,
            asked=asked,
            lines=shown[0],
            line_count=shown[1],
            bars=bars_of(effects),
            effect_count=len(effects),
            bar_count_max=BAR_COUNT_MAX,
            questions=questions[-_APPROVALS_SHOWN:],
            question_count=len(questions),
            most=_SHOWN,
            **_buttons(script, questions),
        )

    def _asked(self, tenant: str, run_id: str) -> Asked | None:
        """Return what was to be run, None where nothing is kept of it."""
        row = self._context.store.runs.get(run_id)
        if row is not None:
            return msgspec.json.decode(row.request, type=Asked)
        body = self._context.scripts.kept(tenant, run_id).body
        if body is None:
            return None
        return Asked(
            script_id="script_1",
            language=body.language,
            source=body.source,
            sha256="",
            session_id=body.session,
        )

    def _effects(self, run_id: str) -> list[Effect]:
        found = effects_of(self._context.store, run_id, self._context.limits)
        return [effect for effect in found if effect.target not in QUIET]

    def _questions(self, run_id: str) -> tuple[Approval, ...]:
        return self._desk.of_run(run_id)

    async def show_effect(self, request: Request) -> Response:
        """Show a call: its arguments and what came back, without what the tool keeps secret."""
        tenant, run_id = key_of(request).tenant, request.params["id"]

        def found() -> list[Effect]:
            calls = self._context.scripts.get(tenant, run_id).tool_calls
            return with_calls(self._effects(run_id), calls)

        effects = await self._context.call(found)
        return self._console.pages.effect(
            request, effects, of=f"script {run_id[:12]}", back=f"{HOME}/scripts/{part(run_id)}"
        )

    async def journal(self, request: Request) -> Response:
        """Send the journal of a script, as a file."""
        answer = await self._api.script_journal(request)
        return answer.with_fields((_ATTACHMENT,))

    # --- changing ---

    async def resume(self, request: Request) -> Response:
        """Go on with a script; its page says when it has ended, or waits again."""
        tenant, run_id = key_of(request).tenant, request.params["id"]
        await self._context.call(lambda: self._context.scripts.resume(tenant, run_id))
        return go(request, f"{HOME}/scripts/{part(run_id)}", "The script goes on.")

    async def cancel(self, request: Request) -> Response:
        """Stop a script."""
        script = await self._api.cancel_script(request)
        return go(request, f"{HOME}/scripts/{part(script.id)}", "The script was asked to stop.")

    async def rollback(self, request: Request) -> Response:
        """Undo the calls of a script."""
        done = await self._api.rollback_script(request)
        is_whole = done.status == "rolled_back"
        says = "Its calls were undone." if is_whole else "Some of its calls could not be undone."
        return go(request, f"{HOME}/scripts/{part(done.id)}", says, failed=not is_whole)


def _buttons(script: ScriptDocument, questions: tuple[Approval, ...]) -> dict[str, Any]:
    """Return what can be done with a script now."""
    waits = sum(one.status == "pending" for one in questions)
    is_done = any(call["status"] == "completed" for call in script.tool_calls)
    return {
        "is_busy": script.status in _BUSY,
        "waits": waits,
        "may_resume": script.status == "suspended" and not waits,
        "may_cancel": script.status in _BUSY or script.status == "suspended",
        "may_roll_back": script.status in _UNDOABLE and is_done,
    }
