"""Routes of runs: run and wait, start and leave, listen, cancel, replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.server.context import query, text
from cloche.server.documents import (
    KeptRequest,
    PromiseBody,
    PromiseDocument,
    ReplayDocument,
    RunBody,
    RunDocument,
    RunList,
    SessionRunBody,
    TimelineDocument,
)
from cloche.server.errors import InvalidFieldError
from cloche.server.events import (
    START,
    Position,
    end_event,
    parse_position,
    piece_event,
    start_event,
)
from cloche.server.guard import RUN_HEADER, tenant_of, wants_events
from cloche.server.journals import journal_lines, timeline
from cloche.server.operations import Operation
from cloche.server.pages import PAGE_QUERY, page_of
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, json, sse, stream
from cloche.web.response import text as plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloche.server.context import Context
    from cloche.server.live import LiveRun
    from cloche.store.rows import Session

_BEAT: Final = b": still here\n\n"
_LINES: Final = "application/jsonl"


class RunRoutes:
    """Handlers of `/v1/run` and `/v1/runs`, of runs in sessions, and of their promises."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        return [
            Operation(method="POST", template="/v1/run", handler=self.run, scope="run",
                      body=RunBody, answer=RunDocument, streams=True),
            Operation(method="POST", template="/v1/runs", handler=self.start_run, scope="run",
                      body=RunBody, answer=RunDocument, status=202),
            Operation(method="GET", template="/v1/runs", handler=self.list_runs, scope="run",
                      answer=RunList,
                      query=(("session", str, "Of this session."), *PAGE_QUERY)),
            Operation(method="GET", template="/v1/runs/:id", handler=self.get_run, scope="run",
                      answer=RunDocument),
            Operation(method="GET", template="/v1/runs/:id/events", handler=self.run_events,
                      scope="run", media_type="text/event-stream"),
            Operation(method="GET", template="/v1/runs/:id/output", handler=self.run_output,
                      scope="run", media_type="text/plain",
                      query=(("stream", str, "`stdout`, or `stderr`."),)),
            Operation(method="GET", template="/v1/runs/:id/journal", handler=self.run_journal,
                      scope="run", media_type=_LINES),
            Operation(method="GET", template="/v1/runs/:id/timeline", handler=self.run_timeline,
                      scope="run", answer=TimelineDocument),
            Operation(method="POST", template="/v1/runs/:id/cancel", handler=self.cancel_run,
                      scope="run", answer=RunDocument),
            Operation(method="POST", template="/v1/runs/:id/resume", handler=self.resume_run,
                      scope="run", answer=RunDocument, streams=True),
            Operation(method="POST", template="/v1/runs/:id/replay", handler=self.replay_run,
                      scope="run", answer=ReplayDocument),
            Operation(method="POST", template="/v1/sessions/:id/run", handler=self.run_in_session,
                      scope="session", body=SessionRunBody, answer=RunDocument, streams=True),
            Operation(method="POST", template="/v1/sessions/:id/runs",
                      handler=self.start_run_in_session, scope="session", body=SessionRunBody,
                      answer=RunDocument, status=202),
            Operation(method="POST", template="/v1/sessions/:id/resume",
                      handler=self.resume_session, scope="session", answer=RunDocument,
                      streams=True),
            Operation(method="POST", template="/v1/promises/:id/complete",
                      handler=self.complete_promise, scope="session", body=PromiseBody,
                      answer=PromiseDocument),
        ]  # fmt: skip

    # --- beginning ---

    async def run(self, request: Request) -> Response:
        """Run a program and wait for its end; as events when they are accepted."""
        return await self._answer(request, await self._begin(request))

    async def start_run(self, request: Request) -> Response:
        """Start a run and return at once; listen to its events, or ask for it later."""
        return _accepted(await self._begin(request, is_left=True))

    async def _begin(self, request: Request, *, is_left: bool = False) -> LiveRun:
        body = await self._context.body(request, RunBody)
        if is_left and not body.keep:
            raise InvalidFieldError(field="keep", problem="a run that is left has to be kept")
        kept = KeptRequest(tenant=tenant_of(request), action="run", run=body)
        return await self._start(request, kept, None)

    async def _start(self, request: Request, kept: KeptRequest, session: Session | None) -> LiveRun:
        run_id = request.context.get("run_id")
        if run_id is None and kept.run is not None and not kept.run.keep:
            # Nothing is read or written: it is not worth a thread.
            return self._context.runs.start(kept, is_streamed=wants_events(request))
        return await self._context.call(
            lambda: self._context.runs.start(kept, session=session, run_id=run_id)
        )

    async def run_in_session(self, request: Request) -> Response:
        """Run a program in a session and wait for its end; as events when they are accepted."""
        return await self._answer(request, await self._begin_in_session(request))

    async def start_run_in_session(self, request: Request) -> Response:
        """Start a run in a session and return at once; runs of a session wait for one another."""
        return _accepted(await self._begin_in_session(request))

    async def _begin_in_session(self, request: Request) -> LiveRun:
        tenant = tenant_of(request)
        session = await self._session(request)
        body = await self._context.body(request, SessionRunBody)
        kept = KeptRequest(tenant=tenant, action="session_run", session_run=body)
        return await self._start(request, kept, session)

    async def _session(self, request: Request) -> Session:
        tenant, name = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._context.sessions.row(tenant, name))

    async def resume_session(self, request: Request) -> Response:
        """Go on with the run of a session that was put away, and wait for its end."""
        tenant, session = tenant_of(request), await self._session(request)
        live = await self._context.call(lambda: self._context.runs.resume(tenant, session))
        return await self._answer(request, live)

    async def resume_run(self, request: Request) -> Response:
        """Go on with a run that was put away, and wait for its end."""
        tenant, run_id = tenant_of(request), request.params["id"]
        live = await self._context.call(lambda: self._context.runs.resume_run(tenant, run_id))
        return await self._answer(request, live)

    async def _answer(self, request: Request, live: LiveRun) -> Response:
        # With a key somebody will come back for the answer.
        is_watched = "run_id" not in request.context
        if wants_events(request):
            return self._events(request, live, START, is_watched=is_watched)
        try:
            document = await self._context.runs.wait(live)
        finally:
            if is_watched:
                self._context.runs.leave(live)
        return json(document).with_field(RUN_HEADER, live.row.id.encode())

    # --- looking ---

    async def list_runs(self, request: Request) -> RunList:
        """List runs, newest first, without what they printed."""
        context, tenant = self._context, tenant_of(request)
        wanted, session = context.page(request), text(request, "session")

        def found() -> RunList:
            if session:
                row = context.sessions.row(tenant, session)
                rows = context.runs.of_session(tenant, row.id, wanted)
            else:
                rows = context.runs.page(tenant, wanted)
            page = page_of(rows, wanted, lambda row: row.id)
            items = [context.runs.current(row) for row in page.items]
            return RunList(items=items, next=page.next)

        return await context.call(found)

    async def _find(self, request: Request) -> LiveRun:
        tenant, run_id = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._context.runs.find(tenant, run_id))

    async def get_run(self, request: Request) -> RunDocument:
        """Return a run: status, output when it has ended, exit code, error."""
        return (await self._find(request)).document()

    async def run_events(self, request: Request) -> Response:
        """Listen to a run, from the event that `Last-Event-ID` names on."""
        position = parse_position(request.header("last-event-id"))
        return self._events(request, await self._find(request), position)

    async def rejoin(self, request: Request, run_id: str) -> Response:
        """Return the events of a run from their beginning, for an answer that is given again."""
        tenant = tenant_of(request)
        live = await self._context.call(lambda: self._context.runs.find(tenant, run_id))
        return self._events(request, live, START)

    def _events(
        self, request: Request, live: LiveRun, position: Position, *, is_watched: bool = False
    ) -> Response:
        pieces = request.services.heartbeat(
            self._stream(live, position, is_watched=is_watched),
            self._context.limits.server.heartbeat_ms,
            _BEAT,
        )
        return sse(pieces).with_field(RUN_HEADER, live.row.id.encode())

    async def _stream(
        self, live: LiveRun, position: Position, *, is_watched: bool
    ) -> AsyncIterator[bytes]:
        last = position
        try:
            yield start_event(live.row.id, position)
            async for piece in self._context.runs.follow(live, position):
                last = piece.position
                yield piece_event(piece)
        finally:
            if is_watched:
                self._context.runs.leave(live)
        # A run that was put away goes on later, so its stream has an end and no last position.
        is_over = live.row.status != "suspended"
        yield end_event(live.end_document(), Position(ended=True) if is_over else last)

    async def run_output(self, request: Request) -> Response:
        """Return what a run has printed so far, as text."""
        wanted = query(request, "stream", str, "stdout")
        if wanted not in ("stdout", "stderr"):
            raise InvalidFieldError(field="stream", problem="is stdout or stderr")
        live = await self._find(request)
        pieces, _ = live.output.read(START)
        return plain("".join(piece.text for piece in pieces if piece.stream == wanted))

    async def run_journal(self, request: Request) -> Response:
        """Return the journal of a run as JSON Lines, as far as it is kept."""
        context, live = self._context, await self._find(request)
        lines = await context.call(
            lambda: [
                line.encode() for line in journal_lines(context.store, live.row.id, context.limits)
            ]
        )
        return stream(lines, _LINES, length=sum(map(len, lines)))

    async def run_timeline(self, request: Request) -> TimelineDocument:
        """Return the effects of a run in the order in which they began."""
        context, live = self._context, await self._find(request)
        return await context.call(lambda: timeline(context.store, live.row.id, context.limits))

    # --- changing ---

    async def cancel_run(self, request: Request) -> RunDocument:
        """Stop a run; one that has ended stays as it is."""
        tenant, run_id = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._context.runs.cancel(tenant, run_id))

    async def complete_promise(self, request: Request) -> PromiseDocument:
        """Give a promise of a program its value, once; the run that waits for it goes on."""
        tenant, promise_id = tenant_of(request), request.params["id"]
        body = await self._context.body(request, PromiseBody)
        return await self._context.call(
            lambda: self._context.runs.complete_promise(tenant, promise_id, body.value)
        )

    async def replay_run(self, request: Request) -> ReplayDocument:
        """Execute a run again from its journal; an error says where it differs."""
        tenant, run_id = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._context.runs.replay(tenant, run_id))


def _accepted(live: LiveRun) -> Response:
    answer = json(live.document(), 202).with_field(RUN_HEADER, live.row.id.encode())
    return answer.with_field(b"location", b"/v1/runs/" + live.row.id.encode())
