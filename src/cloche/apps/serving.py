"""Requests for apps: found, given to the version that answers, and told of.

Owns the apps of one process that serves: which there are, their versions, threads, and what their
requests did. Invariants:
- what cannot be given to an app is answered here, with the stable document of errors; why it failed
  is in its log alone;
- a version is ready before it answers, so that a deployment and a rollback fail no request;
- an app below a path of the server's own host is a stranger there: its pages have an origin of
  their own, and neither see nor set the server's cookies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.adapters.crew import Crew
from cloche.apps.adapters.door import Doors
from cloche.apps.adapters.replies import BrokenResponseError, LargeBody, Reply
from cloche.apps.adapters.sockets import Talk
from cloche.apps.errors import (
    AppError,
    AppRequestError,
    AppRequestTooLargeError,
    AppStoppedError,
    SocketFailedError,
    TooManySocketsError,
)
from cloche.apps.logs import RequestLog
from cloche.apps.messages import AppRequest
from cloche.apps.recordings import KeptRecords, RecordedRequest
from cloche.apps.registry import State, app_name_of
from cloche.apps.seclusion import at_home, heard_lines, heard_target, secluded
from cloche.apps.site import file_of
from cloche.engine.adapters.stack import start_with_room
from cloche.errors import ClocheError
from cloche.exec.adapters.effects import CancelToken
from cloche.exec.errors import WorkerLostError
from cloche.web.errors import ContentTooLargeError, ForbiddenError, HttpError, NotFoundError
from cloche.web.response import Response, Upgrade, error, json
from cloche.web.websocket.handshake import accept_handshake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.adapters.builder import BuiltApp
    from cloche.apps.adapters.door import Door
    from cloche.apps.adapters.exchange import AppExecution
    from cloche.apps.logs import Life
    from cloche.apps.manifest import Recording
    from cloche.apps.open import Apps
    from cloche.apps.registry import App
    from cloche.apps.routing import AppName, Found, Routes
    from cloche.apps.versions import Ready
    from cloche.web.request import Request

NS_PER_MS: Final = 1_000_000
REQUEST_ID_BYTES: Final = 16
SWITCHING: Final = 101
_EXCUSES: Final = ("cancelled", "stopping", "lost")  # see `JobControl`
_FAREWELL_S: Final = 0.25  # for an app to end by itself when its client has left
_SAMPLE_STEPS: Final = 1 << 32


@dataclass(slots=True, kw_only=True)
class Numbers:
    """What the requests of an app were, since the process began."""

    requests: int = 0
    failures: int = 0
    running: int = 0
    duration_ms: float = 0.0


class AppServer:
    """Serves the apps of a store.

    Args:
        apps: of the store.
        random_bytes: that nobody can guess.
        report: gets a record of what went wrong beside the apps.
    """

    def __init__(
        self,
        apps: Apps,
        *,
        random_bytes: Callable[[int], bytes],
        report: Callable[[dict[str, object]], None],
    ) -> None:
        self.apps = apps
        self.numbers: dict[AppName, Numbers] = {}
        self._limits = apps.limits
        self._random_bytes = random_bytes
        self._report = report
        self._revision = -1
        self._state = State()
        self._routes: Routes = self._state.routes()
        self._doors = Doors(apps.limits)
        self._pool = Crew(
            apps.limits.apps.thread_count_max,
            "cloche-app",
            start_with_room,
            at_once=_processor_count() + 1,
        )
        self._talks = Crew(apps.limits.apps.socket_count_max, "cloche-talk", start_with_room)
        self._talking = 0
        self._begun_count = 0  # requests that no thread waits for
        self._refreshing = threading.Lock()

    # --- which apps there are ---

    def refresh(self) -> None:
        """See what was deployed meanwhile, by whomever; blocks until that is ready to answer."""
        with self._refreshing:
            revision, state = self.apps.registry.state()
            if revision == self._revision:
                return
            for text, app in state.apps.items():
                if text in self._state.apps and self._state.apps[text] != app:
                    self._prepare(text, app)
            before, self._state = self._state, state
            self._routes, self._revision = state.routes(), revision
            for text, app in before.apps.items():
                self._take_leave(app_name_of(text), app, state.apps.get(text))

    def _take_leave(self, name: AppName, before: App, now: App | None) -> None:
        """Let what still runs of an app that somebody has removed say nothing to the next one."""
        if now is None:
            self.forget(name)
        elif now.created_ms != before.created_ms:
            self.apps.logs.end(name)

    def _prepare(self, text: str, app: App) -> None:
        """Make the versions ready that are about to answer for an app that answers now."""
        for version in filter(None, (app.live, app.canary)):
            try:
                self.apps.versions.get(app_name_of(text), version, app.env)
            except ClocheError as problem:
                self._report({"event": "app", "app": text, "message": problem.message})

    def find(self, request: Request) -> Found | None:
        """Return which app a request asks, None when it asks none."""
        # By a name of its own the server alone is asked, whatever an app once got.
        host = "" if self.apps.names.is_own(request.host) else request.host
        return self._routes.find(host, request.path)

    def has_host(self, name: str) -> bool:
        """Whether a host name leads to an app."""
        found = None if self.apps.names.is_own(name) else self._routes.find(name, "/")
        return found is not None

    # --- requests ---

    async def answer(self, request: Request, found: Found) -> Response:
        """Return the answer to a request for an app."""
        app = self._state.apps.get(str(found.app))
        try:
            if app is None:
                raise NotFoundError(path=request.path)
            if app.stopped:
                raise AppStoppedError
            response = await self._answer(request, found, app)
        except HttpError as problem:
            response = error(problem)
        except BrokenResponseError:
            response = _failed("APP_FAILED")
        except ClocheError as problem:
            response = self._refused(found, problem)
        is_page = response.status != SWITCHING
        if not is_page:
            return response
        if found.prefix:
            return secluded(response, found.prefix)
        return response if app is None else at_home(response, app.hosts)

    async def _answer(self, request: Request, found: Found, app: App) -> Response:
        ready = await self._ready(found.app, app.traffic.version_for(request.client), app)
        if "websocket" in (request.header("upgrade") or "").lower():
            return await self._talked(request, found, ready)
        rest = request.path[len(found.prefix) :] or "/"
        if request.method in ("GET", "HEAD"):
            shown = await file_of(ready, request, rest)
            if shown is not None:
                return shown
        if "fetch" in ready.built.handlers:
            return await self._handled(request, found, ready)
        fallback = ready.manifest.static_fallback
        if fallback and request.method in ("GET", "HEAD"):
            shown = await file_of(ready, request, f"/{fallback}")
            if shown is not None:
                return shown
        raise NotFoundError(path=rest)

    async def _ready(self, name: AppName, version: str, app: App) -> Ready:
        ready = self.apps.versions.find(name, version, app.env)
        if ready is not None:
            return ready
        return await self._pool.run(lambda: self.apps.versions.get(name, version, app.env))

    # --- handlers ---

    async def _handled(self, request: Request, found: Found, ready: Ready) -> Response:
        door = self._doors.of(found.app)
        asked = await self._asked(request, found)
        await door.enter()
        cancel, loop = CancelToken(), asyncio.get_running_loop()
        try:
            reply = Reply(
                limit_bytes=self._limits.apps.response_buffer_limit_bytes,
                stall_ms=ready.built.limits.guests.timeout_ms,
                on_gone=lambda: loop.call_later(_FAREWELL_S, cancel.cancel),
            )
            work = _Work(self, found.app, ready.built)
            if not self._begin(work, asked, reply, cancel, door):
                self._pool.give(lambda: self._run(work, asked, reply, cancel, door))
        except BaseException:
            door.leave()
            raise
        return await reply.response()

    async def _talked(self, request: Request, found: Found, ready: Ready) -> Response:
        """Let an app take a WebSocket, on a thread of its own as long as that is open."""
        if "websocket" not in ready.built.handlers:
            raise NotFoundError(path=request.path)
        accept_handshake(request)  # refused before the app sees it
        asked = await self._asked(request, found)
        most = self._limits.apps.socket_count_max
        if self._talking >= most:
            raise TooManySocketsError(limit_value=most)
        cancel = CancelToken()
        talk = Talk(cancel.cancel)
        self._talking += 1
        loop = asyncio.get_running_loop()
        self._talks.give(lambda: self._talk(found.app, ready.built, asked, talk, cancel, loop))
        protocol = await talk.protocol()
        handshake = accept_handshake(request, subprotocols=() if protocol is None else (protocol,))
        return Response(101, handshake.fields, Upgrade(talk.run, handshake.subprotocol))

    def _talk_ended(self) -> None:
        self._talking -= 1

    def _talk(
        self,
        app: AppName,
        built: BuiltApp,
        asked: AppRequest,
        talk: Talk,
        cancel: CancelToken,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Run an app for a WebSocket, on a thread of its own."""
        work = _Work(self, app, built)
        refused: ClocheError = ForbiddenError(problem="the app did not accept this WebSocket")
        execution = None
        try:
            execution = self.apps.host.handle_socket(
                built,
                asked,
                talk,
                handlers=self.apps.storage.handlers(app.name, tenant=app.tenant),
                cancel=cancel,
                **work.options,
            )
            if execution.failure is not None and execution.status != SWITCHING:
                refused = SocketFailedError()
        except ClocheError as failure:
            refused = failure
        finally:
            talk.end(refused)
            work.ended(execution, method=asked.method, target=asked.target, kind="websocket")
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._talk_ended)

    async def _asked(self, request: Request, found: Found) -> AppRequest:
        """Return a request as the app sees it: below its prefix, without the server's cookies."""
        apps = self._limits.apps
        if int(request.header("content-length") or 0) > apps.request_limit_bytes:
            raise AppRequestTooLargeError(limit_bytes=apps.request_limit_bytes)
        reader = request.body_reader()
        body, piece = bytearray(), b"-"
        try:
            while piece and len(body) <= apps.request_inline_limit_bytes:
                piece = await reader.read()
                body += piece
        except ContentTooLargeError:
            raise AppRequestTooLargeError(limit_bytes=apps.request_limit_bytes) from None
        if len(body) > apps.request_limit_bytes:
            raise AppRequestTooLargeError(limit_bytes=apps.request_limit_bytes)
        large = None
        if piece:
            large = LargeBody(
                reader,
                bytes(body),
                limit_bytes=apps.request_limit_bytes,
                stall_ms=apps.request_stall_ms,
            )
        return AppRequest(
            method=request.method,
            target=heard_target(request, found.prefix),
            lines=heard_lines(request, found.prefix),
            body=bytes(body) if large is None else large,
            scheme=request.scheme,
            host=request.host,
            client=request.client,
        )

    def _begin(
        self, work: _Work, asked: AppRequest, reply: Reply, cancel: CancelToken, door: Door
    ) -> bool:
        """Let an app answer without a thread that waits; False where that cannot be."""
        host = self.apps.host
        if not host.guests.is_apart or self._begun_count >= self._limits.apps.thread_count_max:
            return False
        loop = asyncio.get_running_loop()

        def done(execution: AppExecution | None, failure: BaseException | None) -> None:
            def end() -> None:
                try:
                    self._ended(work, asked, reply, execution, failure)
                finally:
                    door.leave()

            if work.is_kept(execution):
                elsewhere(end)  # the store may take a while
            else:
                end()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._begun_ended)

        def elsewhere(work: Callable[[], None]) -> None:
            try:
                loop.call_soon_threadsafe(self._pool.give, work)
            except RuntimeError:  # it has ended
                work()

        self._begun_count += 1
        is_begun = False
        try:
            is_begun = host.begin(
                work.built, asked, reply, done, elsewhere,
                handlers=self._handlers(work), cancel=cancel, **work.options,
            )  # fmt: skip
        except Exception as failure:  # noqa: BLE001 - told as that of a thread is
            self._ended(work, asked, reply, None, failure)
            door.leave()
            return True
        finally:
            if not is_begun:
                self._begun_count -= 1
        return is_begun

    def _begun_ended(self) -> None:
        self._begun_count -= 1

    def _handlers(self, work: _Work) -> dict[str, Any]:
        timeout_ms = work.built.limits.guests.timeout_ms
        app = work.app
        return dict(self.apps.storage.handlers(app.name, tenant=app.tenant, timeout_ms=timeout_ms))

    def _run(
        self, work: _Work, asked: AppRequest, reply: Reply, cancel: CancelToken, door: Door
    ) -> None:
        """Run an app for a request, on a thread of the crew."""
        execution: AppExecution | None = None
        failure: BaseException | None = None
        try:
            execution = self.apps.host.handle(
                work.built, asked, reply, handlers=self._handlers(work), cancel=cancel,
                **work.options,
            )  # fmt: skip
        except BaseException as error:
            failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._ended(work, asked, reply, execution, failure)
            door.leave()

    def _ended(
        self,
        work: _Work,
        asked: AppRequest,
        reply: Reply,
        execution: AppExecution | None,
        failure: BaseException | None,
    ) -> None:
        """Tell of the end of a request; what kept it from its app is answered."""
        if failure is not None:
            is_told = isinstance(failure, ClocheError)
            reply.fail(failure if is_told else BrokenResponseError())
            if not isinstance(failure, AppRequestError):
                self._report({"event": "app", "app": str(work.app), "message": str(failure)})
            if isinstance(failure, WorkerLostError):
                work.log.log("error", failure.message, {"code": failure.code})
        work.ended(execution, method=asked.method, target=asked.target)

    def call(
        self, app: AppName, kind: Any, event: Mapping[str, Any], **options: Any
    ) -> AppExecution | None:
        """Call the handler of an event of the version that answers; None when it has none.

        Args:
            app: whose.
            kind: `scheduled` or `job`.
            event: what the handler gets, plain JSON.
            options: `job` (the claimed row), `cancel`, `timeout_ms`, and `stopped`, which says why
                it was stopped.

        Raises:
            AppUnknownError, AppVersionError, BuildError, ManifestError: it cannot be called.
        """
        life = self.apps.logs.life(app)  # first: to make a version ready may take its time
        state = self.apps.registry.app(app)
        ready = self.apps.versions.get(app, state.live, state.env)
        if kind not in ready.built.handlers:
            return None
        job, stopped = options.pop("job", None), options.pop("stopped", str)
        work = _Work(self, app, ready.built, life)
        execution: AppExecution | None = None
        try:
            execution = self.apps.host.handle_event(
                ready.built,
                kind,
                event,
                handlers=self.apps.storage.handlers(
                    app.name,
                    tenant=app.tenant,
                    job=job,
                    timeout_ms=options.get("timeout_ms") or ready.built.limits.guests.timeout_ms,
                ),
                **work.options,
                **options,
            )
        finally:
            work.ended(_excused(execution, stopped(), work), kind=kind)
        return execution

    # --- telling ---

    def _refused(self, found: Found, problem: ClocheError) -> Response:
        """Answer what kept a request from its app; what is not the client's affair is not told."""
        status = getattr(problem, "status", None)
        if isinstance(problem, AppError) and isinstance(status, int):
            answer = error(problem, status)
            if problem.retryable:
                answer = answer.with_field(b"retry-after", b"1")
            return answer
        self._report({"event": "app", "app": str(found.app), "message": problem.message})
        return _failed("APP_UNAVAILABLE", 503)

    def new_id(self) -> str:
        """Return the id of a new request."""
        return self._random_bytes(REQUEST_ID_BYTES).hex()

    def is_sampled(self, recording: Recording) -> bool:
        """Whether a request is recorded whatever becomes of it."""
        if recording.sample <= 0:
            return False
        drawn = int.from_bytes(self._random_bytes(4), "big") / _SAMPLE_STEPS
        return drawn < recording.sample

    def forget(self, app: AppName) -> None:
        """Drop what is held of an app that was removed, with its log and its requests."""
        self.apps.versions.forget(app)
        self.apps.logs.remove(app)
        self.apps.recordings.remove(app)
        self._doors.forget(app)
        self.numbers.pop(app, None)

    def close(self) -> None:
        """Wait for what runs, and give everything back."""
        self._pool.close()
        self._talks.close()
        self.apps.host.close()
        try:
            self.apps.logs.flush()
        except ClocheError as problem:
            self._report({"event": "app", "message": problem.message})


