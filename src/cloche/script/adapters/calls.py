"""Performs the tool calls of one run.

Owns what happens between a script's `tools.name(args)` and the function. Invariants:
- the order is: known? arguments valid? budget? a free place? policy and approval? call; result
  valid? What fails on the way is an answer for the script, with the code of its error;
- no more than `scripts.call_concurrency_max` functions run at once, the others wait;
- a call that waits for a person holds nothing: the run is put away, and asks again when it goes on;
- every call is recorded, whatever became of it; secrets are not.

Its methods are called on several threads.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from cloche.engine.abi import GuestStopped, Stop
from cloche.gate.canonical import digest, encode_canonical
from cloche.gate.effect import EffectRequest, idempotency_key
from cloche.gate.entries import EffectCompleted, EffectStarted
from cloche.gate.policy import Ask, Deny
from cloche.gate.ports import EffectFailure, EffectSuspended
from cloche.script.approvals import Approval
from cloche.script.errors import (
    ApprovalDeniedError,
    ConcurrencyLimitError,
    ScriptCancelledError,
    ScriptError,
    SerializationError,
    ToolBudgetExceededError,
    ToolExecutionError,
    ToolValidationError,
    error_of,
)
from cloche.script.excerpt import excerpt
from cloche.script.items import UNWANTED, CallRecord
from cloche.script.json_schemas import SchemaSignature
from cloche.script.policy import SPAWN, SPAWN_CONTROLS
from cloche.script.programs import RETURN_TOOL, call_places
from cloche.script.shown import redact, redact_lines, shorten
from cloche.script.tools import ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.script.adapters.desk import Desk
    from cloche.script.adapters.shelf import Asked, Quietness
    from cloche.script.items import CallStatus
    from cloche.script.policy import ToolPolicy
    from cloche.script.tools import Tool, ToolSet

NS_PER_MS: Final = 1_000_000
ABORT_TOOL: Final = "$abort"  # of the script's own side: nobody waits for a call any more
PROGRESS_TOOL: Final = "$progress"
REFUSE_TOOL: Final = "$refuse"  # arguments that cannot leave the script
STATE_TOOL: Final = "$state"  # what of the context changes
_LOOK_S: Final = 0.02  # how often an async tool is asked whether it is still wanted
TOOL_KIND: Final = "tool"
REFUSAL_CHARACTERS_MAX: Final = 1000
_FREE: Final = frozenset({"search", "describe"})  # answered here, and not counted
QUIET: Final = _FREE | {RETURN_TOOL, ABORT_TOOL, PROGRESS_TOOL, REFUSE_TOOL, STATE_TOOL}


class Apart(Protocol):
    """Calls functions so that nobody has to wait for them until they return."""

    def call(self, function: Callable[[], Any], unwanted: Callable[[], BaseException]) -> Any:
        """Return what a function returns; raise `unwanted` if that is not wanted any more."""


class ScriptCalls:
    """Answers the `tool` effects of one run, also after it was put away.

    Args:
        desk: where people are asked.
        run_id: of the script, the same when it goes on.
        asked: the script and its session.
        on_live: called before a call is performed that is in no record yet.
        on_ask: called before somebody is asked: what was recorded has to be kept by then.
    """

    def __init__(
        self,
        tools: ToolSet,
        policy: ToolPolicy,
        desk: Desk,
        *,
        run_id: str,
        asked: Asked,
        limits: Limits,
        on_live: Callable[[], None] = lambda: None,
        on_ask: Callable[[], None] = lambda: None,
        on_progress: Callable[[str, str], None] | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._is_late: Callable[[], bool] = lambda: False
        self._aborted: set[int] = set()
        self._async_tools: dict[str, bool] = {}
        self._tools = tools
        self._policy = policy
        self._desk = desk
        self._run_id = run_id
        self._asked = asked
        self._on_live = on_live
        self._on_ask = on_ask
        self.has_asked = False
        self._known_questions: frozenset[int] = frozenset()  # by the numbers of their calls
        self._limits = limits
        self._places = threading.BoundedSemaphore(limits.scripts.call_concurrency_max)
        self._lock = threading.Lock()
        self._counted: set[int] = set()
        self._lines: dict[str, int | None] | None = None
        self._records: dict[int, CallRecord] = {}
        self._over = threading.Event()
        self._apart: Apart | None = None
        self.returned: dict[str, Any] | None = None
        self._failures: dict[int, ScriptError] = {}

    @property
    def records(self) -> tuple[CallRecord, ...]:
        """What was called, in the order of the calls."""
        with self._lock:
            return tuple(self._records[number] for number in sorted(self._records))

    def quietness(self, target: str) -> Quietness:
        """Return whether calling a target twice is of any account."""
        if target in QUIET or target not in self._tools:
            return "own"
        return "reads" if self._tools[target].read_only else "changes"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the calls in `records`, in the same order."""
        with self._lock:
            return tuple(sorted(self._records))

    @property
    def failures(self) -> dict[str, dict[str, Any]]:
        """How calls failed, by their numbers, as JSON-ready data."""
        with self._lock:
            found = sorted(self._failures.items())
        return {str(number): dict(error.to_document()) for number, error in found}

    def failure_in(self, message: str) -> ScriptError | None:
        """Return the last failure that a message quotes."""
        with self._lock:
            found = sorted(self._failures.items(), reverse=True)
        return next((error for _, error in found if error.message in message), None)

    def recall(
        self,
        journal: Journal,
        failures: Mapping[str, Mapping[str, Any]],
        approvals: Iterable[Approval],
    ) -> None:
        """Take up what the journal says that the run did, without doing anything.

        Args:
            journal: of the run so far.
            failures: what is known of failed calls beyond that: see `failures`.
            approvals: of the run.
        """
        decided = {one.sequence: one for one in approvals}
        self.has_asked = bool(decided)
        self._known_questions = frozenset(decided)
        requests: dict[int, EffectRequest] = {}
        for entry in journal.entries:
            if isinstance(entry, EffectStarted) and entry.kind == TOOL_KIND:
                requests[entry.sequence] = self._recall_call(entry, decided)
            elif isinstance(entry, EffectCompleted) and entry.sequence in requests:
                request = requests[entry.sequence]
                self._recall_answer(request, entry, failures.get(str(entry.sequence)))

    def _recall_call(self, entry: EffectStarted, decided: Mapping[int, Approval]) -> EffectRequest:
        request = request_of_entry(entry)
        if request.target == RETURN_TOOL:
            self.returned = request.args if isinstance(request.args, dict) else {}
        elif request.target == ABORT_TOOL:
            self._abort(request.args)
        elif request.target not in QUIET:
            with suppress(ScriptError):
                tool = self._tools.find(request.target)
                args = tool.check_args(request.args, limits=self._limits)
                self._count(request, tool, args)
                one = decided.get(request.sequence)
                if one is not None and one.made is not None and one.made.args is not None:
                    self._note(request, args=redact(one.made.args, tool.secret_args))
        return request

    def _recall_answer(
        self, request: EffectRequest, entry: EffectCompleted, known: Mapping[str, Any] | None
    ) -> None:
        if entry.error is None:
            value = msgspec.json.decode(entry.value or b"null")
            duration_ms = entry.duration_ns // NS_PER_MS
            self._note_known(request, status="completed", value=value, duration_ms=duration_ms)
            return
        failed = msgspec.json.decode(entry.error)
        document = {"fields": {"tool": request.target}, **failed, **(known or {})}
        error = error_of(document)
        self._failures[request.sequence] = error
        self._note_known(request, status=_status_of(error), error=error.to_document())

    def _note_known(self, request: EffectRequest, **changes: Any) -> None:
        if request.sequence in self._records:
            self._note(request, **changes)

    def timed_by(self, is_late: Callable[[], bool], apart: Apart) -> ScriptCalls:
        """Stop waiting for tools when the time of the run is over; return itself.

        Args:
            is_late: whether it is.
            apart: has the functions of tools, so that nobody has to wait for them.
        """
        self._is_late = is_late
        self._apart = apart
        return self

    def is_over(self) -> bool:
        """Whether nobody wants the results of tools any more."""
        return self._over.is_set() or self._is_late()

    def end(self) -> None:
        """Tell tools that are still running that nobody wants their results."""
        self._over.set()

    def perform(self, request: EffectRequest, run_id: str) -> Any:  # noqa: ARG002 - the port's shape
        """Answer one call; see `EffectHandler`."""
        self._on_live()
        if request.target == RETURN_TOOL:
            self.returned = request.args if isinstance(request.args, dict) else {}
            return None
        if request.target == ABORT_TOOL:
            self._abort(request.args)
            return None
        if request.target == PROGRESS_TOOL:
            self._progress(request.args)
            return None
        if request.target == STATE_TOOL:
            return self._state()
        try:
            if request.target == REFUSE_TOOL:
                raise _refused(request.args)
            if request.target in _FREE:
                return self._look_up(request)
            return self._call(request)
        except ScriptError as error:
            with self._lock:
                self._failures[request.sequence] = error
            raise EffectFailure(error.code, error.message, retryable=error.retryable) from error

    def _abort(self, args: Any) -> None:
        """Tell a call that its result is not wanted any more."""
        number = args.get("number") if isinstance(args, dict) else None
        if isinstance(number, int):
            self._aborted.add(number)

    def _progress(self, args: Any) -> None:
        if self._on_progress is None or not isinstance(args, dict):
            return
        message = str(args.get("message"))[: self._limits.scripts.progress_limit_bytes]
        # What shows progress is no part of the run: if it fails, nothing is lost but the message.
        with suppress(Exception):
            self._on_progress(message, str(args.get("kind")))

    def _state(self) -> dict[str, Any]:
        """Return what a script may know of its run as it is now."""
        with self._lock:
            left = max(0, self._limits.scripts.call_count_max - len(self._counted))
        own = self._desk.of_run(self._run_id) if self.has_asked else ()
        last = max(own, key=lambda one: (one.created_ms, one.sequence), default=None)
        request = None
        if last is not None:
            request = {"id": last.id, "tool": last.tool, "status": last.status}
        return {"toolCallsLeft": left, "lastRequest": request}

    def _look_up(self, request: EffectRequest) -> Any:
        args = request.args
        if isinstance(args, list) and len(args) == 1:
            args = args[0]
        if isinstance(args, dict) and len(args) == 1:
            (args,) = args.values()
        if not isinstance(args, str):
            problem = "expected one text"
            raise ToolValidationError(tool=request.target, subject="arguments", problem=problem)
        return (
            self._tools.search(args)
            if request.target == "search"
            else self._tools.find(args).describe()
        )

    def _call(self, request: EffectRequest) -> Any:
        tool = self._tools.find(request.target)
        args = tool.check_args(request.args, limits=self._limits)
        self._count(request, tool, args)
        try:
            self._check_wanted(request)
            with self._places:
                self._check_wanted(request)
                args = self._admit(request, tool, args)
                value, duration_ms = self._invoke(request, tool, args)
            value = tool.check_result(value, limits=self._limits)
        except ScriptError as error:
            if isinstance(error, ScriptCancelledError) and self._is_late():
                # It is unfinished and did not fail by itself; and no script catches its own end.
                raise GuestStopped(Stop(kind="cancelled")) from error
            self._note(request, status=_status_of(error), error=error.to_document())
            raise
        self._note(request, status="completed", value=value, duration_ms=duration_ms)
        return value

    def _check_wanted(self, request: EffectRequest) -> None:
        if self._over.is_set() or request.sequence in self._aborted:
            raise ScriptCancelledError(reason=UNWANTED)

    def _check_active(self) -> None:
        # Only a run that was asked about can have been ended by somebody else.
        if self.has_asked and self._desk.run_status(self._run_id) != "active":
            raise ScriptCancelledError(reason="the run is over")

    def _count(self, request: EffectRequest, tool: Tool, args: dict[str, Any]) -> None:
        limit = self._limits.scripts.call_count_max
        with self._lock:
            if request.sequence not in self._counted and len(self._counted) >= limit:
                raise ToolBudgetExceededError(limit=limit)
            self._counted.add(request.sequence)
            shown = redact(args, tool.secret_args)
            self._records[request.sequence] = CallRecord(
                tool=tool.name, args=shown, status="pending", line=self._line_of(tool.name)
            )

    def _line_of(self, tool: str) -> int | None:
        """Return the line of the script that calls a tool, None if several may have done it."""
        if self._lines is None:
            self._lines = {}
            for name, line in call_places(self._asked.source, self._asked.language):
                known = self._lines.setdefault(name, line)
                self._lines[name] = line if known == line else None
        return self._lines.get(tool)

    def _note(self, request: EffectRequest, **changes: Any) -> None:
        with self._lock:
            record = self._records[request.sequence]
            self._records[request.sequence] = msgspec.structs.replace(record, **changes)

    # --- may it happen? ---

    def _admit(self, request: EffectRequest, tool: Tool, args: dict[str, Any]) -> dict[str, Any]:
        decision = self._policy.decide(tool, args, limits=self._limits)
        if isinstance(decision, Ask):
            return self._ask(request, tool, args, decision)  # only in a run that is active
        self._check_active()
        if isinstance(decision, Deny):
            raise ApprovalDeniedError(tool=tool.name, reason=decision.reason)
        return args

    def _ask(
        self, request: EffectRequest, tool: Tool, args: dict[str, Any], decision: Ask
    ) -> dict[str, Any]:
        now_ms = self._desk.clock_ms()
        asked = self._asked
        line, shown_lines = excerpt(asked.source, asked.language, tool.name)
        done = tuple(record.tool for record in self.records if record.status == "completed")
        question = Approval(
            id=idempotency_key(self._run_id, request),
            run_id=self._run_id,
            session_id=asked.session_id,
            tool=tool.name,
            shown=shorten(redact(args, tool.secret_args), limits=self._limits),
            args_sha256=digest(encode_canonical(args)),
            who=decision.who,
            created_ms=now_ms,
            expires_ms=now_ms + decision.expires_ms,
            script_sha256=asked.sha256,
            line=line,
            excerpt=redact_lines(shown_lines, args, tool.secret_args),
            sequence=request.sequence,
            tools_used=done,
            calls_left=max(0, self._limits.scripts.call_count_max - len(self._counted)),
            detached=tuple(
                name for name in done if name.startswith(SPAWN) and name not in SPAWN_CONTROLS
            ),
            parameters=_strict(tool),
        )
        self.has_asked = True
        self._on_ask()
        step = self._desk.ask(question, is_known=request.sequence in self._known_questions)
        if step.refused == "run_over":
            raise ScriptCancelledError(reason="the run is over")
        if step.refused is not None or step.approval is None:
            raise ConcurrencyLimitError(limit=self._limits.scripts.approval_count_max)
        approval, made = step.approval, step.approval.made
        if approval.status == "pending" or made is None:
            raise EffectSuspended
        if approval.status != "approved":
            raise ApprovalDeniedError(
                tool=tool.name, reason=made.reason or "no reason was given", who=made.who
            )
        if made.args is None:
            return args
        args = tool.check_args(made.args, limits=self._limits)
        self._note(request, args=redact(args, tool.secret_args))
        return args

    # --- the call ---

    def _is_async(self, tool: Tool) -> bool:
        known = self._async_tools.get(tool.name)
        if known is None:
            known = self._async_tools[tool.name] = inspect.iscoroutinefunction(tool.function)
        return known

    def _invoke(self, request: EffectRequest, tool: Tool, args: dict[str, Any]) -> tuple[Any, int]:
        named = tool.signature.call_arguments(args)
        number = request.sequence

        def is_cancelled() -> bool:
            return number in self._aborted or self._over.is_set() or self._is_late()

        if tool.context_name is not None:
            named[tool.context_name] = ToolContext(
                run_id=self._run_id,
                idempotency_key=idempotency_key(self._run_id, request),
                cancelled=is_cancelled,
                store=self._desk.store,
            )
        started_ns = time.monotonic_ns()
        try:
            value = _finished(tool, named, is_cancelled, self._apart, self._is_async(tool))
        except ScriptError:
            raise
        except Exception as error:
            raise ToolExecutionError(
                tool=tool.name,
                problem=problem_of(error),
                stderr=str(getattr(error, "stderr", "") or ""),
                exit_code=getattr(error, "returncode", None),
            ) from error
        return value, (time.monotonic_ns() - started_ns) // NS_PER_MS


