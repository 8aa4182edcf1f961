"""Routes of apps: deploy, look, go back; their logs and their recorded requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.apps.adapters.archives import read_archive
from cloche.apps.errors import AppUnknownError, RecordingUnknownError
from cloche.apps.kinds import LEVELS, Level
from cloche.apps.replaying import replay_request
from cloche.apps.routing import AppName
from cloche.server.app_documents import (
    ActionDocument,
    ActionList,
    AppDocument,
    AppList,
    DeployDocument,
    EnvBody,
    LogDocument,
    LogList,
    RequestDocument,
    RequestList,
    RequestReplayDocument,
    RollbackBody,
    VersionDocument,
    VersionList,
)
from cloche.server.context import query, text
from cloche.server.errors import InvalidFieldError
from cloche.server.guard import key_of, tenant_of, wants_events
from cloche.server.journals import journal_lines
from cloche.server.operations import Operation
from cloche.web.multipart import MultipartCaps
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, event, json, sse, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloche.apps.hostnames import Deployer
    from cloche.apps.logs import LogLine
    from cloche.apps.recordings import RecordedRequest
    from cloche.apps.registry import App, Version
    from cloche.apps.serving import AppServer
    from cloche.server.context import Context

_LINES: Final = "application/jsonl"
_BEAT: Final = b": still here\n\n"
_LOOK_S: Final = 1.0  # how often who listens is asked for their key
_SHARES: Final = range(1, 100)
_LIST_COUNT_MAX: Final = 1000
_LOG_QUERY: Final = (
    ("level", str, "The least grave: debug, info, warn or error."),
    ("request", str, "Of requests whose id begins so."),
    ("after_ms", int, "Written behind this time."),
    ("limit", int, "How many lines."),
)


class AppRoutes:
    """Handlers of `/v1/apps`.

    Args:
        context: of the server.
        server: serves the apps.
    """

    def __init__(self, context: Context, server: AppServer) -> None:
        self._context = context
        self._server = server
        self._apps = server.apps

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        one = "/v1/apps/:name"
        request = f"{one}/requests/:id"
        return [
            Operation(method="GET", template="/v1/apps", handler=self.list_apps, scope="app",
                      answer=AppList),
            Operation(method="GET", template=one, handler=self.get_app, scope="app",
                      answer=AppDocument),
            Operation(method="DELETE", template=one, handler=self.remove_app, scope="app",
                      status=204),
            Operation(method="POST", template=f"{one}/versions", handler=self.deploy_app,
                      scope="app", request_type="application/octet-stream", answer=DeployDocument,
                      status=201, query=(("canary", int, "Answer so many of 100 clients."),)),
            Operation(method="GET", template=f"{one}/versions", handler=self.list_versions,
                      scope="app", answer=VersionList),
            Operation(method="POST", template=f"{one}/rollback", handler=self.roll_back_app,
                      scope="app", body=RollbackBody, answer=AppDocument),
            Operation(method="POST", template=f"{one}/promote", handler=self.promote_canary,
                      scope="app", answer=AppDocument),
            Operation(method="POST", template=f"{one}/stop", handler=self.stop_app, scope="app",
                      answer=AppDocument),
            Operation(method="POST", template=f"{one}/start", handler=self.start_app,
                      scope="app", answer=AppDocument),
            Operation(method="POST", template=f"{one}/env", handler=self.set_env, scope="app",
                      body=EnvBody, answer=AppDocument),
            Operation(method="GET", template=f"{one}/actions", handler=self.list_actions,
                      scope="app", answer=ActionList),
            Operation(method="GET", template=f"{one}/logs", handler=self.app_logs, scope="app",
                      answer=LogList, streams=True, query=_LOG_QUERY),
            Operation(method="GET", template=f"{one}/requests", handler=self.list_requests,
                      scope="app", answer=RequestList,
                      query=(("limit", int, "How many."),)),
            Operation(method="GET", template=f"{request}/journal", handler=self.request_journal,
                      scope="app", media_type=_LINES),
            Operation(method="POST", template=f"{request}/replay", handler=self.replay_app_request,
                      scope="app", answer=RequestReplayDocument),
        ]  # fmt: skip

    # --- looking ---

    async def list_apps(self, request: Request) -> AppList:
        """List the apps of the tenant."""
        tenant, key = tenant_of(request), key_of(request)
        found = await self._context.call(lambda: self._apps.registry.apps(tenant))
        return AppList(
            items=[
                self._document(request, AppName(tenant=tenant, name=name), app)
                for name, app in found.items()
                if key.may_use(name)
            ]
        )

    async def get_app(self, request: Request) -> AppDocument:
        """Return an app: what answers, where, and how often it was asked."""
        name = _name(request)
        app = await self._context.call(lambda: self._apps.registry.app(name))
        return self._document(request, name, app)

    async def list_versions(self, request: Request) -> VersionList:
        """List the versions of an app, newest first."""
        name = _name(request)

        def found() -> VersionList:
            app = self._apps.registry.app(name)
            versions = self._apps.registry.versions(name)
            return VersionList(items=[_version(each, app) for each in versions])

        return await self._context.call(found)

    async def list_actions(self, request: Request) -> ActionList:
        """List what was done to an app, newest first."""
        name = _name(request)
        found = await self._context.call(lambda: self._apps.registry.actions(name))
        return ActionList(
            items=[msgspec.convert(msgspec.to_builtins(each), ActionDocument) for each in found]
        )

    # --- changing ---

    async def deploy_app(self, request: Request) -> Response:
        """Deploy an archive (ZIP, tar, tar with gzip): it is evaluated first, and answers then."""
        name, share = _name(request), query(request, "canary", int, None)
        if share is not None and share not in _SHARES:
            raise InvalidFieldError(field="canary", problem=f"is {share}; it is 1 to 99")
        data, env = await self._archive(request)
        who, deployer = key_of(request).shown, deployer_of(request)

        def work() -> DeployDocument:
            bundle = read_archive(data, self._context.limits)
            version, app = self._apps.deploy(
                name, bundle, who=who, env=env, canary_share=share, deployer=deployer
            )
            self._server.refresh()
            ready = self._apps.versions.get(name, version.id, app.env)
            return DeployDocument(
                app=self._document(request, name, app),
                version=_version(version, app),
                printed=ready.built.printed,
            )

        return json(await self._context.call(work), 201)

    async def _archive(self, request: Request) -> tuple[bytes, dict[str, str]]:
        """Return what is deployed, and the environment where it comes with it in a form."""
        most = self._context.limits.storage.max_upload
        if request.media_type != "multipart/form-data":
            return await request.read_all(most), {}
        caps = MultipartCaps(part_count_max=2, part_limit_bytes=most, total_limit_bytes=most)
        parts = {part.name: part.content for part in await request.multipart(caps)}
        if "archive" not in parts:
            raise InvalidFieldError(field="archive", problem="is no part of the form")
        try:
            env = msgspec.json.decode(parts.get("env", b"{}"), type=dict[str, str])
        except (msgspec.DecodeError, msgspec.ValidationError) as problem:
            raise InvalidFieldError(field="env", problem=str(problem)) from None
        return parts["archive"], env

    async def roll_back_app(self, request: Request) -> AppDocument:
        """Let the version before answer at once, or the one that is named."""
        body = await self._context.body(request, RollbackBody)
        name, who = _name(request), key_of(request).shown
        return await self._changed(request, lambda: self._apps.rollback(name, who=who, to=body.to))

    async def promote_canary(self, request: Request) -> AppDocument:
        """Let the canary answer everybody."""
        name, who = _name(request), key_of(request).shown
        return await self._changed(request, lambda: self._apps.promote(name, who=who))

    async def stop_app(self, request: Request) -> AppDocument:
        """Let an app answer nothing."""
        name, who = _name(request), key_of(request).shown
        return await self._changed(request, lambda: self._apps.registry.stop(name, who=who))

    async def start_app(self, request: Request) -> AppDocument:
        """Let a stopped app answer again."""
        name, who = _name(request), key_of(request).shown
        return await self._changed(
            request, lambda: self._apps.registry.stop(name, who=who, stopped=False)
        )

    async def set_env(self, request: Request) -> AppDocument:
        """Set and remove variables of an app; what is set cannot be read again here."""
        body = await self._context.body(request, EnvBody)
        name, who = _name(request), key_of(request).shown
        changes: dict[str, str | None] = {**dict.fromkeys(body.remove), **body.set}
        return await self._changed(request, lambda: self._apps.set_env(name, changes, who=who))

    async def _changed(self, request: Request, change: Any) -> AppDocument:
        def work() -> App:
            app: App = change()
            self._server.refresh()
            return app

        return self._document(request, _name(request), await self._context.call(work))

    async def remove_app(self, request: Request) -> Response:
        """Remove an app with everything that it has kept."""
        name = _name(request)

        def work() -> None:
            self._apps.remove(name)
            self._server.refresh()
            self._server.forget(name)

        await self._context.call(work)
        return Response(204)

    # --- logs ---

    async def app_logs(self, request: Request) -> Response:
        """Return the newest lines of an app's log; as they are written when events are accepted."""
        name = _name(request)
        await self._context.call(lambda: self._apps.registry.app(name))
        level = _level(request)
        wanted = text(request, "request")
        if wants_events(request):
            lines = self._tail(name, LEVELS.index(level), wanted, key_of(request).id)
            heartbeat = self._context.limits.server.heartbeat_ms
            return sse(request.services.heartbeat(lines, heartbeat, _BEAT))
        limit = _limit(request)
        after_ms = query(request, "after_ms", int, -1)
        found = await self._context.call(
            lambda: self._apps.logs.read(
                name, level=level, request=wanted, after_ms=after_ms, limit=limit
            )
        )
        return json(LogList(items=[_line(each) for each in found]))

    async def _tail(
        self, name: AppName, least: int, wanted: str, key_id: str
    ) -> AsyncIterator[bytes]:
        """Yield lines as they are written, until the key ends."""
        loop, count_max = asyncio.get_running_loop(), self._context.limits.apps.log_line_count_max
        lines: asyncio.Queue[LogLine] = asyncio.Queue(count_max)

        def put(line: LogLine) -> None:
            if not lines.full():  # who reads too slowly misses lines, and finds them in the log
                lines.put_nowait(line)

        def tell(line: LogLine) -> None:
            loop.call_soon_threadsafe(put, line)

        stop = self._apps.logs.listen(name, tell)
        looked_s = loop.time()
        try:
            while True:
                if loop.time() - looked_s >= _LOOK_S:
                    if await self._context.call(lambda: self._context.keyring.good(key_id)) is None:
                        return
                    looked_s = loop.time()
                try:
                    line = await asyncio.wait_for(lines.get(), _LOOK_S)
                except TimeoutError:
                    continue
                if LEVELS.index(line.level) >= least and line.request.startswith(wanted):
                    yield event(msgspec.json.encode(_line(line)).decode(), name="line")
        finally:
            stop()

    # --- recorded requests ---

    async def list_requests(self, request: Request) -> RequestList:
        """List recorded requests of an app, newest first."""
        name, limit = _name(request), _limit(request)

        def found() -> list[RecordedRequest]:
            self._apps.registry.app(name)
            return self._apps.recordings.page(name, limit=limit)

        return RequestList(items=[_recorded(each) for each in await self._context.call(found)])

    async def request_journal(self, request: Request) -> Response:
        """Return the journal of a recorded request as JSON Lines."""
        context, found = self._context, await self._recorded(request)
        lines = await context.call(
            lambda: [
                line.encode() for line in journal_lines(context.store, found.id, context.limits)
            ]
        )
        return stream(lines, _LINES, length=sum(map(len, lines)))

    async def replay_app_request(self, request: Request) -> RequestReplayDocument:
        """Run a recorded request again from its journal, to the same bytes."""
        found = await self._recorded(request)
        response = await self._context.call(lambda: replay_request(self._apps, found))
        return RequestReplayDocument(
            id=found.id,
            same=True,
            status=found.status if response is None else response.status,
            body_bytes=0 if response is None else len(response.body),
        )

    async def _recorded(self, request: Request) -> RecordedRequest:
        name, request_id = _name(request), request.params["id"]
        found = await self._context.call(lambda: self._apps.recordings.find(request_id))
        if found.app != str(name):
            raise RecordingUnknownError(id=request_id)
        return found

    # --- documents ---

    def _document(self, request: Request, name: AppName, app: App) -> AppDocument:
        numbers = self._server.numbers.get(name)
        count = 0 if numbers is None else numbers.requests
        port = request.host.rpartition(":")[2] if ":" in request.host else ""
        suffix = f":{port}" if port.isdecimal() else ""
        return AppDocument(
            name=name.name,
            live=app.live,
            canary=app.canary,
            share=app.share,
            hosts=list(app.hosts),
            prefixes=list(app.prefixes),
            env=sorted(app.env),
            stopped=app.stopped,
            created_ms=app.created_ms,
            changed_ms=app.changed_ms,
            url=f"{request.scheme}://{app.hosts[0]}{suffix}/",
            requests=count,
            failures=0 if numbers is None else numbers.failures,
            running=0 if numbers is None else numbers.running,
            mean_ms=None if numbers is None or not count else numbers.duration_ms / count,
        )


