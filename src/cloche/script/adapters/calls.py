"""Performs the tool calls of one run.

Owns what happens between a script's `tools.name(args)` and the function. Invariants:
- the order is: known? arguments valid? budget? policy and approval? a free place? call; result
  valid? What fails on the way is an answer for the script, with the code of its error;
- no more than `scripts.call_concurrency_max` functions run at once, the others wait;
- a call that waits for a person holds nothing: the run is put away, and asks again when it goes on;
- every call is recorded, whatever became of it; secrets are not.

Its methods are called on several threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.gate.canonical import digest, encode_canonical
from cloche.gate.effect import EffectError, idempotency_key
from cloche.gate.policy import Ask, Deny
from cloche.gate.ports import EffectFailure, EffectSuspended
from cloche.script import approvals
from cloche.script.approvals import Approval, Ledger, Step
from cloche.script.errors import (
    ApprovalDeniedError,
    ConcurrencyLimitError,
    ScriptCancelledError,
    ScriptError,
    ToolBudgetExceededError,
    ToolExecutionError,
    ToolValidationError,
)
from cloche.script.items import CallRecord
from cloche.script.programs import RETURN_TOOL
from cloche.script.shown import redact, shorten
from cloche.script.tools import ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.gate.effect import EffectRequest
    from cloche.limits import Limits
    from cloche.script.policy import ToolPolicy
    from cloche.script.tools import Tool, ToolSet

NS_PER_MS: Final = 1_000_000
ABORT_TOOL: Final = "$abort"  # of the script's own side: nobody waits for a call any more
PROGRESS_TOOL: Final = "$progress"
_LOOK_S: Final = 0.02  # how often an async tool is asked whether it is still wanted
_FREE: Final = frozenset({"search", "describe"})  # answered here, and not counted


class Book:
    """The approvals of a harness, for all its runs and threads."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self.ledger = Ledger()
        self.audit: list[approvals.AuditEntry] = []
        self.clock_ms = clock_ms
        self._lock = threading.Lock()

    def take(self, event: Callable[[Ledger], Step]) -> Step:
        """Let an event happen."""
        with self._lock:
            step = event(self.ledger)
            self.ledger = step.ledger
            self.audit += step.audit
            return step


