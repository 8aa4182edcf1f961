"""How a worker executes one run, alone or in a session.

Owns which journal is kept when, and how a run of a dead server goes on. Invariants:
- the row that is returned is kept;
- a run that may have done something to the world is never begun a second time: it goes on behind
  its journal, or is `interrupted`;
- a run that can ask nothing of the world is the same bytes whenever it is executed, so its journal
  is kept with its end.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.exec.adapters.session_runs import SessionRuns
from cloche.exec.adapters.session_store import RunSink, read_records
from cloche.exec.adapters.session_travel import SessionTravel
from cloche.exec.api import default_runner, request_of
from cloche.exec.errors import (
    SessionBusyError,
    SessionError,
    WorkerLostError,
    WorkersStoppedError,
)
from cloche.exec.session import Session, sessions_of
from cloche.gate.entries import EffectStarted
from cloche.gate.journal import encode_file, load_journal
from cloche.server.documents import KeptResult
from cloche.server.errors import StateError
from cloche.server.pictures import drawn
from cloche.server.requests import error_body, session_options, stage_document
from cloche.store.rows import ENDED_STATUSES, JournalAppend, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.exec.adapters.runner import Execution as Done
    from cloche.exec.adapters.runner import Runner
    from cloche.exec.adapters.session_live import Live
    from cloche.exec.adapters.sessions import Sessions
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.gate.ports import JournalSink
    from cloche.limits import Limits
    from cloche.server.live import LiveRun
    from cloche.store.ports import Store
    from cloche.store.rows import RunStatus

_BUSY_PAUSE_S: Final = 0.1
MS_PER_S: Final = 1000
_encode: Final = msgspec.json.Encoder().encode


class Execution:
    """Executes runs on the thread that asks.

    Args:
        store: where they are kept.
        limits: in force.
        effects: kinds that a policy may name.
        now_ns: the wall clock.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        effects: frozenset[str],
        now_ns: Callable[[], int],
        runner: Runner | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._effects = effects
        self._now_ns = now_ns
        self._runner = (runner or default_runner()).for_store(store.url)

    @property
    def sessions(self) -> Sessions:
        """The sessions of this process."""
        return sessions_of(self._store)

    def execute(self, live: LiveRun) -> Run:
        """Execute a run to its end, or until it is put away; return it as it is kept.

        Raises:
            ClocheError, OSError: the host could not.
        """
        try:
            return self._once(live)
        except WorkersStoppedError:
            raise  # the next start takes it up
        except WorkerLostError:
            if not live.is_kept:
                raise
        # Its worker died, which may be the run's own doing: it gets one more.
        live.is_recovered = True
        live.row = self._kept(live.row)
        return live.row if live.row.status in ENDED_STATUSES else self._once(live)

    def _once(self, live: LiveRun) -> Run:
        if live.request.action == "run":
            return self._alone(live)
        if live.is_recovered and live.row.status == "running":
            return self._settled(live)
        return self._in_session(live)

    def begin(
        self, live: LiveRun, ended: Callable[[Run | None, BaseException | None], None]
    ) -> bool:
        """Begin a run that is not kept, where the runner can do so without a thread.

        Args:
            live: the run.
            ended: called with what it came to, or what the host met; from any thread.
        """
        begin = getattr(self._runner, "begin", None)
        if begin is None or live.alone is None or live.pictures is not None:
            return False

        def done(execution: Done | None, error: BaseException | None) -> None:
            row = None
            if execution is not None:
                result = _result_of(execution)
                row = self._ended(live.row, execution, result)
                if not live.is_streamed:
                    live.output.write_result(result)
            ended(row, error)

        return bool(
            begin(
                live.alone,
                run_id=live.row.id,
                on_output=live.output.write if live.is_streamed else None,
                cancel=live.cancel,
                done=done,
            )
        )

    # --- alone ---

    def _alone(self, live: LiveRun) -> Run:
        request, row = live.alone, live.row
        if request is None:
            return self._interrupted(row)
        if not live.is_kept:
            done = self._run(live, request)
            return self._ended(row, done, _result_of(done))
        records = read_records(self._store, row.id) if live.is_recovered else []
        journal = load_journal(encode_file(records), self._limits) if records else None
        if journal is not None and journal.finish is None and _asked_the_world(journal):
            return self._interrupted(row)
        sink: RunSink | _LateSink
        if request.policy.kinds or request.policy.net is not None:
            sink = RunSink(self._store, row.id, index=len(records))
        else:
            sink = _LateSink(row.id, index=len(records))
        done = self._run(live, request, sink=sink, resume=journal)
        ended = self._ended(row, done, _result_of(done))
        self._store.runs.update(ended, expected=row.status, append=sink.end())
        return ended

    def _run(
        self,
        live: LiveRun,
        request: RunRequest,
        *,
        sink: JournalSink | None = None,
        resume: Journal | None = None,
    ) -> Done:
        runner = self._runner
        if live.pictures is not None:
            # A runner that has its guests elsewhere fetches files when it is told to.
            runner = getattr(runner, "with_pictures", lambda: runner)()
        done = runner.execute(
            request,
            on_output=live.output.again(),
            sink=sink,
            resume=resume,
            record=sink is not None,
            cancel=live.cancel,
            run_id=live.row.id,  # the log of outbound HTTP names it
        )
        if live.pictures is not None:
            live.pictures = drawn(done.files, given=request.files, cwd=request.cwd)
        return done

    def _ended(self, row: Run, done: Done, result: KeptResult) -> Run:
        # By name: `replace` looks through the fields first, which takes four times as long.
        return Run(
            id=row.id,
            session_id=row.session_id,
            language=row.language,
            status=_status_of(done),
            created_ns=row.created_ns,
            started_ns=row.started_ns or row.created_ns,
            ended_ns=self._now_ns(),
            request=row.request,
            usage=row.usage,
            result=_encode(result),
        )

    def _interrupted(self, row: Run) -> Run:
        ended = replace(row, status="interrupted", ended_ns=self._now_ns())
        self._store.runs.update(ended, expected=row.status)
        return ended

    # --- in a session ---

    def _in_session(self, live: LiveRun) -> Run:
        """Run in a session, or go on with what was put away in it.

        Another process may have the session for a while, a dead one until its lease is over: the
        run waits for it as it would wait for another run.
        """
        row = live.row
        assert row.session_id is not None
        sessions = self.sessions
        session = Session(sessions, sessions.find(row.session_id))
        session._runs = _NamedRuns(sessions, row)
        deadline = time.monotonic() + self._limits.sessions.queue_timeout_ms / MS_PER_S
        while True:
            try:
                self._call(session, live)
            except SessionBusyError:
                is_put_away = self._store.runs.list(
                    session_id=row.session_id, status="suspended", limit=1
                )
                if is_put_away or live.cancel.cancelled or time.monotonic() > deadline:
                    raise
                time.sleep(_BUSY_PAUSE_S)
            else:
                return self._kept(row)

    def _call(self, session: Session, live: LiveRun) -> None:
        if live.request.action == "resume":
            session._runs.resume(session.id, on_output=live.output.again(), cancel=live.cancel)
            return
        body = live.request.session_run
        assert body is not None
        session.execute(
            body.code,
            entrypoint=body.entrypoint,
            on_output=live.output.again(),
            cancel=live.cancel,
            **session_options(body, self._limits, self._effects, live.request.tenant),
        )

    def _settled(self, live: LiveRun) -> Run:
        """Let the session settle what its dead process left: finished, resumed or interrupted."""
        row = live.row
        assert row.session_id is not None
        sessions = self.sessions
        deadline = time.monotonic() + self._limits.sessions.queue_timeout_ms / MS_PER_S
        while True:
            try:
                with sessions.turn(row.session_id) as turn:
                    SessionRuns(sessions).settle(turn, cancel=live.cancel)
                break
            except SessionBusyError:
                if self._kept(row).status != "running" or time.monotonic() > deadline:
                    break
                time.sleep(_BUSY_PAUSE_S)
        kept = self._kept(row)
        live.output.write_result(msgspec.json.decode(kept.result, type=KeptResult))
        return kept

    def cancel_suspended(self, row: Run) -> None:
        """Give up a run that was put away."""
        assert row.session_id is not None
        SessionRuns(self.sessions).cancel_suspended(row.session_id)

    def _kept(self, row: Run) -> Run:
        return self._store.runs.get(row.id) or row

    # --- again ---

    def replay(self, row: Run) -> str | None:
        """Execute a run again from its journal; return the name of what it came to.

        Raises:
            DivergenceError: it does something else now.
            StateError: the state that it started from is not known any more.
        """
        if row.session_id is not None:
            try:
                return SessionTravel(self.sessions).replay(row.id).journal_hash
            except SessionBusyError:
                raise
            except SessionError:
                raise StateError(
                    kind="run",
                    id=row.id,
                    state=row.status,
                    problem="the state it started from is in no session's history any more",
                ) from None
        records = read_records(self._store, row.id)
        journal = load_journal(encode_file(records), self._limits)
        return self._runner.execute(request_of(journal.inputs), replay=journal).journal_hash