def _finished(
    tool: Tool,
    named: dict[str, Any],
    is_cancelled: Callable[[], bool],
    apart: Apart | None,
    is_async: bool,
) -> Any:
    if is_async or apart is None:
        value = tool.function(**named)
    else:
        value = apart.call(lambda: tool.function(**named), _unwanted)
    if not hasattr(value, "__await__"):
        return value

    async def awaited() -> Any:
        task = asyncio.ensure_future(value)
        left_s = None if tool.timeout_ms is None else tool.timeout_ms / 1000
        started_s = time.monotonic()
        while True:
            done, _ = await asyncio.wait([task], timeout=_LOOK_S)
            if done:
                return task.result()
            if is_cancelled():
                task.cancel()
                await asyncio.wait([task], timeout=_LOOK_S)
                raise ScriptCancelledError(reason=UNWANTED)
            if left_s is not None and time.monotonic() - started_s > left_s:
                task.cancel()
                raise TimeoutError(f"not done within {tool.timeout_ms} ms")

    return run_async(awaited)


def _unwanted() -> ScriptCancelledError:
    return ScriptCancelledError(reason=UNWANTED)


def run_async(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Return what a coroutine gives, also where this thread has an event loop at work already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()


def _refused(args: Any) -> SerializationError:
    """Return the error of arguments that the script's side cannot hand over whole."""
    known = args if isinstance(args, dict) else {}
    path, problem, name = (
        str(known.get(member, ""))[:REFUSAL_CHARACTERS_MAX]
        for member in ("path", "problem", "tool")
    )
    return SerializationError(path=path, problem=f"(an argument of '{name}') {problem}")


def _strict(tool: Tool) -> dict[str, Any]:
    """Return the schema of what a call takes: a function takes nothing that it does not name."""
    parameters = tool.signature.parameters
    if isinstance(tool.signature, SchemaSignature):
        return parameters
    return {"additionalProperties": False, **parameters}


def request_of_entry(entry: EffectStarted) -> EffectRequest:
    """Return the request that a journal's entry records."""
    return EffectRequest(
        sequence=entry.sequence,
        task=entry.task,
        ordinal=entry.ordinal,
        kind=entry.kind,
        target=entry.target,
        args=msgspec.json.decode(entry.args),
        args_text=entry.args,
    )


def _status_of(error: ScriptError) -> CallStatus:
    """Return the status of a call that ended with an error."""
    if isinstance(error, ApprovalDeniedError):
        return "denied"
    return "cancelled" if isinstance(error, ScriptCancelledError) else "failed"


def problem_of(error: Exception) -> str:
    """Return what went wrong in a function of the host: its code or the kind of error, in words."""
    if isinstance(error, EffectFailure):
        return f"{error.error.code}: {error.error.message}"
    return f"{type(error).__name__}: {error}"
