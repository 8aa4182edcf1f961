"""Rollback: what a script did is undone, as far as its tools can.

Owns the order and the record of that. Invariants:
- calls are undone in the reverse order of their completion, each by its tool's `revert`, each with
  an entry in a journal of its own before and after;
- a call is undone once, whatever dies in between: what the journal says is undone is not again;
- one that fails does not keep the others from being undone; asked again, only it is tried again.
"""

from __future__ import annotations

import inspect
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.engine.abi import Submission
from cloche.engine.virtual_os import Clock
from cloche.exec.adapters.effects import Effects
from cloche.exec.adapters.session_store import StoreSink
from cloche.gate.effect import idempotency_key
from cloche.gate.entries import EffectCompleted, EffectStarted, RunInputs, RunOutcome
from cloche.gate.gate import Gate
from cloche.gate.policy import Policy
from cloche.gate.ports import EffectFailure
from cloche.script.adapters.calls import (
    QUIET,
    TOOL_KIND,
    problem_of,
    request_of_entry,
    run_async,
)
from cloche.script.adapters.shelf import ended_row
from cloche.script.errors import RollbackPartialError, ScriptCancelledError
from cloche.script.items import settled
from cloche.script.tools import ToolContext
from cloche.store.rows import ENDED_STATUSES, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloche.gate.effect import EffectRequest
    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.script.adapters.desk import Desk
    from cloche.script.adapters.shelf import Shelf
    from cloche.script.items import CallRecord, ScriptResult
    from cloche.script.tools import Tool, ToolSet
    from cloche.store.ports import Store

REVERT_KIND: Final = "revert"
NS_PER_S: Final = 1_000_000_000
_DEADLINE_S: Final = 365 * 24 * 3600  # nothing waits for it: compensations have no limit of time
_EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_ATTEMPT_COUNT_MAX: Final = 1000


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A completed call: its number, what it was called with in the end, and what it gave."""

    sequence: int
    tool: str
    args: dict[str, Any]
    value: Any


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt at a rollback did, by the numbers of the calls."""

    reverted: tuple[int, ...] = ()
    failed: dict[int, str] = {}


class Undo:
    """Undoes runs. Callable from one thread at a time."""

    def __init__(self, tools: ToolSet, shelf: Shelf, desk: Desk, limits: Limits) -> None:
        self._tools = tools
        self._shelf = shelf
        self._desk = desk
        self._limits = limits

    def state(self, run_id: str) -> Attempt:
        """Return what was undone of a run so far, and what was tried in vain."""
        reverted: tuple[int, ...] = ()
        failed: dict[int, str] = {}
        for row in self._attempts(run_id):
            if row.status in ENDED_STATUSES:
                attempt = msgspec.json.decode(row.result, type=Attempt)
                reverted += attempt.reverted
                failed = attempt.failed
        return Attempt(reverted=reverted, failed=failed)

    def undo(self, run_id: str, journal: Journal | None) -> Attempt:
        """Undo what can be undone and is not; return what is undone then, and what is not.

        Raises:
            ToolNotFoundError, ToolNotAllowedError, ToolValidationError: the tools are not those of
                the run; nothing was undone.
        """
        before = self.state(run_id)
        done = [] if journal is None else self._done(run_id, journal)
        left = [
            call
            for call in reversed(done)
            if call.sequence not in before.reverted and self._tools[call.tool].revert is not None
        ]
        if left:
            self._attempt(run_id, left)
        return self.state(run_id)

    def _done(self, run_id: str, journal: Journal) -> list[Done]:
        """Return the completed calls, in the order of completion."""
        changed = {one.sequence: one.made for one in self._desk.of_run(run_id)}
        requests: dict[int, EffectRequest] = {}
        found: list[Done] = []
        for entry in journal.entries:
            if isinstance(entry, EffectStarted) and entry.kind == TOOL_KIND:
                requests[entry.sequence] = request_of_entry(entry)
            elif isinstance(entry, EffectCompleted) and entry.value is not None:
                request = requests[entry.sequence]
                if request.target in QUIET:
                    continue
                tool = self._tools.find(request.target)
                made = changed.get(entry.sequence)
                given = request.args if made is None or made.args is None else made.args
                args = tool.check_args(given, limits=self._limits)
                value = msgspec.json.decode(entry.value)
                found.append(
                    Done(sequence=entry.sequence, tool=request.target, args=args, value=value)
                )
        return found

    def _attempts(self, run_id: str) -> Iterator[Run]:
        for number in range(1, _ATTEMPT_COUNT_MAX):
            row = self._shelf.store.runs.get(_attempt_id(run_id, number))
            if row is None:
                return
            yield row

    def _attempt(self, run_id: str, left: list[Done]) -> None:
        store, now_ns = self._shelf.store, self._shelf.now_ns()
        rows = list(self._attempts(run_id))
        row = rows[-1] if rows and rows[-1].status not in ENDED_STATUSES else None
        if row is None:
            row = Run(
                id=_attempt_id(run_id, len(rows) + 1),
                language=REVERT_KIND,
                status="running",
                created_ns=now_ns,
                started_ns=now_ns,
                request=msgspec.json.encode({"type": "rollback", "of": run_id}),
            )
            store.runs.create(row)
        journal = self._shelf.journal(row.id)
        attempt = self._perform(row, left, journal)
        ended = replace(
            row,
            status="failed" if attempt.failed else "completed",
            ended_ns=self._shelf.now_ns(),
            result=msgspec.json.encode(attempt),
        )
        store.runs.update(ended, expected="running")

    def _perform(self, row: Run, left: list[Done], journal: Journal | None) -> Attempt:
        policy = Policy.allow(revert=["*"])
        gate = Gate(policy, self._limits, replay=journal, resume=journal is not None)
        count = 0 if journal is None else len(journal.entries)
        effects = Effects(
            gate,
            {REVERT_KIND: _Reverter(self._tools, self._shelf.store)},
            limits=self._limits,
            clock=Clock(0),
            sink=StoreSink(self._shelf.store, row.id, index=count),
            run_id=row.id,
            deadline_ns=time.monotonic_ns() + _DEADLINE_S * NS_PER_S,
            cancelled=lambda: False,
        )
        gate.started(RunInputs(language=REVERT_KIND, image_id=REVERT_KIND, filename="", code=b""))
        effects.flush()
        reverted: list[int] = []
        failed: dict[int, str] = {}
        for call in left:
            args = {"sequence": call.sequence, "args": call.args, "value": call.value}
            text = effects.call(Submission(kind=REVERT_KIND, target=call.tool, args=args), 0)
            answer = msgspec.json.decode(text)
            if "error" in answer:
                failed[call.sequence] = answer["error"]["message"]
            else:
                reverted.append(call.sequence)
        gate.finish(
            RunOutcome(
                exit_code=1 if failed else 0,
                stage="",
                stdout_sha256=_EMPTY_SHA256,
                stderr_sha256=_EMPTY_SHA256,
                files_sha256=_EMPTY_SHA256,
                clock_ns=0,
            )
        )
        effects.flush()
        effects.close()
        return Attempt(reverted=tuple(reverted), failed=failed)