class _NamedRuns(SessionRuns):
    """Runs of a session whose row is there already: it was accepted before its turn came."""

    def __init__(self, sessions: Sessions, row: Run) -> None:
        super().__init__(sessions)
        self._row = row

    def _new_run(self, live: Live, request: RunRequest) -> Run:
        del live
        return replace(
            self._row, status="running", language=request.language, started_ns=self._now_ns()
        )

    def _keep_begun(self, run: Run, records: Sequence[bytes]) -> None:
        begun = JournalAppend(run_id=run.id, entries=tuple(records), expected_count=0)
        self._store.runs.update(run, expected="queued", append=begun)


class _LateSink:
    """Holds the records of a run that can ask nothing of the world until its end."""

    is_late = True

    def __init__(self, run_id: str, *, index: int) -> None:
        self._run_id = run_id
        self._index = index
        self._records: list[bytes] = []

    def append(self, records: Sequence[bytes]) -> None:
        """Hold records."""
        self._records += records

    def end(self) -> JournalAppend:
        """Return all of them, to be kept with how the run ended."""
        return JournalAppend(
            run_id=self._run_id, entries=tuple(self._records), expected_count=self._index
        )

    def close(self) -> None:
        """Nothing is held that its run does not take."""


def _asked_the_world(journal: Journal) -> bool:
    return any(isinstance(entry, EffectStarted) for entry in journal.entries)


def _status_of(done: Done) -> RunStatus:
    error = done.error
    if error is None:
        return "completed"
    return "cancelled" if error.fields.get("reason") == "cancelled" else "failed"


def _result_of(done: Done) -> KeptResult:
    result, error = done.result, done.error
    return KeptResult(
        exit_code=done.exit_code,
        journal_hash=done.journal_hash,
        stdout=result.run.stdout,
        stderr=result.run.stderr,
        signal=result.run.signal,
        compile=stage_document(result.compile),
        time_ms=result.time_ms,
        memory_bytes=result.memory_bytes,
        error=None if error is None else error_body(error),
    )
