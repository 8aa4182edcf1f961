"""Runs in sessions: begun, kept, recovered.

Owns the life of a run's row. Invariants:
- a run is acknowledged only when its journal, its operation and the new head are durable, together;
- a run that a dead process left is finished from its journal, resumed behind it, or `interrupted`:
  never forgotten, and no completed effect of it is performed again;
- what an interrupted run printed is kept with it. Nothing is written for that while it runs: it is
  executed again as far as its journal answers it, and prints the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from cloche.exec.adapters.durable import DURABLE_KIND, DurableHandler
from cloche.exec.adapters.partial import OrStop, ReplayStopped, StopAtLive, open_effects
from cloche.exec.adapters.runner import new_run_id
from cloche.exec.adapters.session_store import RunSink, read_run_journal
from cloche.exec.errors import SessionBusyError, SessionError, WorkerLostError
from cloche.exec.session_log import Ran, run_seed
from cloche.gate.errors import DivergenceError
from cloche.store.rows import Run, Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.engine.virtual_os import Stream
    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, OutputListener
    from cloche.exec.adapters.session_live import Live
    from cloche.exec.adapters.sessions import Sessions
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler
    from cloche.store.rows import RunStatus

_json = msgspec.json.Encoder()


class SessionRuns:
    """Runs programs in the sessions of one process."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._store = sessions.store
        self._now_ns = sessions.now_ns

    def run(
        self,
        session_id: str,
        make_request: Callable[[Live, int, int], RunRequest],
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: OutputListener | None = None,
        cancel: CancelToken | None = None,
        wait: bool = True,
    ) -> Execution:
        """Run something in a session, to its end; a guest's failure is data.

        Args:
            session_id: where.
            make_request: called with the session, the seed and the time of the run.
            handlers: who performs which kind of effect.
            on_output: gets each piece of output.
            cancel: stops the run.
            wait: whether to wait for other runs of the session.

        Raises:
            SessionBusyError, SessionNotFoundError, InvalidRunError: nothing ran.
        """
        handlers = self._with_durable(handlers)
        with self._sessions.turn(session_id, wait=wait) as live:
            self.settle(live, handlers)
            machine = self._sessions.awake(live)
            request = make_request(live, run_seed(live.settings, live.head), self._now_ns())
            run = self._new_run(live, request)
            said = _Said(on_output)
            sink = RunSink(
                self._store, run.id, begin=lambda records: self._begin(live, run, records)
            )
            execution = self._execute(
                live,
                run,
                said,
                sink,
                lambda: machine.run(
                    request,
                    run_id=run.id,
                    handlers=handlers,
                    on_output=said,
                    sink=sink,
                    cancel=cancel,
                ),
            )
            self._finish(live, run, execution, sink)
            return execution

    def _with_durable(
        self, handlers: Mapping[str, EffectHandler] | None
    ) -> dict[str, EffectHandler]:
        durable = DurableHandler(self._store, self._sessions.limits, now_ns=self._now_ns)
        return {DURABLE_KIND: durable, **(handlers or {})}

    def suspended(self, live: Live) -> Run | None:
        """Return the run of a session that was put away, if there is one."""
        found = self._store.runs.list(session_id=live.row.id, status="suspended", limit=1)
        return found[0] if found else None

    def settle(
        self,
        live: Live,
        handlers: Mapping[str, EffectHandler] | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> None:
        """See to it that no run of a session is still to go on from its state.

        Whatever changes the session has to do that first: such a run would go on from a state that
        is not the one it started from.

        Args:
            live: the session.
            handlers: who performs what the run asks for behind its journal.
            cancel: stops the run that goes on.

        Raises:
            SessionBusyError: a run was put away.
        """
        if live.is_settled:
            return
        self.recover(live, handlers or self._with_durable(None), cancel=cancel)
        run = self.suspended(live)
        if run is not None:
            raise SessionBusyError(
                live.row.id, f"run {run.id} was put away in it; resume or cancel that first"
            )
        live.is_settled = True

    def resume(
        self,
        session_id: str,
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: OutputListener | None = None,
        cancel: CancelToken | None = None,
    ) -> Execution:
        """Go on with the run of a session that was put away; see `run`.

        It is executed again from where the session was: what it printed until then is printed
        again, what it did outside is not done again.

        Raises:
            SessionError: none was put away.
        """
        handlers = self._with_durable(handlers)
        with self._sessions.turn(session_id) as live:
            run = self.suspended(live)
            if run is None:
                raise SessionError(f"session {session_id} has no run that was put away")
            self._store.timers.remove(run.id)
            again = replace(run, status="running")
            self._store.runs.update(again, expected="suspended")
            return self._go_on(live, again, handlers, on_output=on_output, cancel=cancel)

    def cancel_suspended(self, session_id: str) -> None:
        """Give up the run of a session that was put away; the session is as it was before it."""
        with self._sessions.turn(session_id) as live:
            run = self.suspended(live)
            if run is not None:
                self._store.timers.remove(run.id)
                ended = replace(run, status="cancelled", ended_ns=self._now_ns())
                self._store.runs.update(ended, expected="suspended")

    def _new_run(self, live: Live, request: RunRequest) -> Run:
        """Return a run that is to begin."""
        now_ns = self._now_ns()
        return Run(
            id=new_run_id(),
            session_id=live.row.id,
            language=request.language,
            status="running",
            created_ns=now_ns,
            started_ns=now_ns,
        )

    def _begin(self, live: Live, run: Run, records: Sequence[bytes]) -> None:
        live.is_settled = False
        self._keep_begun(run, records)

    def _keep_begun(self, run: Run, records: Sequence[bytes]) -> None:
        """Keep a run that begins, with the beginning of its journal."""
        self._store.runs.create(run, entries=records)

    def _execute(
        self,
        live: Live,
        run: Run,
        said: _Said,
        sink: RunSink,
        execute: Callable[[], Execution],
    ) -> Execution:
        try:
            return execute()
        except WorkerLostError:
            # As if this process had died: the run is still open, and goes on behind its journal.
            self._sessions.drop(live)
            raise
        except BaseException as error:
            # Ctrl-C is a wish, anything else a misfortune.
            stopped = isinstance(error, KeyboardInterrupt)
            status: RunStatus = "cancelled" if stopped else "interrupted"
            ended = replace(
                run, status=status, ended_ns=self._now_ns(), result=_json.encode(said.document())
            )
            self._sessions.drop(live)
            if sink.has_begun:
                self._store.runs.update(ended, expected="running")
            raise

    def _finish(self, live: Live, run: Run, execution: Execution, sink: RunSink) -> None:
        assert live.machine is not None
        if execution.suspension is not None:
            self._put_away(live, run, execution)
            return
        ended = replace(
            run,
            status=_status(execution),
            ended_ns=self._now_ns(),
            result=_json.encode(_result_document(execution)),
        )
        if not live.machine.awake or not _is_kept(execution):
            # The state is the one before, so the instance is of no more use.
            self._store.runs.update(ended, expected="running", append=sink.end())
            self._sessions.drop(live)
            live.is_settled = True
            return
        assert execution.journal_hash is not None
        operation = Ran(
            run_id=run.id,
            journal_hash=execution.journal_hash,
            time_ms=execution.result.time_ms or 0,
        )
        self._sessions.keep(live, operation, run=ended, append=sink.end())
        live.is_settled = True

    def _put_away(self, live: Live, run: Run, execution: Execution) -> None:
        assert execution.suspension is not None
        away = replace(run, status="suspended", result=_json.encode(_result_document(execution)))
        self._store.runs.update(away, expected="running")
        due_ns = execution.suspension.due_ns
        if due_ns is not None:
            self._store.timers.set(Timer(id=run.id, run_id=run.id, due_ns=due_ns))
        self._sessions.drop(live)

    def recover(
        self,
        live: Live,
        handlers: Mapping[str, EffectHandler] | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> list[Run]:
        """Settle the runs that a dead process left: finished, resumed, or interrupted.

        A run is executed again, answered from its journal, and goes on where that ends. When it
        then wants something that no handler here performs, it is `interrupted`: the session is
        where it was before, the run's output so far is kept.
        """
        left = self._store.runs.list(session_id=live.row.id, status="running", limit=1)
        return [self._settle(live, run, handlers or {}, cancel) for run in left]

    def _settle(
        self,
        live: Live,
        run: Run,
        handlers: Mapping[str, EffectHandler],
        cancel: CancelToken | None,
    ) -> Run:
        journal = read_run_journal(self._store, run.id, self._sessions.limits)
        if journal is None:
            ended = replace(run, status="interrupted", ended_ns=self._now_ns())
            self._store.runs.update(ended, expected="running")
            return ended
        may_repeat = (
            live.settings.repeat_in_flight
            or journal.finish is not None
            or not open_effects(journal)
        )
        try:
            self._go_on(
                live,
                run,
                OrStop(handlers) if may_repeat else StopAtLive(),
                journal=journal,
                cancel=cancel,
            )
        except (DivergenceError, ReplayStopped):
            # What the program does now is not what it did, or nobody here can go on with it.
            return self._kept_run(run.id)
        return self._kept_run(run.id)

    def _go_on(
        self,
        live: Live,
        run: Run,
        handlers: Mapping[str, EffectHandler],
        *,
        journal: Journal | None = None,
        on_output: OutputListener | None = None,
        cancel: CancelToken | None = None,
    ) -> Execution:
        journal = journal or self._sessions.journal(run.id)
        request = self._sessions.request_of(journal)
        machine = self._sessions.awake(live)
        said = _Said(on_output)
        sink = RunSink(self._store, run.id, index=len(journal.entries))
        execution = self._execute(
            live,
            run,
            said,
            sink,
            lambda: machine.run(
                request,
                run_id=run.id,
                handlers=handlers,
                on_output=said,
                sink=sink,
                resume=journal,
                cancel=cancel,
            ),
        )
        self._finish(live, run, execution, sink)
        return execution

    def _kept_run(self, run_id: str) -> Run:
        run = self._store.runs.get(run_id)
        assert run is not None
        return run


class _Said:
    """Output so far, for a run that is cut short; hands it on to who listens.

    Args:
        listener: gets each piece too.
    """

    def __init__(self, listener: OutputListener | None) -> None:
        self._listener = listener
        self._pieces: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def __call__(self, stream: Stream, data: bytes) -> None:
        self._pieces[stream] += data
        if self._listener is not None:
            self._listener(stream, data)

    def document(self) -> dict[str, object]:
        """Return the result of a run that has no end."""
        return {
            "exit_code": None,
            "journal_hash": None,
            "stdout": self._pieces["stdout"].decode("utf-8", "replace"),
            "stderr": self._pieces["stderr"].decode("utf-8", "replace"),
            "time_ms": None,
            "memory_bytes": None,
            "error": None,
        }


def _is_kept(execution: Execution) -> bool:
    """Return whether what a run did stays: not when a limit or a crash ended it."""
    error = execution.error
    return error is None or error.case in ("runtime-failed", "compilation-failed")


def _status(execution: Execution) -> RunStatus:
    error = execution.error
    if error is None:
        return "completed"
    return "cancelled" if error.fields.get("reason") == "cancelled" else "failed"


def _result_document(execution: Execution) -> dict[str, object]:
    result, error = execution.result, execution.error
    return {
        "exit_code": execution.exit_code,
        "journal_hash": execution.journal_hash,
        "stdout": result.run.stdout,
        "stderr": result.run.stderr,
        "time_ms": result.time_ms,
        "memory_bytes": result.memory_bytes,
        "error": None if error is None else error.to_document(),
    }
