"""The life of a script's run, in a store: begun, put away, taken up, ended, repeated.

Owns the order of these. Invariants:
- whatever kills this process, the run goes on from its journal: no completed call is made again;
- a run that is put away is rows in the store, and its clock stands still;
- a run that was rejected or that expired is never executed again;
- an ended run stays as it is: to go on with it gives its result.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.exec.adapters.apart import Apart
from cloche.exec.adapters.process_owner import is_gone, owner_name
from cloche.exec.api import default_runner, make_request
from cloche.gate.entries import EffectCompleted
from cloche.gate.errors import DivergenceError
from cloche.gate.policy import Policy
from cloche.script.adapters.active import ActiveTime
from cloche.script.adapters.calls import TOOL_KIND, ScriptCalls
from cloche.script.adapters.desk import Desk, rejection, status_of
from cloche.script.adapters.shelf import Asked, Shelf, ShelfSink, Taken, Used, ended_row
from cloche.script.errors import ScriptRunBusyError, ScriptRunStateError
from cloche.script.inbox import Answer, answer_of
from cloche.script.items import ScriptResult, settled
from cloche.script.outcome import Ended
from cloche.script.programs import FILENAMES, IMAGES
from cloche.script.repeats import changed_program, prefix_count, used_tools
from cloche.script.undo import Undo, give_up, rolled_back
from cloche.script.way_out import url_of
from cloche.script.work import Work, end_of, guest_limits, made_by, result_of, unfinished
from cloche.store.errors import StoreChangedError, StoreError
from cloche.store.rows import FINAL_STATUSES, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, Runner
    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.script.approvals import Approval, Made
    from cloche.script.events import Teller
    from cloche.script.finder import Language
    from cloche.script.policy import ToolPolicy
    from cloche.script.tools import ToolSet
    from cloche.script.work import Approver
    from cloche.store.ports import Store
    from cloche.store.rows import RunStatus

NS_PER_MS: Final = 1_000_000
KEPT_RUN_COUNT_MAX: Final = 1000  # ended runs in a store that is nobody else's
_POLICY: Final = Policy.allow(tool=["*"])  # of the gate; calls have one of their own


class ScriptRuns:
    """Runs scripts, from their start to their end. Callable from one thread at a time.

    Args:
        tools: what scripts may call.
        policy: rules about calls.
        store: where runs and approvals are kept.
        approver: asked about calls that wait; None, or an answer of None: they keep waiting.
        limits: of everything.
        clock_ms: wall clock.
        program: returns the program around a script, for a run of this id.
        on_progress: gets the progress messages of scripts.
        teller: is told what happens to runs.
        forgets: whether the store is nobody else's, so that old runs may go.
    """

    def __init__(
        self,
        tools: ToolSet,
        policy: ToolPolicy,
        store: Store,
        *,
        approver: Approver | None,
        limits: Limits,
        clock_ms: Callable[[], int],
        program: Callable[[Asked, str], str],
        on_progress: Callable[[str, str], None] | None = None,
        teller: Teller,
        forgets: bool = False,
    ) -> None:
        self._tools = tools
        self._policy = policy
        self._store = store
        self._approver = approver
        self._limits = limits
        self._clock_ms = clock_ms
        self._program = program
        self._on_progress = on_progress
        self._teller = teller
        self._guest_limits = limits, guest_limits(limits)  # the last that were asked for
        self._ended_ids: deque[str] | None = deque() if forgets else None
        self.desk = Desk(store, clock_ms=clock_ms, limits=limits)
        self.shelf = Shelf(
            store, now_ns=self._now_ns, owner=owner_name(), is_gone=is_gone, limits=limits
        )
        self._undo = Undo(tools, self.shelf, self.desk, limits)

    @property
    def _runner(self) -> Runner:
        runner, url = default_runner(), url_of(self._store)
        return runner if url is None else runner.for_store(url)

    def _now_ns(self) -> int:
        return self._clock_ms() * NS_PER_MS

    # --- what can be done ---

    def start(
        self, run_id: str, asked: Asked, *, cancel: CancelToken | None = None
    ) -> ScriptResult:
        """Run a script until it is over, or nobody decides what it waits for."""
        limits = self.limits_of(asked)
        request = self.request(self._program(asked, run_id), asked.language, limits)
        work = self._work(self.shelf.begin(run_id, asked), asked, request, None)
        work.is_new = True
        self._teller.begins("started", run_id, asked)
        return self._go(work, cancel)

    def resume(self, run_id: str, *, cancel: CancelToken | None = None) -> ScriptResult:
        """Go on with a run that was put away, or that a dead process left.

        Returns:
            How it ended; "suspended" again while nothing of what it waits for was decided.

        Raises:
            ScriptRunUnknownError: there is none.
            ScriptRunBusyError: somebody works on it, or did so until a moment ago.
            ScriptRunStateError: tools that it used are not given here; nothing happened.
            DivergenceError: what the program does now is not what it did; both sides are shown.
            ApprovalTamperedError: an answer in the store is not the one that was given.
        """
        work = self._take_up(run_id)
        if isinstance(work, ScriptResult) and work.status == "suspended" and self._ask(run_id):
            work = self._take_up(run_id)
        if isinstance(work, ScriptResult):
            return work
        self._teller.begins("resumed", run_id, work.asked)
        return self._go(work, cancel)

    def result(self, run_id: str) -> ScriptResult:
        """Return what is known of a run now; "suspended" with what it has done, if it is not over.

        Raises:
            ScriptRunUnknownError: there is none.
        """
        return self._known(self.shelf.row(run_id))

    def decide(self, approval_id: str, made: Made) -> Answer:
        """Decide about a call; see `Inbox.decide`.

        Raises:
            ToolValidationError: changed arguments do not fit; nothing was decided.
        """
        known = self.desk.get(approval_id)
        if known is not None and made.args is not None:
            args = self._tools.find(known.tool).check_args(made.args, limits=self._limits)
            made = msgspec.structs.replace(made, args=args)
        return answer_of(self.desk.decide(approval_id, made))

    def replay(self, run_id: str, *, source: str | None = None) -> ScriptResult:
        """Run an ended run again, every call answered from its journal; nothing is performed.

        Args:
            run_id: of a run that ended.
            source: another script, to see where it does something else.

        Raises:
            DivergenceError: it did something else, or is another script; both sides are shown.
            ScriptRunStateError: it has not ended.
        """
        row = self.shelf.row(run_id)
        asked, journal = self.shelf.asked(row), self.shelf.journal(run_id)
        if journal is None or journal.finish is None:
            raise ScriptRunStateError(run_id=run_id, problem="has not ended: nothing to replay")
        request = self._recorded_request(run_id, asked, journal)
        if source is not None:
            request = dataclasses.replace(
                request, code=changed_program(request.code, asked, source)
            )
        work = self._work(Taken(row, since_ns=0), asked, request, journal)
        execution = self._runner.execute(request, replay=journal)
        if source is not None and source != asked.source:
            raise DivergenceError(
                index=0,
                reason="another script, which did the same",
                recorded={"source": asked.source},
                requested={"source": source},
            )
        result = result_of(work, execution, end_of(work, execution, self.desk))
        kept = self.shelf.result(row)
        if kept is None or all(call.tool in self._tools for call in kept.tool_calls):
            return result
        # Without its tool nobody knows which arguments of a call are secret: as they were kept.
        calls = kept.tool_calls
        usage = {**result.usage, "tool_calls": len(calls)}
        return msgspec.structs.replace(result, tool_calls=calls, usage=usage)

    def fork(
        self, run_id: str, *, calls: int, new_id: str, cancel: CancelToken | None = None
    ) -> ScriptResult:
        """Begin a run that shares the first calls of another one, and goes on by itself.

        The answers of these calls are taken from the journal; everything behind them happens, and
        is asked about, anew.

        Args:
            run_id: of any run.
            calls: how many.
            new_id: of the new run.
            cancel: stops it.

        Raises:
            ScriptRunStateError: it has fewer calls, or they had not all been answered where the
                next one began.
        """
        row = self.shelf.row(run_id)
        asked, journal = self.shelf.asked(row), self.shelf.journal(run_id)
        count = 0 if journal is None else prefix_count(run_id, journal, calls)
        asked = msgspec.structs.replace(asked, forked_from=run_id)
        now_ns = self._now_ns()
        new = dataclasses.replace(
            row,
            id=new_id,
            status="suspended",
            created_ns=now_ns,
            started_ns=None,
            ended_ns=None,
            request=msgspec.json.encode(asked),
            usage=b"{}",
            result=b"{}",
        )
        self._store.runs.create(new)
        copied = 0
        while copied < count:
            page = self._store.journals.read(run_id, start=copied, limit=min(1000, count - copied))
            copied = self._store.journals.append(new_id, page, expected_count=copied)
        return self.resume(new_id, cancel=cancel)

    def rollback(self, run_id: str) -> ScriptResult:
        """Undo what a run did, and end it if it waits: see `undo`.

        Returns:
            "rolled_back" when everything was undone whose tool has a `revert`; else "failed" with
            `ROLLBACK_PARTIAL`, and asking again tries the rest.

        Raises:
            ScriptRunUnknownError: there is none. ScriptRunBusyError: somebody works on it.
            ToolNotFoundError, ToolValidationError: the tools are not those of the run; nothing was
                undone.
        """
        self.cancel(run_id, "the run was rolled back")
        self._undo.undo(run_id, self.shelf.journal(run_id))
        return self.result(run_id)

    def cancel(self, run_id: str, reason: str = "the run was cancelled") -> ScriptResult:
        """End a run that nobody works on; one that is over stays as it is.

        Raises:
            ScriptRunUnknownError: there is none. ScriptRunBusyError: somebody works on it.
        """
        row = self.shelf.row(run_id)
        if row.status not in FINAL_STATUSES:
            give_up(self.shelf, self.desk, row, self._known(row), reason)
        return self.result(run_id)

    def prune(self) -> int:
        """Remove runs of scripts that ended and are too old or too many; return how many."""
        scripts, now_ns = self._limits.scripts, self._now_ns()
        oldest_ns = now_ns - scripts.kept_run_ms * NS_PER_MS
        kept = removed = 0
        for row in list(self._ended_rows()):
            kept += 1
            if kept > scripts.kept_run_count_max or (row.ended_ns or now_ns) < oldest_ns:
                kept -= 1
                removed += self._store.runs.delete(row.id)
        return removed

    def _ended_rows(self) -> Iterator[Run]:
        after, most = "", self._limits.store.page_count_max
        while page := self._store.runs.list(after=after, limit=most):
            for row in page:
                if row.status in FINAL_STATUSES and self.shelf.is_script(row):
                    yield row
            if len(page) < most:
                return
            after = page[-1].id

    # --- one part of a run ---

    def _go(self, work: Work, cancel: CancelToken | None) -> ScriptResult:
        result = self._until_over(work, cancel)
        self._teller.stops(work.asked, result)
        return result

    def _until_over(self, work: Work, cancel: CancelToken | None) -> ScriptResult:
        while True:
            result = self._advance(work, cancel)
            if result.status != "suspended" or not self._ask(result.run_id):
                return result
            again = self._take_up(result.run_id)
            if isinstance(again, ScriptResult):
                return again
            work = again

    def _advance(self, work: Work, cancel: CancelToken | None) -> ScriptResult:
        """Execute a run until it is over or waits, and keep what became of it."""
        try:
            execution = self._execute(work, cancel)
            if self._is_spoilt(work, execution):
                work = self._again(work)
                execution = self._execute(work, cancel)
            if execution.suspension is not None:
                return self._park(work, execution)
            return self._over(work, execution)
        except StoreChangedError:
            self._release(work)
            until_ms = self._now_ns() // NS_PER_MS + self._limits.sessions.lease_ms
            raise ScriptRunBusyError(run_id=work.id, until_ms=until_ms) from None
        except BaseException as error:
            self._interrupt(work, error)
            raise

    def _is_spoilt(self, work: Work, execution: Execution) -> bool:
        """Whether the harness itself failed in a new run that has done nothing yet."""
        error = execution.error
        is_ours = error is not None and error.blame == "cloche"
        return is_ours and work.is_new and not work.calls.records

    def _again(self, work: Work) -> Work:
        """Return the run as it was before it began; what is kept of it is forgotten."""
        self._release(work)
        self._store.runs.delete(work.id)
        again = self._work(self.shelf.begin(work.id, work.asked), work.asked, work.request, None)
        again.is_new, again.attempts = True, work.attempts + 1
        return again

    def _execute(self, work: Work, cancel: CancelToken | None) -> Execution:
        timeout_ms = work.limits.scripts.timeout_ms
        count = 0 if work.journal is None else len(work.journal.entries)
        is_resumed = work.journal is not None
        # What calls no tool needs no thread. Who finds another way to one gets it call by call.
        is_apart = "tools" in work.asked.source
        left_ms = max(1, timeout_ms - work.used_ms)
        time = work.time = ActiveTime(
            cancel, left_ms=left_ms, resumed=is_resumed, is_watched=is_apart
        )
        work.taken.on_loss = time.cancel
        sink = work.sink = ShelfSink(
            self._store,
            work.taken.row,
            count=count,
            is_new=work.is_new,
            on_append=time.go_live,
            quietness=work.calls.quietness,
        )
        apart = Apart(work.calls.is_over, time.look)
        try:
            return self._runner.execute(
                work.request,
                handlers={TOOL_KIND: work.calls.timed_by(time.is_over, apart)},
                sink=sink,
                resume=work.journal,
                cancel=time,
                run_id=work.id,
                aside=apart if is_apart else None,
            )
        finally:
            work.used_ms += time.stop()

    def _park(self, work: Work, execution: Execution) -> ScriptResult:
        work.flush()
        result = result_of(work, execution, Ended(status="suspended"))
        used = Used(time_ms=work.used_ms, failures=work.calls.failures)
        self.shelf.park(work.taken, used, result)
        status = self.desk.run_status(work.id)
        if status != "active":
            # Somebody ended it while it was at work.
            return self._reject(self.shelf.row(work.id))
        return result

    def _over(self, work: Work, execution: Execution) -> ScriptResult:
        work.calls.end()
        if work.sink is not None and work.sink.open_sequences(work.journal):
            # What became of calls that nobody awaited is what the journal says, not what threads
            # have noted by now: so a result does not depend on their speed.
            work.flush()
            work.calls = self._recalled(work)
        result = result_of(work, execution, end_of(work, execution, self.desk))
        used = Used(time_ms=work.used_ms, failures=work.calls.failures)
        row = dataclasses.replace(work.taken.row, usage=msgspec.json.encode(used))
        self._end(work, row, result)
        return result

    def _end(self, work: Work, row: Run, result: ScriptResult) -> None:
        ended = ended_row(row, result, now_ns=self._now_ns())
        if work.sink is None:
            self.desk.end_run(ended, expected="running")
        elif work.calls.has_asked:
            self.desk.end_run(ended, expected="running", append=work.sink.take())
        else:
            work.sink.end(ended)  # nobody can have decided anything about a run that asked nothing
        self._release(work)
        if self._ended_ids is not None:
            self._ended_ids.append(work.id)
            if len(self._ended_ids) > KEPT_RUN_COUNT_MAX:
                self._store.runs.delete(self._ended_ids.popleft())

    def _interrupt(self, work: Work, error: BaseException) -> None:
        """Say in the store that nobody is at work on a run any more, as far as that can be said."""
        work.calls.end()
        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(StoreError):
            row = self._store.runs.get(work.id)
            if row is not None and row.status == "running":
                result = unfinished(work, "cancelled" if stopped else "failed")
                ended = ended_row(row, result, now_ns=self._now_ns())
                status: RunStatus = "cancelled" if stopped else "interrupted"
                ended = dataclasses.replace(ended, status=status)
                # What an interrupted run asked stays open: it may yet go on.
                end = self.desk.end_run if stopped else self._store.runs.update
                end(ended, expected="running")
            self._release(work)

    def _release(self, work: Work) -> None:
        work.taken.on_loss = None
        self.shelf.give_back(work.taken)

    # --- taking up ---

    def _take_up(self, run_id: str) -> Work | ScriptResult:
        row = self.shelf.row(run_id)
        if row.status in FINAL_STATUSES:
            return self._known(row)
        if self.desk.expire().audit:
            row = self.shelf.row(run_id)
            if row.status in FINAL_STATUSES:
                return self._known(row)
        own = self.desk.checked(run_id)
        if status_of(own) != "active":
            return self._reject(row)
        if row.status == "suspended" and not self._can_go_on(run_id, own):
            return self._known(row)
        known = self.shelf.result(row)
        names = used_tools(own, known, None if known else self.shelf.journal(run_id))
        if missing := sorted(name for name in names if name not in self._tools):
            # It would fail, and be over.
            problem = f"used tools that are not given here: {', '.join(missing)}. Give them"
            raise ScriptRunStateError(run_id=run_id, problem=f"{problem}; nothing happened")
        asked, used = self.shelf.asked(row), self.shelf.used(row)
        taken = self.shelf.take(row)
        journal = self.shelf.journal(run_id)
        request = self._recorded_request(run_id, asked, journal)
        return self._work(taken, asked, request, journal, used, own)

    def _can_go_on(self, run_id: str, own: Sequence[Approval]) -> bool:
        """Whether anything that a run waits for has been decided."""
        if not any(one.status == "pending" for one in own):
            return True
        journal = self.shelf.journal(run_id)
        entries = () if journal is None else journal.entries
        answered = {one.sequence for one in entries if isinstance(one, EffectCompleted)}
        decided = (one for one in own if one.status in {"approved", "rejected"})
        return any(one.sequence not in answered for one in decided)

    def _reject(self, row: Run) -> ScriptResult:
        """End a run that its approvals ended."""
        own = self.desk.of_run(row.id)
        error = rejection(self.desk.run_status(row.id), own).to_document()
        asked = self.shelf.asked(row)
        known = self.shelf.result(row) or ScriptResult(
            script_id=asked.script_id, run_id=row.id, status="rejected"
        )
        calls = settled(known.tool_calls)
        result = msgspec.structs.replace(known, status="rejected", error=error, tool_calls=calls)
        taken = self.shelf.take(row)
        self.desk.end_run(ended_row(taken.row, result, now_ns=self._now_ns()), expected="running")
        self.shelf.give_back(taken)
        return result

    def _ask(self, run_id: str) -> bool:
        """Ask about what a run waits for; return whether anything was decided."""
        approver = self._approver
        if approver is None:
            return False
        decided = False
        for approval in self.desk.pending(run_id):
            made = made_by(approver, approval)
            if made is not None:
                decided = self.decide(approval.id, made).changed or decided
        return decided

    # --- what it is made of ---

    def _recalled(self, work: Work) -> ScriptCalls:
        journal = self.shelf.journal(work.id)
        used = Used(failures=work.calls.failures)
        return self._work(work.taken, work.asked, work.request, journal, used).calls

    def _work(
        self,
        taken: Taken,
        asked: Asked,
        request: Any,
        journal: Journal | None,
        used: Used | None = None,
        own: Sequence[Approval] | None = None,
    ) -> Work:
        used = used or Used()
        limits = self.limits_of(asked)
        calls = ScriptCalls(
            self._tools,
            self._policy,
            self.desk,
            run_id=taken.row.id,
            asked=asked,
            limits=limits,
            on_progress=self._on_progress,
            # Putting the run away is durable, and nobody decides without that what they decide is.
            on_ask=lambda: work.flush(is_lazy=True),
            on_live=lambda: work.go_live(),  # noqa: PLW0108 - there is no `work` yet
        )
        if journal is not None:
            failures = used.failures or self.shelf.used(taken.row).failures
            calls.recall(journal, failures, self.desk.of_run(taken.row.id) if own is None else own)
        work = Work(
            taken=taken,
            asked=asked,
            request=request,
            calls=calls,
            limits=limits,
            journal=journal,
            used_ms=used.time_ms,
        )
        return work

    def limits_of(self, asked: Asked) -> Limits:
        """Return the limits of a run: those of everything, with what was asked for it.

        Raises:
            LimitError: there is no such limit, or it is out of range.
        """
        return self._limits.replace({"scripts": asked.limits}) if asked.limits else self._limits

    def request(self, program: str, language: Language, limits: Limits) -> Any:
        """Return the request that runs a program with the limits of scripts."""
        known, own = self._guest_limits
        if known is not limits:
            own = guest_limits(limits)
            self._guest_limits = limits, own
        return make_request(
            program,
            language=language,
            filename=FILENAMES[language],
            limits=own,
            policy=_POLICY,
            image=IMAGES[language],
        )

    def _recorded_request(self, run_id: str, asked: Asked, journal: Journal | None) -> Any:
        """Return the request of a run that has begun: the program is the recorded one."""
        limits = self.limits_of(asked)
        if journal is None:
            return self.request(self._program(asked, run_id), asked.language, limits)
        inputs = journal.inputs
        request = self.request(inputs.code.decode(), asked.language, limits)
        return dataclasses.replace(request, seed=inputs.seed, now_ns=inputs.now_ns)

    # --- what became of it ---

    def _known(self, row: Run) -> ScriptResult:
        known = self.shelf.result(row)
        if known is not None:
            attempt = self._undo.state(row.id) if row.status in FINAL_STATUSES else None
            if attempt is None or not (attempt.reverted or attempt.failed):
                return known
            return rolled_back(known, attempt, self._places(row))
        asked = self.shelf.asked(row)
        return ScriptResult(script_id=asked.script_id, run_id=row.id, status="suspended")

    def _places(self, row: Run) -> dict[int, int]:
        """Return the places of the calls of a run in its result, by their numbers."""
        journal = self.shelf.journal(row.id)
        taken = Taken(row, since_ns=0)
        asked = self.shelf.asked(row)
        work = self._work(taken, asked, None, journal)
        return {number: place for place, number in enumerate(work.calls.numbers)}
