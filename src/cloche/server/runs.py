"""Runs: accepted, executed, listened to, cancelled, and taken up again after a restart.

Owns the life of a run from the request to its result. Invariants:
- a run is in the store before it is acknowledged; its result before it is answered;
- a run that waits or runs here is in `_live`; every other run is what the store says;
- what a worker meets becomes the end of its run, never the end of the worker.

How a run is executed stands in `execution.py`.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.errors import ClocheError
from cloche.exec.adapters.session_store import read_records
from cloche.exec.api import make_request
from cloche.exec.errors import WorkersStoppedError
from cloche.exec.request import full_language
from cloche.server.documents import (
    KeptRequest,
    KeptResult,
    PromiseDocument,
    ReplayDocument,
    RunDocument,
)
from cloche.server.errors import (
    HostError,
    QueueFullError,
    ReusedKeyError,
    StateError,
    seconds,
)
from cloche.server.events import Position
from cloche.server.fairness import Entry
from cloche.server.left_runs import LeftRuns
from cloche.server.live import LiveRun
from cloche.server.owners import run_owner
from cloche.server.requests import alone_options, error_body, run_document, session_options
from cloche.store.errors import StoreChangedError, StoreError, StoreExistsError
from cloche.store.rows import ENDED_STATUSES, Run, Timer
from cloche.web.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cloche.exec.request import RunRequest
    from cloche.limits import Limits
    from cloche.server.deliveries import Webhooks
    from cloche.server.events import Piece
    from cloche.server.execution import Execution
    from cloche.server.owners import Owners
    from cloche.server.pages import PageRequest
    from cloche.server.ports import Host
    from cloche.server.stored import Stored
    from cloche.server.tenants import Tenants
    from cloche.store.ports import Store
    from cloche.store.rows import RunStatus, Session

RUN_ID_BYTES: Final = 16
NS_PER_MS: Final = 1_000_000
_END: Final = Position(ended=True)


class Runs:
    """All runs of one server.

    Args:
        store: where they are kept.
        limits: in force.
        host: workers, time, randomness.
        owners: whose a run is.
        tenants: how many may begin.
        stored: whether a session may grow.
        execution: how one is executed.
        effects: kinds that a policy may name.
        log: gets a record of what went wrong.
        webhooks: are told what has ended.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        host: Host,
        owners: Owners,
        tenants: Tenants,
        stored: Stored,
        execution: Execution,
        effects: frozenset[str],
        log: Callable[[dict[str, object]], None],
        webhooks: Webhooks,
    ) -> None:
        self._webhooks = webhooks
        self._store = store
        self._limits = limits
        self._host = host
        self._owners = owners
        self._tenants = tenants
        self._stored = stored
        self._execution = execution
        self._effects = effects
        self._log = log
        self._lock = threading.Lock()
        self._live: dict[str, LiveRun] = {}
        self.left = LeftRuns(store, self._take_up)

    # --- beginning ---

    def start(
        self,
        request: KeptRequest,
        *,
        session: Session | None = None,
        run_id: str | None = None,
        is_streamed: bool = True,
        has_pictures: bool = False,
    ) -> LiveRun:
        """Accept a run: it is kept when this returns, and executed when its turn comes.

        Args:
            request: what, and for which tenant.
            session: in which session, whose owner was checked.
            run_id: the id it must have; a run that has it already is the answer.
            is_streamed: whether somebody listens to what it prints while it runs.
            has_pictures: whether somebody will look at the pictures that it writes.

        Raises:
            QueueFullError, RateLimitedError, UnavailableError: nothing was started, try later.
            ReusedKeyError: another run has this id.
            ClocheError: what is wrong with the request.
        """
        if run_id is not None and (found := self._found(run_id, request)) is not None:
            return found
        self.admit(request.tenant)
        if session is not None:
            self._stored.check_room(request.tenant)
        now_ns = self._host.now_ns()
        request, alone = self._prepared(request, now_ns)
        row = Run(
            id=run_id or self._host.random_bytes(RUN_ID_BYTES).hex(),
            session_id=None if session is None else session.id,
            language=_language_of(alone, session),
            status="queued",
            created_ns=now_ns,
            request=msgspec.json.encode(request),
        )
        live = LiveRun(row, request, alone)
        live.is_streamed = is_streamed
        live.pictures = {} if has_pictures else None
        if live.is_kept:
            try:
                self._store.runs.create(row, documents=[run_owner(request.tenant, row)])
            except StoreExistsError:
                found = self._found(row.id, request)
                assert found is not None
                return found
        if self._submit(live) is not None:
            if live.is_kept:
                self._store.runs.delete(row.id)
            self.check_room(request.tenant)
            raise self.no_room()
        return live

    def _found(self, run_id: str, request: KeptRequest) -> LiveRun | None:
        with self._lock:
            live = self._live.get(run_id)
        if live is None:
            row = self._store.runs.get(run_id)
            if row is None:
                return None
            live = self._ended(row)
        if not _is_same(live.request, request):
            raise ReusedKeyError
        return live

    def admit(self, tenant: str) -> None:
        """Count a run that is about to begin, or refuse it.

        Raises:
            RateLimitedError: the tenant began too many lately.
            QueueFullError, UnavailableError: as `check_room`.
        """
        self.check_room(tenant)
        self._tenants.take_run(tenant, self._host.now_ns())

    def check_room(self, tenant: str) -> None:
        """Refuse what has no room in the queue.

        Raises:
            QueueFullError: too much of this tenant waits. UnavailableError: too much of all.
        """
        refusal = self._host.workers.has_room(tenant)
        if refusal == "tenant":
            raise QueueFullError(retry_after_s=seconds(self._limits.server.retry_after_ms))
        if refusal == "all":
            raise self.no_room()

    def no_room(self) -> UnavailableError:
        """Return what is said where a queue takes nothing."""
        return UnavailableError(
            problem="the server has no room for more runs, or is about to stop",
            retry_after_s=seconds(self._limits.server.retry_after_ms),
        )

    def _prepared(self, request: KeptRequest, now_ns: int) -> tuple[KeptRequest, RunRequest | None]:
        """Return a request that says everything, so that it can be executed again, and its run."""
        if request.session_run is not None:
            session_options(request.session_run, self._limits, self._effects, request.tenant)
        if request.run is None:
            return request, None
        body = request.run
        drawn = int.from_bytes(self._host.random_bytes(8), "big")
        body = msgspec.structs.replace(
            body,
            seed=drawn if body.seed is None else body.seed,
            now_ns=now_ns if body.now_ns is None else body.now_ns,
        )
        options = alone_options(body, self._limits, self._effects, request.tenant)
        alone = make_request(body.code, **options)
        return msgspec.structs.replace(request, run=body), alone

    def _submit(self, live: LiveRun, *, forced: bool = False) -> str | None:
        work: Callable[[], None] = _Work(self, live)
        live.work = work
        with self._lock:
            self._live[live.row.id] = live
        session = live.row.session_id
        entry = Entry(tenant=live.request.tenant, session=session, item=work)
        refusal = self._host.workers.submit(entry, forced=forced)
        if refusal is not None:
            self._forget(live)
        return refusal

    def _forget(self, live: LiveRun) -> None:
        with self._lock:
            if self._live.get(live.row.id) is live:
                del self._live[live.row.id]

    # --- on a worker ---

    def execute(self, live: LiveRun) -> None:
        """Execute a run to its end, on this thread."""
        live.status = "running"
        try:
            live.row = self._execution.execute(live)
        except (ClocheError, OSError) as error:
            self._failed(live, error)
        except BaseException as error:
            self._failed(live, error)
            raise
        finally:
            self._end(live)

    def _end(self, live: LiveRun) -> None:
        # Whoever looks for it from here on finds the row; who listens has it.
        self._forget(live)
        live.end()
        if live.is_kept and live.row.status in ENDED_STATUSES:
            self._tell_end(live)

    def begin(self, live: LiveRun, finished: Callable[[], None]) -> bool:
        """Begin a run whose execution needs no thread here; False when it does need one."""

        def ended(row: Run | None, error: BaseException | None) -> None:
            try:
                if row is not None:
                    live.row = row
                if error is not None:
                    self._failed(live, error)
                self._end(live)
            finally:
                finished()

        if live.is_kept:
            return False
        live.status = "running"
        is_begun = self._execution.begin(live, ended)
        if not is_begun:
            live.status = "queued"
        return is_begun

    def _tell_end(self, live: LiveRun) -> None:
        tenant = live.request.tenant
        if not self._webhooks.want(tenant, "run.ended"):
            return
        document = msgspec.to_builtins(run_document(live.row, brief=True))
        try:
            self._webhooks.tell(tenant, "run.ended", live.row.id, document)
        except ClocheError as error:
            self._log({"event": "webhook", "run_id": live.row.id, "message": error.message})

    def _failed(self, live: LiveRun, error: BaseException) -> None:
        """Keep that a run could not be executed, if that can be kept."""
        known = error if isinstance(error, ClocheError) else HostError()
        live.failure = known
        self._log({"event": "run", "run_id": live.row.id, "message": str(error)})
        if not live.is_kept or isinstance(error, WorkersStoppedError):
            return
        if isinstance(error, StoreError) and error.retryable:
            self.left.add(live.row.id)
            return
        try:
            row = self._store.runs.get(live.row.id)
            if row is None or row.status in ENDED_STATUSES or row.status == "suspended":
                live.row = row or live.row
                return
            result = msgspec.json.encode(KeptResult(error=error_body(known)))
            status: RunStatus = "failed" if known.blame == "caller" else "interrupted"
            ended = replace(row, status=status, ended_ns=self._host.now_ns(), result=result)
            self._store.runs.update(ended, expected=row.status)
            live.row = ended
        except ClocheError as second:
            self._log({"event": "run", "run_id": live.row.id, "message": str(second)})
            self.left.add(live.row.id)

    # --- looking ---

    def find(self, tenant: str, run_id: str) -> LiveRun:
        """Return a run of a tenant, live or ended.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        with self._lock:
            live = self._live.get(run_id)
        if live is not None and live.request.tenant == tenant:
            return live
        return self._ended(self._owners.run(tenant, run_id))

    def page(self, tenant: str, wanted: PageRequest) -> list[Run]:
        """Return runs of a tenant, newest first, one more than wanted where there are more."""
        return self._owners.runs(tenant, wanted)

    def of_session(self, tenant: str, session_id: str, wanted: PageRequest) -> list[Run]:
        """Return runs of a session whose owner was checked, likewise."""
        if wanted.after:
            self._owners.run(tenant, wanted.after)
        return list(self._owners.runs_of(session_id, wanted))

    def current(self, row: Run) -> RunDocument:
        """Return a row of a list as it is now."""
        with self._lock:
            live = self._live.get(row.id)
        is_ended = live is None or live.output.ended
        return run_document(
            row, status=None if is_ended or live is None else live.status, brief=True
        )

    def _ended(self, row: Run) -> LiveRun:
        """Return a run that is not live here, so that it can be listened to like one that is."""
        live = LiveRun(row, request_of(row))
        live.status = row.status
        live.output.write_result(msgspec.json.decode(row.result, type=KeptResult))
        live.output.end()
        return live

    async def wait(self, live: LiveRun) -> RunDocument:
        """Return a run when it has ended, or was put away.

        Raises:
            ClocheError: the server could not execute it.
        """
        async for _ in self.follow(live, _END):
            pass
        if live.failure is not None:
            raise live.failure
        return live.document()

    async def follow(self, live: LiveRun, position: Position) -> AsyncIterator[Piece]:
        """Yield what a run prints from a position on, until it has ended.

        Raises:
            UnavailableError: too many listen to this run.
        """
        if position.ended and live.output.ended:
            return
        bell = self._host.bell()
        most = self._limits.server.subscriber_count_max
        if not live.output.listen(bell.ring, most):
            raise UnavailableError(
                problem=f"{most} listen to this run already",
                retry_after_s=seconds(self._limits.server.retry_after_ms),
            )
        try:
            while True:
                pieces, is_ended = live.output.read_some(position)
                for piece in pieces:
                    position = piece.position
                    yield piece
                if is_ended:
                    return
                if not pieces:
                    await bell.wait()
        finally:
            live.output.leave(bell.ring)

    # --- changing ---

    def cancel(self, tenant: str, run_id: str) -> RunDocument:
        """Stop a run; one that has ended stays as it is.

        A run that is being executed ends a moment later; its document says so when it has.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        live = self.find(tenant, run_id)
        if not live.output.ended:
            self._stop(live)
            return live.document()
        if live.row.status == "suspended":
            self._execution.cancel_suspended(live.row)
            live.row = self._owners.run(tenant, run_id)
            if live.row.status in ENDED_STATUSES:
                self._tell_end(live)
        elif live.row.status not in ENDED_STATUSES:
            self._end_cancelled(live)
        return run_document(self._owners.run(tenant, run_id))

    def leave(self, live: LiveRun) -> None:
        """Stop a run that is not kept, when who asked for it waits no more: nobody else can ask.

        One that has ended stays as it is.
        """
        if not live.is_kept and not live.output.ended:
            self._stop(live)

    def _stop(self, live: LiveRun) -> None:
        if self._host.workers.remove(live.work):
            self._end_cancelled(live)
        else:
            live.cancel.cancel()

    def _end_cancelled(self, live: LiveRun) -> None:
        ended = replace(live.row, status="cancelled", ended_ns=self._host.now_ns())
        try:
            if live.is_kept:
                self._store.runs.update(ended, expected=live.row.status)
            live.row = ended
        except StoreChangedError:
            # Somebody else ended it, or executes it, and tells of its end.
            live.row = self._store.runs.get(live.row.id) or live.row
            self._forget(live)
            live.end()
        else:
            self._end(live)

    def resume(self, tenant: str, session: Session) -> LiveRun:
        """Go on with the run of a session that was put away.

        Raises:
            StateError: there is none. QueueFullError, UnavailableError: try later.
        """
        found = self._store.runs.list(session_id=session.id, status="suspended", limit=1)
        if not found:
            problem = "no run was put away in it"
            raise StateError(kind="session", id=session.id, state="open", problem=problem)
        self.admit(tenant)
        return self._resume(tenant, found[0])

    def resume_run(self, tenant: str, run_id: str) -> LiveRun:
        """Go on with a run that was put away; errors as above, and of `find`."""
        live = self.find(tenant, run_id)
        if live.row.status != "suspended":
            problem = "only a run that was put away goes on"
            raise StateError(kind="run", id=run_id, state=live.row.status, problem=problem)
        self.admit(tenant)
        return self._resume(tenant, live.row)

    def _resume(self, tenant: str, row: Run) -> LiveRun:
        live = LiveRun(row, KeptRequest(tenant=tenant, action="resume"))
        with self._lock:
            waiting = self._live.get(row.id)
        if waiting is not None:
            return waiting
        if self._submit(live) is not None:
            raise self.no_room()
        return live

    def complete_promise(self, tenant: str, promise_id: str, value: Any) -> PromiseDocument:
        """Give a promise its value; the run that made it goes on with the next maintenance.

        Raises:
            UnknownObjectError: no run of the tenant has made one of this id.
        """
        row = self._owners.promised(tenant, promise_id)
        now_ns = self._host.now_ns()
        is_first = self._store.promises.complete(
            promise_id, msgspec.json.encode(value), now_ns=now_ns
        )
        if is_first and row.status not in ENDED_STATUSES:
            # Also for a run that is only about to be put away: it would not look again.
            self._store.timers.set(Timer(id=row.id, run_id=row.id, due_ns=now_ns))
        return PromiseDocument(id=promise_id, run_id=row.id, completed=is_first)

    def replay(self, tenant: str, run_id: str) -> ReplayDocument:
        """Execute a run again from its journal. Blocks as long as that takes.

        Raises:
            StateError: it has not ended. DivergenceError: it does something else now.
        """
        row = self._owners.run(tenant, run_id)
        if row.status not in ENDED_STATUSES:
            raise StateError(kind="run", id=run_id, state=row.status, problem="it has not ended")
        if not read_records(self._store, run_id):
            raise StateError(kind="run", id=run_id, state=row.status, problem="it has no journal")
        journal_hash = self._execution.replay(row)
        return ReplayDocument(run_id=run_id, same=True, journal_hash=journal_hash)

    # --- what was left ---

    def _take_up(self, row: Run) -> bool:
        """Execute a run that somebody began or was to begin; False when it is not of this door."""
        request = _kept_request(row)
        if request is None:
            return False
        live = LiveRun(row, request, self._alone(request))
        live.is_recovered = True
        self._submit(live, forced=True)
        return True

    def _alone(self, request: KeptRequest) -> RunRequest | None:
        body = request.run
        if body is None:
            return None
        try:
            options = alone_options(body, self._limits, self._effects, request.tenant)
            return make_request(body.code, **options)
        except ClocheError:
            return None  # limits or effects have changed: it ends as interrupted

    def wake_due(self) -> int:
        """Go on with runs whose time has come; return how many."""
        count = 0
        for timer in self._store.timers.due(now_ns=self._host.now_ns()):
            row = self._store.runs.get(timer.run_id)
            if row is not None and row.status in ENDED_STATUSES:
                self._store.timers.remove(timer.id)
                continue
            request = None if row is None else _kept_request(row)
            if row is None or request is None or row.status != "suspended":
                continue
            if self._host.workers.has_room(request.tenant) is None:
                self._resume(request.tenant, row)
                count += 1
        return count