class _Reverter:
    """Performs compensations (an `EffectHandler`)."""

    def __init__(self, tools: ToolSet, store: Store) -> None:
        self._tools = tools
        self._store = store

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Undo one call; see `EffectHandler`."""
        tool = self._tools[request.target]
        context = ToolContext(
            run_id=run_id,
            idempotency_key=idempotency_key(run_id, request),
            cancelled=lambda: False,
            store=self._store,
        )
        try:
            _revert(tool, request.args["args"], request.args["value"], context)
        except Exception as error:
            raise EffectFailure("TOOL_EXECUTION", problem_of(error)) from error


def _revert(tool: Tool, args: dict[str, Any], value: Any, context: ToolContext) -> None:
    revert: Any = tool.revert
    given: tuple[Any, ...] = (args, value, context)
    undone = revert(*given[: _taken_count(revert)])
    if not hasattr(undone, "__await__"):
        return

    async def awaited() -> None:
        await undone

    run_async(awaited)


def _taken_count(revert: Any) -> int:
    """Return how many of arguments, result and context a `revert` takes."""
    parameters = inspect.signature(revert).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 3
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return min(3, sum(parameter.kind in positional for parameter in parameters))


def rolled_back(
    result: ScriptResult, attempt: Attempt, sequences: Mapping[int, int]
) -> ScriptResult:
    """Return the result of a run of which something was undone.

    Args:
        result: as the run ended.
        attempt: what was undone.
        sequences: the places of the calls in the result, by their numbers.
    """
    places = {sequences[number] for number in attempt.reverted if number in sequences}
    calls: list[CallRecord] = [
        msgspec.structs.replace(call, status="reverted") if place in places else call
        for place, call in enumerate(result.tool_calls)
    ]
    changed = msgspec.structs.replace(result, tool_calls=tuple(calls))
    if not attempt.failed:
        return msgspec.structs.replace(changed, status="rolled_back", error=None)
    failed = [
        {
            "tool": result.tool_calls[sequences[number]].tool,
            "call": number,
            "place": sequences[number],
            "problem": problem,
        }
        for number, problem in attempt.failed.items()
        if number in sequences
    ]
    error = RollbackPartialError(run_id=result.run_id, failed=failed)
    return msgspec.structs.replace(changed, status="failed", error=error.to_document())


def _attempt_id(run_id: str, number: int) -> str:
    return f"{run_id}.rollback-{number}"


def give_up(shelf: Shelf, desk: Desk, row: Run, known: ScriptResult, reason: str) -> None:
    """End a run that nobody works on.

    Args:
        shelf: where it is.
        desk: cancels what is pending of it.
        row: as it is.
        known: what it has done.
        reason: for who asks what became of it.

    Raises:
        ScriptRunBusyError: somebody works on it.
    """
    error = ScriptCancelledError(reason=reason).to_document()
    calls = settled(known.tool_calls)
    result = msgspec.structs.replace(known, status="cancelled", error=error, tool_calls=calls)
    taken = shelf.take(row)
    desk.end_run(ended_row(taken.row, result, now_ns=shelf.now_ns()), expected="running")
    shelf.give_back(taken)
