"""Routes of sessions: made, listed, their files, time travel, archives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from cloche.server.adapters.file_archives import MEDIA_TYPES, pack, unpack
from cloche.server.context import query, text
from cloche.server.documents import (
    CwdDocument,
    FileList,
    HistoryDocument,
    NameBody,
    RevertBody,
    SessionBody,
    SessionDocument,
    SessionList,
    SnapshotDocument,
)
from cloche.server.errors import InvalidFieldError
from cloche.server.guard import tenant_of
from cloche.server.operations import Operation
from cloche.server.pages import PAGE_QUERY, page_of
from cloche.web.multipart import MultipartCaps
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, data, empty, json

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.exec.session import Session
    from cloche.server.context import Context
    from cloche.server.keys import Scope
    from cloche.server.operations import Handler

T = TypeVar("T")
_BYTES: Final = "application/octet-stream"
_ZIP: Final = "application/zip"
_READ_ONLY: Final = ("read_only", bool, "Whether programs may not change it.")
_FILE_COUNT_MAX: Final = 1000


class SessionRoutes:
    """Handlers of `/v1/sessions`, but for the runs in them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sessions = context.sessions

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        scope: Scope = "session"

        def route(method: str, path: str, handler: Handler, **options: Any) -> Operation:
            template = f"/v1/sessions{path}"
            return Operation(
                method=method, template=template, handler=handler, scope=scope, **options
            )

        where = ("path", str, "The directory; the working directory where it is not given.")
        below = ("path", str, "The directory that they come to; else as their names say.")
        deep = ("recursive", bool, "Whether what is in its directories is listed too.")
        return [
            route("POST", "", self.create_session, body=SessionBody, answer=SessionDocument,
                  status=201),
            route("GET", "", self.list_sessions, answer=SessionList, query=PAGE_QUERY),
            route("POST", "/import", self.import_session, answer=SessionDocument, status=201,
                  request_type=_BYTES, query=(("name", str, "What it is called."),)),
            route("GET", "/:id", self.get_session, answer=SessionDocument),
            route("DELETE", "/:id", self.delete_session, status=204),
            route("GET", "/:id/files", self.list_files, answer=FileList,
                  query=(where, deep, *PAGE_QUERY)),
            route("POST", "/:id/files", self.upload_files, answer=FileList,
                  request_type="multipart/form-data", query=(below, _READ_ONLY)),
            route("GET", "/:id/archive", self.download_files, media_type=_ZIP, query=(where,)),
            route("GET", "/:id/files/*path", self.download_file, media_type=_BYTES),
            route("PUT", "/:id/files/*path", self.upload_file, status=204, request_type=_BYTES,
                  query=(_READ_ONLY,)),
            route("DELETE", "/:id/files/*path", self.remove_file, status=204),
            route("GET", "/:id/cwd", self.get_cwd, answer=CwdDocument),
            route("PUT", "/:id/cwd", self.set_cwd, body=CwdDocument, answer=CwdDocument),
            route("GET", "/:id/history", self.get_history, answer=HistoryDocument,
                  query=PAGE_QUERY),
            route("POST", "/:id/fork", self.fork_session, body=NameBody, answer=SessionDocument,
                  status=201),
            route("POST", "/:id/snapshot", self.take_snapshot, answer=SnapshotDocument,
                  status=201),
            route("POST", "/:id/restore", self.restore_snapshot, body=SnapshotDocument,
                  answer=SessionDocument),
            route("POST", "/:id/revert", self.revert_session, body=RevertBody,
                  answer=SessionDocument),
            route("GET", "/:id/export", self.export_session, media_type=_BYTES),
        ]  # fmt: skip

    async def _do(self, request: Request, work: Callable[[Session], T]) -> T:
        """Do something with the session of a path, on a thread."""
        tenant, name = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: work(self._sessions.handle(tenant, name)))

    async def _changed(
        self, request: Request, work: Callable[[Session], object]
    ) -> SessionDocument:
        tenant, name = tenant_of(request), request.params["id"]

        def change() -> SessionDocument:
            work(self._sessions.handle(tenant, name))
            return self._sessions.get(tenant, name)

        return await self._context.call(change)

    # --- the sessions themselves ---

    async def create_session(self, request: Request) -> Response:
        """Create a session: a machine whose heap and files live on between runs."""
        tenant, body = tenant_of(request), await self._context.body(request, SessionBody)
        made = await self._context.call(lambda: self._sessions.create(tenant, body))
        return _created(made)

    async def list_sessions(self, request: Request) -> SessionList:
        """List sessions in the order of their ids."""
        tenant, wanted = tenant_of(request), self._context.page(request)
        found = await self._context.call(lambda: self._sessions.page(tenant, wanted))
        page = page_of(found, wanted, lambda session: session.id)
        return SessionList(items=list(page.items), next=page.next)

    async def get_session(self, request: Request) -> SessionDocument:
        """Return a session, by id or by name."""
        tenant, name = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._sessions.get(tenant, name))

    async def delete_session(self, request: Request) -> Response:
        """Remove a session for ever, with its files and journals."""
        tenant, name = tenant_of(request), request.params["id"]
        await self._context.call(lambda: self._sessions.delete(tenant, name))
        return empty()

    # --- files ---

    async def list_files(self, request: Request) -> FileList:
        """List what is in a directory: uploads, and what programs made."""
        tenant, name = tenant_of(request), request.params["id"]
        path = text(request, "path", ".")
        recursive = query(request, "recursive", bool, default=False)
        found = await self._context.call(
            lambda: self._sessions.files(tenant, name, path, recursive=recursive)
        )
        page = self._context.cut(request, found, lambda file: file.path, kind="file")
        return FileList(items=list(page.items), next=page.next)

    async def upload_files(self, request: Request) -> FileList:
        """Upload the files of a form, the name of each is its path; or of a ZIP, tar, tar.gz."""
        tenant, name, limits = tenant_of(request), request.params["id"], self._context.limits
        most = limits.storage.max_upload
        where = text(request, "path")
        read_only = query(request, "read_only", bool, default=False)
        files: list[tuple[str, bytes]] = []
        archive = b""
        if request.media_type in MEDIA_TYPES:
            archive = await request.read_all(most)
        else:
            parts = await request.multipart(
                MultipartCaps(
                    part_count_max=_FILE_COUNT_MAX, part_limit_bytes=most, total_limit_bytes=most
                )
            )
            files = [(part.filename, part.content) for part in parts if part.filename]
            if not files:
                raise InvalidFieldError(field="body", problem="has no part with a filename")

        def upload() -> FileList:
            self._sessions.row(tenant, name)
            found = [
                (f"{where.rstrip('/')}/{path.lstrip('/')}" if where else path, content)
                for path, content in files or unpack(archive, limits)
            ]
            return FileList(
                items=self._sessions.put_files(tenant, name, found, read_only=read_only)
            )

        return await self._context.call(upload)

    async def download_files(self, request: Request) -> Response:
        """Return a directory with all below it as a ZIP; links are left out."""
        tenant, name = tenant_of(request), request.params["id"]
        path = text(request, "path", ".")
        content = await self._context.call(lambda: pack(self._sessions.tree(tenant, name, path)))
        return data(content, content_type=_ZIP).with_field(b"content-disposition", b"attachment")

    async def upload_file(self, request: Request) -> Response:
        """Put the bytes of the body in place as a file; folders are made."""
        tenant, name, path = tenant_of(request), request.params["id"], _path(request)
        content = await request.read_all(self._context.limits.storage.max_upload)
        read_only = query(request, "read_only", bool, default=False)
        await self._context.call(
            lambda: self._sessions.put_files(tenant, name, [(path, content)], read_only=read_only)
        )
        return empty()

    async def download_file(self, request: Request) -> Response:
        """Return the bytes of a file."""
        tenant, name, path = tenant_of(request), request.params["id"], _path(request)
        content = await self._context.call(lambda: self._sessions.file(tenant, name, path))
        # A browser must not take what a program wrote for a page of this server.
        return data(content).with_fields(
            ((b"content-disposition", b"attachment"), (b"x-content-type-options", b"nosniff"))
        )

    async def remove_file(self, request: Request) -> Response:
        """Remove a file or an empty directory."""
        tenant, name, path = tenant_of(request), request.params["id"], _path(request)
        await self._context.call(lambda: self._sessions.remove_file(tenant, name, path))
        return empty()

    async def get_cwd(self, request: Request) -> CwdDocument:
        """Return the working directory."""
        return CwdDocument(path=await self._do(request, lambda session: session.working_dir))

    async def set_cwd(self, request: Request) -> CwdDocument:
        """Change where runs start and what relative paths mean."""
        body = await self._context.body(request, CwdDocument)

        def change(session: Session) -> str:
            session.set_working_dir(body.path)
            return session.working_dir

        return CwdDocument(path=await self._do(request, change))

    # --- time travel ---

    async def get_history(self, request: Request) -> HistoryDocument:
        """Return every operation of a session so far, in order."""
        tenant, name = tenant_of(request), request.params["id"]
        found = await self._context.call(lambda: self._sessions.history(tenant, name))
        page = self._context.cut(request, found, lambda step: str(step.ordinal), kind="operation")
        return HistoryDocument(items=list(page.items), next=page.next)

    async def fork_session(self, request: Request) -> Response:
        """Create a session in the same state; the two go their own ways."""
        tenant, name = tenant_of(request), request.params["id"]
        body = await self._context.body(request, NameBody)
        made = await self._context.call(lambda: self._sessions.fork(tenant, name, body.name))
        return _created(made)

    async def take_snapshot(self, request: Request) -> Response:
        """Keep the state of now; the answer names it."""
        snapshot = await self._do(request, lambda session: session.snapshot())
        return json(SnapshotDocument(snapshot=snapshot), 201)

    async def restore_snapshot(self, request: Request) -> SessionDocument:
        """Go back to a state that was kept; what came later is forgotten."""
        body = await self._context.body(request, SnapshotDocument)
        return await self._changed(request, lambda session: session.restore(body.snapshot))

    async def revert_session(self, request: Request) -> SessionDocument:
        """Undo the last runs, or go back to an operation."""
        body = await self._context.body(request, RevertBody)
        if (body.last is None) == (body.to is None):
            raise InvalidFieldError(field="last", problem="give either last or to")
        return await self._changed(
            request, lambda session: session.revert(last=body.last, to=body.to)
        )

    # --- elsewhere ---

    async def export_session(self, request: Request) -> Response:
        """Return a whole session as one signed archive."""
        return data(await self._do(request, lambda session: session.export()))

    async def import_session(self, request: Request) -> Response:
        """Create a session from an archive that this server exported."""
        tenant, name = tenant_of(request), text(request, "name") or None
        archive = await request.read_all(self._context.limits.storage.max_upload)
        made = await self._context.call(lambda: self._sessions.import_(tenant, archive, name))
        return _created(made)


def _created(session: SessionDocument) -> Response:
    location = f"/v1/sessions/{session.id}"
    return json(session, 201).with_field(b"location", location.encode())


def _path(request: Request) -> str:
    return "/" + request.params["path"]
