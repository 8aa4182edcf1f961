"""Sessions: the list, and one with its files, its history, a prompt, and its way back.

A session that is busy answers nothing about its files, so the page of one whose run goes on shows
the run alone, and is loaded again when that has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.server.console.console import Route, field, number, section
from cloche.server.console.gate_keeper import upload_caps
from cloche.server.console.lineage import Kept, Member, tree_of
from cloche.server.console.pages import HOME, go, part
from cloche.server.console.shown import Room, size_text
from cloche.server.console.views_runs import lines_of, output_of
from cloche.server.context import text
from cloche.server.documents import KeptRequest, SessionBody, SessionRunBody
from cloche.server.errors import InvalidFieldError
from cloche.server.guard import key_of
from cloche.server.pages import PageRequest
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, data
from cloche.web.target import percent_encode

if TYPE_CHECKING:
    from cloche.server.console.console import Console
    from cloche.server.documents import SessionDocument
    from cloche.store.rows import Session as SessionRow

_LANGUAGES: Final = ("python", "javascript", "typescript")
_OUTPUT_SHOWN: Final = 2_000  # characters
_FILE_SHOWN: Final = 15_000
_FILE_COUNT_MAX: Final = 150
_FILES_ROOM_BYTES: Final = 20_000
_ROW_MARKUP: Final = " " * 160  # what a file costs beside its name and its link
_STEP_COUNT_MAX: Final = 40
_SESSION_COUNT_MAX: Final = 200  # that are looked at for forks
_FAMILY_COUNT_MAX: Final = 30
_KEPT_COUNT_MAX: Final = 5
_NS_PER_MS: Final = 1_000_000
_ROOT: Final = "/"
_ATTACHMENT: Final = (b"content-disposition", b"attachment")


class SessionViews:
    """The pages below `/console/sessions`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context
        self._sessions = console.context.sessions

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        files = Route(
            method="POST",
            path="/sessions/:id/upload",
            handler=self.upload,
            scope="session",
            takes_files=True,
        )
        return [
            files,
            *section(
                "session",
                "/sessions",
                ("GET", "", self.show_all),
                ("POST", "", self.create),
                ("GET", "/:id", self.show),
                ("GET", "/:id/file", self.show_file),
                ("POST", "/:id/run", self.run),
                ("GET", "/:session/runs/:id/events", self.events),
                ("GET", "/:session/runs/:id/output", self.output),
                ("POST", "/:id/fork", self.fork),
                ("POST", "/:id/snapshot", self.snapshot),
                ("POST", "/:id/restore", self.restore),
                ("POST", "/:id/revert", self.revert),
                ("POST", "/:id/delete", self.delete),
            ),
        ]

    async def show_all(self, request: Request) -> Response:
        """Show sessions in the order of their ids."""
        tenant, wanted = key_of(request).tenant, self._console.wanted(request)
        found = await self._context.call(lambda: self._sessions.page(tenant, wanted))
        is_cut = len(found) > wanted.limit
        shown = found[: wanted.limit]
        return self._console.pages.page(
            request,
            "sessions",
            sessions=shown,
            next=shown[-1].id if is_cut else None,
            languages=_LANGUAGES,
        )

    async def create(self, request: Request) -> Response:
        """Create a session and show it."""
        form, tenant = await request.form(), key_of(request).tenant
        body = SessionBody(language=field(form, "language"), name=field(form, "name") or None)
        made = await self._context.call(lambda: self._sessions.create(tenant, body))
        return self._go(made.id, request, "The session was created.")

    async def _get(self, request: Request) -> SessionDocument:
        tenant, name = key_of(request).tenant, request.params["id"]
        return await self._context.call(lambda: self._sessions.get(tenant, name))

    async def show(self, request: Request) -> Response:
        """Show a session: prompt, files, history."""
        tenant, session = key_of(request).tenant, await self._get(request)
        path, run_id = text(request, "path", session.cwd), text(request, "run")
        values: dict[str, Any] = {"run": None, "is_live": False, "files": [], "steps": []}
        values |= {"tree": None, "is_cut": False}
        if run_id:
            live = await self._context.call(lambda: self._context.runs.find(tenant, run_id))
            values |= {"run": live.document(), **output_of(live), "most": _OUTPUT_SHOWN}
        if not values["is_live"]:
            values["files"] = await self._context.call(
                lambda: self._sessions.files(tenant, session.id, path, recursive=False)
            )
            values["steps"] = await self._context.call(
                lambda: self._sessions.history(tenant, session.id)
            )
            values |= await self._context.call(lambda: self._family(tenant, session.id))
        return self._console.pages.page(
            request, "session", session=session, **_listed(values, path), path=path
        )

    def _family(self, tenant: str, session_id: str) -> dict[str, Any]:
        """Return the tree of the sessions that share a past with one, and whether some are left."""
        table, most = self._context.store.sessions, PageRequest(limit=_SESSION_COUNT_MAX)
        own, found = table.get(session_id), self._sessions.page(tenant, most)
        family = [self._sessions.get(tenant, session_id)]
        for each in found[:_SESSION_COUNT_MAX]:
            row = None if each.id == session_id else table.get(each.id)
            if own is not None and row is not None and _start(row) == _start(own):
                family.append(each)
        return {
            "tree": tree_of(
                self._member(each, _KEPT_COUNT_MAX if each.id == session_id else 1)
                for each in family[:_FAMILY_COUNT_MAX]
            ),
            "is_cut": len(found) > _SESSION_COUNT_MAX or len(family) > _FAMILY_COUNT_MAX,
        }

    def _member(self, session: SessionDocument, kept_count_max: int) -> Member:
        table = self._context.store.sessions
        return Member(
            id=session.id,
            name=session.name,
            created_ms=session.created_ms,
            steps=[(step.run_id, step.blob, step.document) for step in table.steps(session.id)],
            kept=[
                Kept(
                    ordinal=each.ordinal,
                    size_bytes=each.size_bytes,
                    created_ms=each.created_ns // _NS_PER_MS,
                )
                for each in table.snapshots(session.id)
            ][-kept_count_max:],
        )

    async def upload(self, request: Request) -> Response:
        """Put files that a person chose into a folder, under their own names."""
        session, tenant = await self._get(request), key_of(request).tenant
        parts = await request.multipart(upload_caps(self._context.limits))
        texts = {each.name: each.text() for each in parts if each.filename is None}
        folder = texts.get("path") or session.cwd
        # A browser says a name; what has folders in it was made by something else.
        files = [
            (f"{folder.rstrip('/')}/{_last(each.filename)}", each.content)
            for each in parts
            if each.filename
        ]
        if not files:
            raise InvalidFieldError(field="files", problem="no file was chosen")
        is_read_only = "read_only" in texts
        put = await self._context.call(
            lambda: self._sessions.put_files(tenant, session.id, files, read_only=is_read_only)
        )
        size = size_text(sum(each.size_bytes for each in put))
        says = f"{len(put)} file{'' if len(put) == 1 else 's'}, {size}, are in {folder}."
        place = f"{HOME}/sessions/{part(session.id)}?path={part(folder)}"
        return go(request, place, says)

    async def show_file(self, request: Request) -> Response:
        """Show a file as text, or send it as it is."""
        tenant, session = key_of(request).tenant, await self._get(request)
        path = text(request, "path")
        content = await self._context.call(lambda: self._sessions.file(tenant, session.id, path))
        if text(request, "whole"):
            return data(content).with_fields((_ATTACHMENT,))
        head = content[:_FILE_SHOWN]
        return self._console.pages.page(
            request,
            "file",
            session=session,
            path=path,
            folder=path.rpartition("/")[0] or _ROOT,
            size_bytes=len(content),
            text=head.decode("utf-8", "replace"),
            is_text=b"\0" not in head,
            is_cut=len(content) > _FILE_SHOWN,
        )

    async def run(self, request: Request) -> Response:
        """Run a program in the session; its page shows what it prints."""
        session, form = await self._get(request), await request.form()
        tenant, code = key_of(request).tenant, form.get("code") or ""
        if not code.strip():
            raise InvalidFieldError(field="code", problem="is empty")
        body = SessionRunBody(code=lines_of(code))
        kept = KeptRequest(tenant=tenant, action="session_run", session_run=body)
        live = await self._context.call(
            lambda: self._context.runs.start(kept, session=self._sessions.row(tenant, session.id))
        )
        return go(request, f"{HOME}/sessions/{part(session.id)}?run={live.row.id}")

    async def events(self, request: Request) -> Response:
        """Send what a run prints as it comes."""
        return await self._console.runs.run_events(request)

    async def output(self, request: Request) -> Response:
        """Send all that a run has printed, as a file."""
        answer = await self._console.runs.run_output(request)
        return answer.with_fields((_ATTACHMENT,))

    # --- time travel ---

    async def fork(self, request: Request) -> Response:
        """Create a session in the same state and show it."""
        session, form = await self._get(request), await request.form()
        tenant, name = key_of(request).tenant, field(form, "name") or None
        made = await self._context.call(lambda: self._sessions.fork(tenant, session.id, name))
        return self._go(
            made.id, request, "This is the fork: the same state, its own way from here."
        )

    async def snapshot(self, request: Request) -> Response:
        """Keep the state of now."""
        session, tenant = await self._get(request), key_of(request).tenant
        name = await self._context.call(
            lambda: self._sessions.handle(tenant, session.id).snapshot()
        )
        return self._go(session.id, request, f"The state is kept as {name}")

    async def restore(self, request: Request) -> Response:
        """Go back to a state that was kept."""
        session, form = await self._get(request), await request.form()
        tenant, name = key_of(request).tenant, field(form, "snapshot")
        await self._context.call(lambda: self._sessions.handle(tenant, session.id).restore(name))
        return self._go(session.id, request, "The session is in the state that was kept.")

    async def revert(self, request: Request) -> Response:
        """Go back to an operation."""
        session, form = await self._get(request), await request.form()
        tenant, ordinal = key_of(request).tenant, number(form, "to")
        await self._context.call(
            lambda: self._sessions.handle(tenant, session.id).revert(to=ordinal)
        )
        return self._go(session.id, request, f"The session is as it was after operation {ordinal}.")

    async def delete(self, request: Request) -> Response:
        """Remove a session for ever."""
        session, tenant = await self._get(request), key_of(request).tenant
        await self._context.call(lambda: self._sessions.delete(tenant, session.id))
        return go(request, f"{HOME}/sessions", "The session was removed.")

    def _go(self, session_id: str, request: Request, says: str) -> Response:
        return go(request, f"{HOME}/sessions/{part(session_id)}", says)


def _start(row: SessionRow) -> tuple[str, str, bytes]:
    """Return what two sessions have in common that began in the same state."""
    return row.language, row.image_id, row.settings


def _last(filename: str) -> str:
    return filename.replace("\\", "/").rpartition("/")[2]


def _listed(values: dict[str, Any], path: str) -> dict[str, Any]:
    """Return what a page has room for, the newest steps first."""
    files, steps = values["files"], values["steps"]
    room, shown = Room(_FILES_ROOM_BYTES), []
    for each in files[:_FILE_COUNT_MAX]:
        if not room.takes(_ROW_MARKUP, each.path.rpartition("/")[2], percent_encode(each.path)):
            break
        shown.append(each)
    return {
        **values,
        "files": shown,
        "file_count": len(files),
        "steps": steps[::-1][:_STEP_COUNT_MAX],
        "step_count": len(steps),
        "parent": None if path in ("", _ROOT) else path.rstrip("/").rpartition("/")[0] or _ROOT,
    }