def _processor_count() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))


class _Work:
    """One run of an app: what is recorded and told of it."""

    def __init__(
        self, server: AppServer, app: AppName, built: BuiltApp, life: Life | None = None
    ) -> None:
        self._server = server
        self.app = app
        self.built = built
        self._now_ns = server.apps.now_ns
        self.request_id = server.new_id()
        self.log = RequestLog(
            server.apps.logs,
            app,
            request=self.request_id,
            version=built.version,
            now_ns=self._now_ns,
            life=life,
        )
        recording = built.manifest.record
        self.is_sampled = server.is_sampled(recording)
        most = server.apps.limits.apps.recorded_request_limit_bytes
        self.records = KeptRecords(most) if self.is_sampled or recording.errors else None
        self._began_ns = self._now_ns()
        self._numbers = server.numbers.setdefault(app, Numbers())
        self._numbers.running += 1

    @property
    def options(self) -> dict[str, Any]:
        """What the host is told of every run, whatever its kind."""
        return {
            "record": self.records,
            "only_failed": not self.is_sampled,
            "log": self.log,
            "on_output": self.log.printed,
            "run_id": self.request_id,
        }

    def is_kept(self, execution: AppExecution | None) -> bool:
        """Whether anything of a run may be kept in the store."""
        return self.is_sampled or execution is None or execution.failure is not None

    def ended(
        self,
        execution: AppExecution | None,
        *,
        method: str = "",
        target: str = "",
        kind: str = "fetch",
    ) -> None:
        """Tell of the end of a run, which is running until then; None when the host failed."""
        try:
            self._tell_end(execution, method, target, kind)
        finally:
            self._numbers.running -= 1

    def _tell_end(
        self, execution: AppExecution | None, method: str, target: str, kind: str
    ) -> None:
        duration_ms = (self._now_ns() - self._began_ns) / NS_PER_MS
        numbers, failure = self._numbers, None if execution is None else execution.failure
        numbers.requests += 1
        numbers.duration_ms += duration_ms
        self.log.close()
        if execution is None or failure is not None:
            numbers.failures += 1
        if failure is not None:
            self.log.log("error", failure.message, {"code": failure.code})
        if execution is None or self.records is None or self.records.is_too_large:
            return
        if self.log.is_over:
            return
        if not self.is_sampled and failure is None:
            return
        request = RecordedRequest(
            id=self.request_id,
            app=str(self.app),
            version=self.built.version,
            env=dict(self.built.env),
            created_ms=self._began_ns // NS_PER_MS,
            duration_ms=duration_ms,
            method=method,
            target=target,
            status=execution.status,
            code="" if failure is None else failure.code,
            kind=kind,
        )
        language = self.built.guest_language
        try:
            self._server.apps.recordings.keep(
                self.app, request, self.records.records, language=language
            )
        except ClocheError as problem:
            self._server._report({"event": "app", "message": problem.message})


def _excused(execution: AppExecution | None, reason: str, work: _Work) -> AppExecution | None:
    """Return what is told of an event: who is stopped, and not for being late, did not fail."""
    if execution is None or execution.failure is None or reason not in _EXCUSES:
        return execution
    work.log.log("info", "the job was stopped", {"reason": reason})
    return replace(execution, failure=None)


def _failed(code: str, status: int = 500) -> Response:
    document = {"code": code, "message": "the app did not answer this request; its log says why"}
    return json(document, status)