def deployer_of(request: Request) -> Deployer:
    """Return what the key of a request may claim for apps."""
    return "admin" if key_of(request).may("admin") else "deployer"


def _name(request: Request) -> AppName:
    """Return which app a request is about.

    Raises:
        AppUnknownError: its key is for others.
    """
    name = AppName(tenant=tenant_of(request), name=request.params["name"])
    if not key_of(request).may_use(name.name):
        raise AppUnknownError(name=name.name)
    return name


def _limit(request: Request) -> int:
    limit: int = query(request, "limit", int, 100)
    if not 1 <= limit <= _LIST_COUNT_MAX:
        raise InvalidFieldError(field="limit", problem=f"is {limit}; it is 1 to {_LIST_COUNT_MAX}")
    return limit


def _version(version: Version, app: App) -> VersionDocument:
    states = {app.canary: "canary", app.live: "live"}
    state: Any = states.get(version.id, "kept")
    return VersionDocument(
        id=version.id,
        number=version.number,
        created_ms=version.created_ms,
        who=version.who,
        file_count=len(version.files),
        size_bytes=version.size_bytes,
        state=state,
    )


def _line(line: LogLine) -> LogDocument:
    return msgspec.convert(msgspec.to_builtins(line), LogDocument)


def _recorded(found: RecordedRequest) -> RequestDocument:
    fields = msgspec.to_builtins(found)
    names = RequestDocument.__struct_fields__
    return msgspec.convert({name: fields[name] for name in names}, RequestDocument)


def _level(request: Request) -> Level:
    asked = text(request, "level", "debug")
    for level in LEVELS:
        if level == asked:
            return level
    raise InvalidFieldError(field="level", problem=f"is one of {', '.join(LEVELS)}")