class ScriptCalls:
    """Answers the `tool` effects of one run, also after it was put away.

    Args:
        run_id: of the script, the same when it goes on.
        session_id: what lasting decisions hold for.
        sha256: of the script.
    """

    def __init__(
        self,
        tools: ToolSet,
        policy: ToolPolicy,
        book: Book,
        *,
        run_id: str,
        session_id: str,
        sha256: str,
        limits: Limits,
        on_progress: Callable[[str, str], None] | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._aborted: dict[int, threading.Event] = {}
        self._tools = tools
        self._policy = policy
        self._book = book
        self._run_id = run_id
        self._session_id = session_id
        self._sha256 = sha256
        self._limits = limits
        self._places = threading.BoundedSemaphore(limits.scripts.call_concurrency_max)
        self._lock = threading.Lock()
        self._counted: set[int] = set()
        self._records: dict[int, CallRecord] = {}
        self._over = threading.Event()
        self.returned: dict[str, Any] | None = None
        self.last_error: ScriptError | None = None

    @property
    def records(self) -> tuple[CallRecord, ...]:
        """What was called, in the order of the calls."""
        with self._lock:
            return tuple(self._records[number] for number in sorted(self._records))

    def end(self) -> None:
        """Tell tools that are still running that nobody wants their results."""
        self._over.set()

    def perform(self, request: EffectRequest, run_id: str) -> Any:  # noqa: ARG002 - the port's shape
        """Answer one call; see `EffectHandler`."""
        if request.target == RETURN_TOOL:
            self.returned = request.args if isinstance(request.args, dict) else {}
            return None
        if request.target == ABORT_TOOL:
            self._abort(request.args)
            return None
        if request.target == PROGRESS_TOOL:
            self._progress(request.args)
            return None
        try:
            if request.target in _FREE:
                return self._look_up(request)
            return self._call(request)
        except ScriptError as error:
            self.last_error = error
            raise EffectFailure(error.code, error.message, retryable=error.retryable) from error

    def _abort(self, args: Any) -> None:
        """Tell a call that its result is not wanted any more."""
        number = args.get("number") if isinstance(args, dict) else None
        if isinstance(number, int):
            self._unwanted(number).set()

    def _unwanted(self, sequence: int) -> threading.Event:
        with self._lock:
            return self._aborted.setdefault(sequence, threading.Event())

    def _progress(self, args: Any) -> None:
        if self._on_progress is None or not isinstance(args, dict):
            return
        message = str(args.get("message"))[: self._limits.scripts.progress_limit_bytes]
        # What shows progress is no part of the run: if it fails, nothing is lost but the message.
        with contextlib.suppress(Exception):
            self._on_progress(message, str(args.get("kind")))

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
            args = self._admit(request, tool, args)
            with self._places:
                if self._over.is_set() or self._unwanted(request.sequence).is_set():
                    raise ScriptCancelledError(reason="nobody waits for this call any more")
                value, duration_ms = self._invoke(request, tool, args)
            value = tool.check_result(value, limits=self._limits)
        except ScriptError as error:
            denied = isinstance(error, ApprovalDeniedError)
            document = error.to_document()
            self._note(request, status="denied" if denied else "failed", error=document)
            raise
        self._note(request, status="completed", value=value, duration_ms=duration_ms)
        return value

    def _count(self, request: EffectRequest, tool: Tool, args: dict[str, Any]) -> None:
        limit = self._limits.scripts.call_count_max
        with self._lock:
            if request.sequence not in self._counted and len(self._counted) >= limit:
                raise ToolBudgetExceededError(limit=limit)
            self._counted.add(request.sequence)
            shown = redact(args, tool.secret_args)
            self._records[request.sequence] = CallRecord(
                tool=tool.name, args=shown, status="pending"
            )

    def _note(self, request: EffectRequest, **changes: Any) -> None:
        with self._lock:
            record = self._records[request.sequence]
            self._records[request.sequence] = msgspec.structs.replace(record, **changes)

    # --- may it happen? ---

    def _admit(self, request: EffectRequest, tool: Tool, args: dict[str, Any]) -> dict[str, Any]:
        decision = self._policy.decide(tool, args, limits=self._limits)
        if isinstance(decision, Deny):
            raise ApprovalDeniedError(tool=tool.name, reason=decision.reason)
        if isinstance(decision, Ask):
            return self._ask(request, tool, args, decision)
        return args

    def _ask(
        self, request: EffectRequest, tool: Tool, args: dict[str, Any], decision: Ask
    ) -> dict[str, Any]:
        now_ms = self._book.clock_ms()
        done = tuple(record.tool for record in self.records if record.status == "completed")
        question = Approval(
            id=idempotency_key(self._run_id, request),
            run_id=self._run_id,
            session_id=self._session_id,
            tool=tool.name,
            shown=shorten(redact(args, tool.secret_args), limits=self._limits),
            args_sha256=digest(encode_canonical(args)),
            who=decision.who,
            created_ms=now_ms,
            expires_ms=now_ms + decision.expires_ms,
            script_sha256=self._sha256,
            tools_used=done,
        )
        step = self._book.take(lambda ledger: approvals.ask(ledger, question, limits=self._limits))
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
        return args if made.args is None else tool.check_args(made.args, limits=self._limits)

    # --- the call ---

    def _invoke(self, request: EffectRequest, tool: Tool, args: dict[str, Any]) -> tuple[Any, int]:
        named = tool.signature.call_arguments(args)
        unwanted = self._unwanted(request.sequence)

        def is_cancelled() -> bool:
            return unwanted.is_set() or self._over.is_set()

        if tool.context_name is not None:
            named[tool.context_name] = ToolContext(
                run_id=self._run_id,
                idempotency_key=idempotency_key(self._run_id, request),
                cancelled=is_cancelled,
            )
        started_ns = time.monotonic_ns()
        try:
            value = _finished(tool, named, is_cancelled)
        except ScriptError:
            raise
        except EffectFailure as failure:
            raise _as_script_error(tool.name, failure.error) from failure
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise ToolExecutionError(
                tool=tool.name,
                problem=problem,
                stderr=str(getattr(error, "stderr", "") or ""),
                exit_code=getattr(error, "returncode", None),
            ) from error
        return value, (time.monotonic_ns() - started_ns) // NS_PER_MS


def _finished(tool: Tool, named: dict[str, Any], is_cancelled: Callable[[], bool]) -> Any:
    value = tool.function(**named)
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
                raise ScriptCancelledError(reason="nobody waits for this call any more")
            if left_s is not None and time.monotonic() - started_s > left_s:
                task.cancel()
                raise TimeoutError(f"not done within {tool.timeout_ms} ms")

    return asyncio.run(awaited())


def _as_script_error(tool: str, error: EffectError) -> ToolExecutionError:
    return ToolExecutionError(tool=tool, problem=f"{error.code}: {error.message}")
