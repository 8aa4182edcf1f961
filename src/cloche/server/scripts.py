"""Scripts of tenants: begun, put away, taken up after a decision or a restart, ended.

Owns which harness works on which script, and when. Invariants:
- a script is said to be its tenant's before it begins, and one that is answered before it begins is
  kept, so that the next server begins it;
- a script that a server works on is in `_jobs`; of every other one the store says what it is;
- lasting decisions hold within a session of one tenant: its name in the store has the tenant in it.

What a script may call is a tool set that the server was started with. How a run goes on is the
harness's.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.errors import ClocheError
from cloche.exec.adapters.effects import CancelToken
from cloche.script.errors import ScriptCancelledError, ScriptRunBusyError
from cloche.script.harness import ScriptHarness
from cloche.script.items import ScriptResult
from cloche.server.decisions import MESSAGE_DIGITS, approval_document
from cloche.server.documents import KeptScript, ScriptDocument
from cloche.server.errors import (
    HostError,
    InvalidFieldError,
    StateError,
    UnknownObjectError,
    seconds,
)
from cloche.server.fairness import Entry
from cloche.server.live import LiveOutput
from cloche.server.runs import NS_PER_MS, RUN_ID_BYTES
from cloche.web.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.limits import Limits
    from cloche.script.tools import ToolSet
    from cloche.server.deliveries import Webhooks
    from cloche.server.documents import MessageBody, ScriptBody
    from cloche.server.owners import Owners
    from cloche.server.pages import PageRequest
    from cloche.server.ports import Host
    from cloche.server.runs import Runs
    from cloche.store.ports import Store

_SESSION_LENGTH_MAX: Final = 100
_BUSY: Final = frozenset({"running", "queued"})


class Job:
    """What a worker does, or will do, with one script or message."""

    def __init__(self, name: str, tenant: str, act: Callable[[], Any] | None = None) -> None:
        self.name = name
        self.tenant = tenant
        self.act = act or _nothing
        self.is_left = False  # of a dead server, whose claim may still hold
        self.output = LiveOutput()
        self.cancel = CancelToken()
        self.is_running = False
        self.is_due = False  # something was decided meanwhile: look again when it is done
        self.result: Any = None
        self.failure: ClocheError | None = None


def _nothing() -> None:
    """Stand for what a job did that is over."""


class Scripts:
    """All scripts of one server.

    Args:
        store: where they are kept.
        limits: in force.
        host: workers, time, randomness.
        owners: whose a script is.
        runs: shares its queue.
        sets: tool sets by their names.
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
        runs: Runs,
        sets: Mapping[str, ToolSet],
        log: Callable[[dict[str, object]], None],
        webhooks: Webhooks,
    ) -> None:
        self._webhooks = webhooks
        self._store = store
        self._limits = limits
        self._host = host
        self._owners = owners
        self._runs = runs
        self._log = log
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._left: dict[str, str] = {}  # what a dead server left: id and tenant
        self._sets = {name: self._harness(tools) for name, tools in sets.items()}
        self.sets: Mapping[str, ToolSet] = {name: each.tools for name, each in self._sets.items()}
        self._toolless = self._harness()  # knows what became of scripts whatever their tools

    def _harness(self, *tools: ToolSet) -> ScriptHarness:
        return ScriptHarness(*tools, limits=self._limits, store=self._store, clock_ms=self._now_ms)

    def _now_ms(self) -> int:
        return self._host.now_ns() // NS_PER_MS

    # --- beginning ---

    def start(self, tenant: str, body: ScriptBody, *, run_id: str | None = None) -> Job:
        """Accept a script; it runs when its turn comes.

        Raises:
            InvalidFieldError: the server has no such tools.
            QueueFullError, UnavailableError: nothing was started, try later.
        """
        self._check(body.tools, body.session)
        if run_id is not None and (found := self._found(tenant, run_id)) is not None:
            return found
        self._runs.admit(tenant)
        run_id = run_id or self._new_id()
        kept = self.asked_now(body.tools, body.session)
        if not body.wait:
            kept = msgspec.structs.replace(kept, body=body)
            self._owners.add_script(tenant, run_id, kept)
            self._owners.leave_script(tenant, run_id)
        job = self._begin(tenant, run_id, kept, body)
        if self._submit(job):
            return job
        if not body.wait:
            self._owners.remove_script(tenant, run_id)
        raise self._runs.no_room()

    def _check(self, tools: str, session: str) -> ScriptHarness:
        harness = self._sets.get(tools)
        if harness is None:
            known = ", ".join(sorted(self._sets)) or "none; start it with --tools"
            raise InvalidFieldError(
                field="tools", problem=f"there is no set {tools!r}; this server has: {known}"
            )
        if len(session) > _SESSION_LENGTH_MAX or not session.isprintable():
            problem = f"it has at most {_SESSION_LENGTH_MAX} printable characters"
            raise InvalidFieldError(field="session", problem=problem)
        return harness

    def asked_now(self, tools: str, session: str) -> KeptScript:
        """Return what is said of a script of which nothing ran, and nothing is kept."""
        return KeptScript(tools=tools, session=session, created_ms=self._now_ms())

    def _new_id(self) -> str:
        return self._host.random_bytes(RUN_ID_BYTES).hex()

    def _found(self, tenant: str, run_id: str) -> Job | None:
        with self._lock:
            job = self._jobs.get(run_id)
        if job is not None and job.tenant == tenant:
            return job
        return None if self._owners.script(tenant, run_id) is None else self.resume(tenant, run_id)

    def _begin(self, tenant: str, run_id: str, kept: KeptScript, body: ScriptBody) -> Job:
        def new_run_id() -> str:
            if kept.body is None:
                self._owners.add_script(tenant, run_id, kept)
            return run_id

        harness = self._sets[body.tools].for_session(
            session_of(tenant, body.session or run_id), new_run_id=new_run_id
        )
        job = Job(run_id, tenant)

        def act() -> ScriptResult:
            if job.cancel.cancelled:
                result = _cancelled()
            else:
                result = harness.run(
                    body.source,
                    language=body.language,
                    params=body.params,
                    mode=body.mode,
                    cancel=job.cancel,
                )
            if kept.body is not None and not result.run_id:
                self._owners.keep_result(tenant, run_id, result.to_document())
            return result

        job.act = act
        return job

    def start_message(self, tenant: str, body: MessageBody, *, run_id: str | None = None) -> Job:
        """Accept a message; its scripts run when its turn comes.

        Raises:
            InvalidFieldError, QueueFullError, UnavailableError: as `start`.
        """
        harness = self._check(body.tools, body.session)
        self._runs.admit(tenant)
        name = run_id or self._new_id()
        count = 0

        def new_run_id() -> str:
            nonlocal count
            count += 1
            # The same message again has the same ids: what was begun is not begun again.
            drawn = f"{name[:MESSAGE_DIGITS]}{count:08x}"
            kept = self.asked_now(body.tools, session)
            self._owners.add_script(tenant, drawn, kept)
            return drawn

        session = body.session or name
        harness = harness.for_session(session_of(tenant, session), new_run_id=new_run_id)
        job = Job(name, tenant)
        job.act = lambda: (
            harness.handle(body.message, api=body.api, mode=body.mode, cancel=job.cancel).results
        )
        if not self._submit(job):
            raise self._runs.no_room()
        return job

    # --- on a worker ---

    def _submit(self, job: Job, *, forced: bool = False) -> bool:
        with self._lock:
            self._jobs[job.name] = job
        entry = Entry(tenant=job.tenant, session=None, item=lambda: self._work(job))
        if self._host.workers.submit(entry, forced=forced) is None:
            return True
        self._forget(job)
        return False

    def _forget(self, job: Job) -> None:
        with self._lock:
            if self._jobs.get(job.name) is job:
                del self._jobs[job.name]

    def _work(self, job: Job) -> None:
        job.is_running = True
        try:
            job.result = job.act()
            if job.cancel.cancelled and getattr(job.result, "status", "") == "suspended":
                job.result = self._toolless.cancel(job.name)
            self._owners.settle_script(job.name)
            self._tell_result(job)
        except (ClocheError, OSError) as error:
            if job.is_left and isinstance(error, ScriptRunBusyError):
                self._left[job.name] = job.tenant
            else:
                self._failed(job, error)
        except BaseException as error:
            self._failed(job, error)
            raise
        finally:
            self._forget(job)
            # What a job does knows the job, and with it all that the script printed.
            job.act = _nothing
            job.output.end()
            if job.is_due:
                self.go_on(job.tenant, job.name)

    def _tell_result(self, job: Job) -> None:
        """Tell webhooks what a script waits for, or that it has ended."""
        results = job.result if isinstance(job.result, tuple) else (job.result,)
        for result in results:
            if result.run_id and result.status == "suspended":
                self._tell_questions(job.tenant, result.run_id)
            elif result.run_id:
                ended = {"id": result.run_id, "status": result.status, "error": result.error}
                # One that is rolled back after its end has ended in two ways.
                name = f"{result.run_id} {result.status}"
                self._webhooks.tell(job.tenant, "script.ended", name, ended)

    def _tell_questions(self, tenant: str, run_id: str) -> None:
        if not self._webhooks.want(tenant, "approval.requested"):
            return
        for one in self._toolless.pending:
            if one.run_id == run_id:
                document = msgspec.to_builtins(approval_document(one))
                self._webhooks.tell(tenant, "approval.requested", one.id, document)

    def _failed(self, job: Job, error: BaseException) -> None:
        failure = job.failure = error if isinstance(error, ClocheError) else HostError()
        self._log({"event": "script", "run_id": job.name, "message": str(error)})
        try:
            self._end_failed(job, failure)
        except (ClocheError, OSError) as problem:
            self._left[job.name] = job.tenant  # the store is away: gone on with when it is back
            self._log({"event": "script", "run_id": job.name, "message": str(problem)})

    def _end_failed(self, job: Job, failure: ClocheError) -> None:
        """Let a script end with whom nobody goes on: it would be waited for in vain."""
        row = self._store.runs.get(job.name)
        if row is not None:
            if row.status in _BUSY:
                self._toolless.cancel(job.name)
            return
        kept = self._owners.script(job.tenant, job.name)
        if kept is not None and kept.result is None:
            result = ScriptResult(
                script_id="script_1", status="failed", error=failure.to_document()
            )
            self._owners.keep_result(job.tenant, job.name, result.to_document())
        self._owners.settle_script(job.name)

    async def wait(self, job: Job) -> Any:
        """Return what became of a job when it is done.

        Raises:
            UnavailableError: too many wait for it. ClocheError: the server could not do it.
        """
        bell, most = self._host.bell(), self._limits.server.subscriber_count_max
        if not job.output.listen(bell.ring, most):
            raise UnavailableError(
                problem=f"{most} wait for this script already",
                retry_after_s=seconds(self._limits.server.retry_after_ms),
            )
        try:
            while not job.output.ended:
                await bell.wait()
        finally:
            job.output.leave(bell.ring)
        if job.failure is not None:
            raise job.failure
        return job.result

    # --- looking ---

    def kept(self, tenant: str, run_id: str) -> KeptScript:
        """Return what is kept of a tenant's script.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        kept = self._owners.script(tenant, run_id)
        if kept is None:
            raise UnknownObjectError(kind="script", id=run_id)
        return kept

    def is_own(self, tenant: str, run_id: str) -> bool:
        """Whether a tenant has a script of this id."""
        return self._owners.script(tenant, run_id) is not None

    def busy(self, tenant: str, run_id: str) -> Job | None:
        """Return the work that goes on with a tenant's script, None when there is none."""
        with self._lock:
            job = self._jobs.get(run_id)
        return job if job is not None and job.tenant == tenant else None

    def get(self, tenant: str, run_id: str) -> ScriptDocument:
        """Return a script as it is now.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        return self._document(run_id, self.kept(tenant, run_id))

    def _document(self, run_id: str, kept: KeptScript) -> ScriptDocument:
        with self._lock:
            job = self._jobs.get(run_id)
        row = self._store.runs.get(run_id)
        if row is None:
            if kept.result is not None:
                return document_of(_result_of(kept), kept, run_id)
            result = ScriptResult(script_id="script_1", status="suspended")
            is_running = job is not None and job.is_running
            return document_of(result, kept, run_id, "running" if is_running else "queued")
        result = self._of(kept.tools).result(run_id)
        is_busy = job is not None or row.status in _BUSY
        return document_of(result, kept, run_id, "running" if is_busy else None)

    def page(self, tenant: str, wanted: PageRequest) -> list[ScriptDocument]:
        """Return scripts, newest first, one more than wanted where there are more.

        Raises:
            UnknownObjectError: the page begins behind a script that the tenant has not.
        """
        return [
            msgspec.structs.replace(self._document(run_id, kept), output="", tool_calls=[])
            for run_id, kept in self._owners.scripts(tenant, wanted)
        ]

    def _of(self, tools: str) -> ScriptHarness:
        return self._sets.get(tools, self._toolless)

    def harness_for(self, tenant: str, run_id: str) -> ScriptHarness | None:
        """Return the harness that has the tools of a tenant's script; None when none has."""
        return self._sets.get(self.kept(tenant, run_id).tools)

    # --- changing ---

    def resume(self, tenant: str, run_id: str) -> Job:
        """Go on with a script; the job of one that is over gives its result again.

        Raises:
            UnknownObjectError: the tenant has none of this id.
            InvalidFieldError: the server has its tools no more.
            QueueFullError, UnavailableError: try later.
        """
        with self._lock:
            job = self._jobs.get(run_id)
        if job is not None and job.tenant == tenant:
            return job
        job = self._going_on(tenant, run_id)
        self._runs.admit(tenant)
        if not self._submit(job):
            raise self._runs.no_room()
        return job

    def _going_on(self, tenant: str, run_id: str) -> Job:
        """Return the job that goes on with a script: the one that is at work, or a new one."""
        kept = self.kept(tenant, run_id)
        harness = self._check(kept.tools, "")
        if self._store.runs.get(run_id) is None:
            if kept.result is not None:
                return Job(run_id, tenant, lambda: _result_of(kept))
            if kept.body is not None:
                return self._begin(tenant, run_id, kept, kept.body)
            raise StateError(
                kind="script", id=run_id, state="lost", problem="it never began; start it again"
            )
        job = Job(run_id, tenant)
        job.act = lambda: harness.resume(run_id, cancel=job.cancel)
        return job

    def go_on(self, tenant: str, run_id: str) -> None:
        """Go on with a script about which something was decided, if its tools are here.

        What was accepted once is never refused; who works on it sees the decision.
        """
        harness = self.harness_for(tenant, run_id)
        with self._lock:
            busy = self._jobs.get(run_id)
            if busy is not None:
                busy.is_due = True
        if harness is None or busy is not None:
            return
        job = Job(run_id, tenant)
        job.act = lambda: harness.resume(run_id, cancel=job.cancel)
        self._submit(job, forced=True)

    def cancel(self, tenant: str, run_id: str) -> ScriptDocument:
        """Stop a script; one that is over stays as it is, one that runs ends a moment later.

        Raises:
            UnknownObjectError: the tenant has none of this id.
            ScriptRunBusyError: another process works on it.
        """
        kept = self.kept(tenant, run_id)
        with self._lock:
            job = self._jobs.get(run_id)
        if job is not None:
            job.cancel.cancel()
        elif self._store.runs.get(run_id) is not None:
            self._of(kept.tools).cancel(run_id)
        return self._document(run_id, kept)

    def rollback(self, tenant: str, run_id: str) -> Job:
        """Undo the calls of a script; see `ScriptHarness.rollback`.

        Raises:
            UnknownObjectError, InvalidFieldError, QueueFullError, UnavailableError: as `resume`.
            StateError: it runs, or never began.
        """
        harness = self._check(self.kept(tenant, run_id).tools, "")
        with self._lock:
            is_busy = run_id in self._jobs
        if is_busy or self._store.runs.get(run_id) is None:
            state = "running" if is_busy else "not begun"
            raise StateError(kind="script", id=run_id, state=state, problem="cancel it first")
        self._runs.admit(tenant)
        job = Job(run_id, tenant, lambda: harness.rollback(run_id))
        if not self._submit(job):
            raise self._runs.no_room()
        return job

    # --- after a restart ---

    def recover(self, tenants: list[str]) -> int:
        """Note what a dead server left; return how many scripts that are. Called once, at first."""
        self._left = {run_id: tenant for tenant, run_id in self._owners.left_scripts()}
        after = ""
        while page := self._store.runs.list(status="running", after=after, limit=1000):
            after = page[-1].id
            for row in page:
                for tenant in tenants:
                    if self._owners.script(tenant, row.id) is not None:
                        self._left[row.id] = tenant
        return len(self._left)

    def take_up(self) -> int:
        """Go on with what was left, as soon as the dead server's claims are over."""
        count = 0
        for run_id, tenant in list(self._left.items()):
            del self._left[run_id]
            try:
                job = self._going_on(tenant, run_id)
            except ClocheError as error:
                self._log({"event": "script", "run_id": run_id, "message": error.message})
                continue
            job.is_left = True
            self._submit(job, forced=True)
            count += 1
        return count


def session_of(tenant: str, session: str) -> str:
    """Return the name in the store of a tenant's session of scripts."""
    return f"{tenant}/{session}"


def _cancelled() -> ScriptResult:
    error = ScriptCancelledError(reason="it was cancelled before it began").to_document()
    return ScriptResult(script_id="script_1", status="cancelled", error=error)


def _result_of(kept: KeptScript) -> ScriptResult:
    """Return what became of a script of which nothing ran."""
    return msgspec.convert({"type": "script_result", **(kept.result or {})}, ScriptResult)


def document_of(
    result: ScriptResult, kept: KeptScript, run_id: str, status: Any = None
) -> ScriptDocument:
    """Return what became of a script as it is answered; `status` where that is newer."""
    data = result.to_document()
    return ScriptDocument(
        id=run_id,
        script_id=result.script_id,
        status=status or result.status,
        tools=kept.tools,
        session=kept.session,
        created_ms=kept.created_ms,
        value=result.value,
        output=result.output,
        tool_calls=data["tool_calls"],
        error=data["error"],
        usage=result.usage,
        journal_id=result.journal_id,
    )