class _Work:
    """What a worker does with a run."""

    def __init__(self, runs: Runs, live: LiveRun) -> None:
        self._runs = runs
        self._live = live

    def __call__(self) -> None:
        """Execute it; see `Runs.execute`."""
        self._runs.execute(self._live)

    def begin(self, finished: Callable[[], None]) -> bool:
        """Begin it; see `Runs.begin`."""
        return self._runs.begin(self._live, finished)


def request_of(row: Run) -> KeptRequest:
    """Return what was asked for; of a run that came through another door, nothing."""
    return _kept_request(row) or KeptRequest(tenant="", action="session_run")


def _kept_request(row: Run) -> KeptRequest | None:
    try:
        return msgspec.json.decode(row.request, type=KeptRequest)
    except msgspec.ValidationError:
        return None


def _is_same(kept: KeptRequest, request: KeptRequest) -> bool:
    """Whether two requests ask for the same; what the server chose itself does not count."""
    if kept.run is not None and request.run is not None:
        body = msgspec.structs.replace(
            request.run,
            seed=kept.run.seed if request.run.seed is None else request.run.seed,
            now_ns=kept.run.now_ns if request.run.now_ns is None else request.run.now_ns,
        )
        request = msgspec.structs.replace(request, run=body)
    return kept == request


def _language_of(alone: RunRequest | None, session: Session | None) -> str:
    if alone is not None:
        return full_language(alone.language)
    assert session is not None
    return session.language
