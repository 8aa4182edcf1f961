"""Runs the scripts of a model's message and says what became of them.

Owns the modes, the life of a run, and its parking: when every call that a script waits for waits
for a person, the run is put away, its clock stands still, and it goes on from its journal once
somebody has decided. Invariants:
- what a script does wrong, and what a person decides, is data in a `ScriptResult`;
- scripts run in the order of the message; the first that does not complete skips the rest, unless
  `go_on` says otherwise;
- without somebody to ask, a call that must be asked about waits; it never happens.

Runs that were put away live as long as the harness: it keeps journals in memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cloche.exec.adapters.tools import TOOL_KIND
from cloche.exec.api import default_runner, make_request
from cloche.gate.adapters.memory import MemorySink
from cloche.gate.canonical import encode_plain
from cloche.gate.errors import ValueInvalidError
from cloche.gate.journal import load_journal
from cloche.gate.policy import Policy
from cloche.limits.adapters.settings import load_limits
from cloche.script import approvals
from cloche.script.adapters.calls import Book, ScriptCalls
from cloche.script.approvals import Approval, Made, Step
from cloche.script.errors import (
    ApprovalTimeoutError,
    DetachedPromiseError,
    HarnessInternalError,
    ReturnValueTooLargeError,
    ScriptCancelledError,
    ScriptError,
    ScriptSyntaxError,
    SerializationError,
    ToolNotFoundError,
)
from cloche.script.items import History, ScriptCall, ScriptResult, Status
from cloche.script.messages import read_message
from cloche.script.outcome import line_of, script_error
from cloche.script.policy import ToolPolicy
from cloche.script.programs import FILENAMES, IMAGES, banned_word, called_tools, wrap, wrap_check
from cloche.script.tools import ToolSet

if TYPE_CHECKING:
    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution
    from cloche.limits import Limits
    from cloche.script.finder import Language
    from cloche.script.items import Api

Mode = Literal["disabled", "dry-run", "enabled"]
Approver = Callable[[Approval], "Made | None"]

MODES: Final = ("disabled", "dry-run", "enabled")
NS_PER_MS: Final = 1_000_000
PREVIEW_CHARACTERS: Final = 1000  # of a return value that is too large
_OTHER_EFFECTS: Final = 10_000  # searches and returns, which are no tool calls


def mode_of(*modes: Mode | None, default: Mode = "disabled") -> Mode:
    """Return the first mode that is given: of the turn, then of the provider, then of everything.

    Raises:
        ValueError: something that is no mode.
    """
    for mode in modes:
        if mode is not None:
            if mode not in MODES:
                raise ValueError(f"{mode!r} is no mode; it is one of {', '.join(MODES)}")
            return mode
    return default


@dataclass(slots=True, kw_only=True)
class _Parked:
    """A run, from its start to its end; while it is put away this is all that there is of it."""

    call: ScriptCall
    run_id: str
    request: Any
    calls: ScriptCalls
    sink: MemorySink
    used_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    status: Status
    error: ScriptError | None = None
    value: Any = None


class ScriptHarness:
    """Runs scripts with tools and approvals. Callable from one thread at a time.

    Args:
        tools: what scripts may call.
        policy: rules about calls; without one each tool decides.
        mode: of everything; `modes` holds those of providers, by their names.
        approver: asked about calls that wait; None, or an answer of None: they keep waiting.
        limits: None for the configured ones.
        default: the language of a script that names none.
        go_on: whether scripts behind a failed one still run.
        session_id: what lasting decisions hold for.
        context: what scripts may know: `workingDirectory`, `turnId`, `model`, `provider`, …; JSON.
        on_progress: gets the progress messages of scripts, as text and "info" or "warn".
        clock_ms: wall clock; only approvals know the time of day.
    """

    def __init__(
        self,
        *tools: Any,
        policy: ToolPolicy | None = None,
        mode: Mode = "enabled",
        modes: Mapping[str, Mode] | None = None,
        approver: Approver | None = None,
        limits: Limits | None = None,
        default: Language = "typescript",
        go_on: bool = False,
        session_id: str = "",
        context: Mapping[str, Any] | None = None,
        on_progress: Callable[[str, str], None] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // NS_PER_MS,
    ) -> None:
        self.tools = ToolSet(*tools)
        self.policy = policy or ToolPolicy()
        self.limits = limits or load_limits()
        self._mode = mode_of(mode)
        self._modes = dict(modes or {})
        self._approver = approver
        self._default: Language = default
        self._go_on = go_on
        self._session_id = session_id
        self.context = dict(context or {})
        self._on_progress = on_progress
        self._book = Book(clock_ms)
        self._parked: dict[str, _Parked] = {}

    # --- a message ---

    def handle(
        self,
        message: Any,
        *,
        api: Api,
        mode: Mode | None = None,
        provider: str = "",
        cancel: CancelToken | None = None,
    ) -> History:
        """Run the scripts of a message.

        Args:
            message: as `messages.read_message` takes it.
            api: whose form it has.
            mode: of this turn.
            provider: whose mode holds if the turn has none.
            cancel: stops the script that runs, and those behind it.

        Raises:
            MessageInvalidError: the message has another form.
        """
        read = read_message(message, api=api, limits=self.limits, default=self._default)
        chosen = mode_of(mode, self._modes.get(provider), self._mode)
        results: list[ScriptResult] = []
        for call in read.scripts:
            done = not results or results[-1].status in {"completed", "checked"}
            if chosen == "disabled":
                results.append(_skipped(call, "scripts are disabled"))
            elif done or (self._go_on and results[-1].status == "failed"):
                results.append(self._one(call, chosen, cancel))
            else:
                results.append(_skipped(call, "a script before this one did not complete"))
        return read.with_results(*results)

    def run(
        self,
        source: str,
        *,
        language: Language | None = None,
        mode: Mode | None = None,
        cancel: CancelToken | None = None,
    ) -> ScriptResult:
        """Run one script that is there without a message around it."""
        call = ScriptCall(
            slot=0,
            raw="",
            script_id="script_1",
            language=language or self._default,
            source=source,
            sha256=hashlib.sha256(source.encode()).hexdigest(),
            line=1,
        )
        chosen = mode_of(mode, self._mode)
        if chosen == "disabled":
            return _skipped(call, "scripts are disabled")
        return self._one(call, chosen, cancel)

    # --- approvals ---

    @property
    def pending(self) -> tuple[Approval, ...]:
        """What waits for a decision, the oldest first."""
        return self._book.ledger.pending()

    @property
    def audit(self) -> tuple[approvals.AuditEntry, ...]:
        """What was asked and decided, in order."""
        return tuple(self._book.audit)

    def decide(self, approval_id: str, made: Made) -> Step:
        """Decide about a call; the run goes on with `resume`.

        Raises:
            ToolValidationError: changed arguments do not fit; nothing was decided.
        """
        known = self._book.ledger.approvals.get(approval_id)
        if known is not None and made.args is not None:
            self.tools.find(known.tool).check_args(made.args, limits=self.limits)
        now_ms = self._book.clock_ms()
        return self._book.take(
            lambda ledger: approvals.decide(ledger, approval_id, made, now_ms=now_ms)
        )

    def resume(self, run_id: str, *, cancel: CancelToken | None = None) -> ScriptResult:
        """Go on with a run that was put away.

        Raises:
            KeyError: this harness has put no such run away.
        """
        return self._go(self._parked.pop(run_id), cancel)

    # --- one script ---

    def _one(self, call: ScriptCall, mode: Mode, cancel: CancelToken | None) -> ScriptResult:
        if call.error is not None or call.language is None:
            return ScriptResult(script_id=call.script_id, status="failed", error=call.error)
        banned = banned_word(call.source, call.language)
        if banned is not None:
            document = banned.to_document()
            return ScriptResult(script_id=call.script_id, status="failed", error=document)
        if mode == "dry-run":
            return self._check(call, call.language)
        return self._go(self._start(call, call.language), cancel)

    def _start(self, call: ScriptCall, language: Language) -> _Parked:
        from cloche.exec.adapters.runner import new_run_id  # noqa: PLC0415 - engine, on first use

        run_id = new_run_id()
        calls = ScriptCalls(
            self.tools,
            self.policy,
            self._book,
            run_id=run_id,
            session_id=self._session_id,
            sha256=call.sha256,
            limits=self.limits,
            on_progress=self._on_progress,
        )
        program = wrap(
            call.source,
            language,
            names=(*self.tools, "search", "describe"),
            context=self._context_of(call, run_id),
            limits=self.limits,
        )
        request = self._request(program, language)
        return _Parked(call=call, run_id=run_id, request=request, calls=calls, sink=MemorySink())

    def _context_of(self, call: ScriptCall, run_id: str) -> dict[str, Any]:
        """Return what a script may know of its run."""
        scripts = self.limits.scripts
        return {
            **self.context,
            "sessionId": self._session_id,
            "runId": run_id,
            "scriptId": call.script_id,
            "sandbox": {
                "timeoutMs": scripts.timeout_ms,
                "memoryBytes": scripts.memory_limit_bytes,
                "toolBudget": scripts.call_count_max,
                "maxConcurrentToolCalls": scripts.call_concurrency_max,
            },
            "capabilities": {"tools": list(self.tools)},
        }

    def _request(self, program: str, language: Language) -> Any:
        scripts = self.limits.scripts
        count = scripts.call_count_max + _OTHER_EFFECTS
        limits = self.limits.replace(
            {
                "guests": {
                    "timeout_ms": scripts.timeout_ms,
                    "memory_limit_bytes": scripts.memory_limit_bytes,
                },
                "gate": {"effect_count_max": count},
            }
        )
        return make_request(
            program,
            language=language,
            filename=FILENAMES[language],
            limits=limits,
            policy=Policy.allow(tool=["*"]),
            image=IMAGES[language],
        )

    def _go(self, run: _Parked, cancel: CancelToken | None) -> ScriptResult:
        """Run until the script is over, or nobody decides what it waits for."""
        while True:
            execution = self._execute(run, cancel)
            run.used_ms += execution.result.time_ms or 0
            if execution.suspension is None:
                return self._over(run, execution)
            self._expire()
            status = self._book.ledger.run_status(run.run_id)
            if status == "active" and not self._ask(run.run_id):
                self._parked[run.run_id] = run
                return self._result(run, execution, _Ended(status="suspended"))
            if self._book.ledger.run_status(run.run_id) != "active":
                return self._over(run, execution)

    def _execute(self, run: _Parked, cancel: CancelToken | None) -> Execution:
        written = run.sink.to_bytes()
        resumed = load_journal(written, self.limits) if run.used_ms or run.calls.records else None
        scripts = self.limits.scripts
        left_ms = max(1, scripts.timeout_ms - run.used_ms)
        limits = run.request.limits.replace({"guests": {"timeout_ms": left_ms}})
        return default_runner().execute(
            dataclasses.replace(run.request, limits=limits),
            handlers={TOOL_KIND: run.calls},
            sink=run.sink,
            resume=resumed,
            cancel=cancel,
        )

    def _ask(self, run_id: str) -> bool:
        """Ask about what the run waits for; return whether anything was decided."""
        decided = False
        for approval in self._book.ledger.pending(run_id):
            made = self._approver(approval) if self._approver is not None else None
            if made is not None:
                self.decide(approval.id, made)
                decided = True
        return decided

    def _expire(self) -> None:
        now_ms = self._book.clock_ms()
        self._book.take(lambda ledger: approvals.expire(ledger, now_ms=now_ms))

    def _over(self, run: _Parked, execution: Execution) -> ScriptResult:
        ended = self._ended(run, execution)
        run.calls.end()
        now_ms = self._book.clock_ms()
        self._book.take(lambda ledger: approvals.end_run(ledger, run.run_id, "over", now_ms=now_ms))
        return self._result(run, execution, ended)

    def _ended(self, run: _Parked, execution: Execution) -> _Ended:
        ledger = self._book.ledger
        status = ledger.run_status(run.run_id)
        if status == "expired":
            late = [one for one in ledger.approvals.values() if one.run_id == run.run_id]
            one = next(one for one in late if one.status == "expired")
            error = ApprovalTimeoutError(tool=one.tool, expires_ms=one.expires_ms - one.created_ms)
            return _Ended(status="rejected", error=error)
        if status == "rejected":
            return _Ended(
                status="rejected", error=ScriptCancelledError(reason="the run was rejected")
            )
        if execution.error is not None:
            error_of = script_error(
                execution.error,
                stderr=execution.result.run.stderr,
                records=run.calls.records,
                last_error=run.calls.last_error,
                used_ms=run.used_ms,
                limits=self.limits,
            )
            stopped = isinstance(error_of, ScriptCancelledError)
            return _Ended(status="cancelled" if stopped else "failed", error=error_of)
        return self._returned(run.calls.returned or {})

    def _returned(self, returned: dict[str, Any]) -> _Ended:
        if "problem" in returned:
            error = SerializationError(path="$", problem=str(returned["problem"]))
            return _Ended(status="failed", error=error)
        if returned.get("detached"):
            calls = [str(name) for name in returned["detached"]]
            return _Ended(status="failed", error=DetachedPromiseError(calls=calls))
        value = returned.get("value")
        limit_bytes = self.limits.scripts.return_limit_bytes
        try:
            text = encode_plain(value)
        except ValueInvalidError as invalid:
            error = SerializationError(path="$", problem=str(invalid))
            return _Ended(status="failed", error=error)
        if len(text) > limit_bytes:
            preview = text.decode()[:PREVIEW_CHARACTERS]
            large = ReturnValueTooLargeError(
                limit_bytes=limit_bytes, found_bytes=len(text), preview=preview
            )
            return _Ended(status="failed", error=large)
        return _Ended(status="completed", value=value)

    def _result(self, run: _Parked, execution: Execution, ended: _Ended) -> ScriptResult:
        output = execution.result.run.stdout
        data = output.encode()
        limit_bytes = self.limits.scripts.output_limit_bytes
        if len(data) > limit_bytes:
            output = data[:limit_bytes].decode("utf-8", "ignore") + "\n<truncated>"
        return ScriptResult(
            script_id=run.call.script_id,
            run_id=run.run_id,
            status=ended.status,
            value=ended.value,
            output=output,
            tool_calls=run.calls.records,
            error=None if ended.error is None else ended.error.to_document(),
            usage={
                "time_ms": run.used_ms,
                "memory_bytes": execution.result.memory_bytes or 0,
                "tool_calls": len(run.calls.records),
            },
            journal_id=execution.journal_hash,
        )

    # --- dry-run ---

    def _check(self, call: ScriptCall, language: Language) -> ScriptResult:
        execution = default_runner().execute(
            self._request(wrap_check(call.source, language), language), record=False
        )
        error: ScriptError | None = None
        if execution.error is not None:
            line = line_of(execution.result.run.stderr)
            error = ScriptSyntaxError(execution.error.message, line=line)
        report: list[dict[str, Any]] = []
        for name, line in called_tools(call.source, language):
            known = name in self.tools or name in {"search", "describe"}
            report.append({"tool": name, "line": line, "known": known})
            if not known and error is None:
                error = self._unknown(name)
        return ScriptResult(
            script_id=call.script_id,
            status="checked" if error is None else "failed",
            value={"mode": "dry-run", "tools": report},
            error=None if error is None else error.to_document(),
        )

    def _unknown(self, name: str) -> ScriptError:
        try:
            self.tools.find(name)
        except ToolNotFoundError as error:
            return error
        return HarnessInternalError(problem=f"{name} is unknown and known")


def _skipped(call: ScriptCall, reason: str) -> ScriptResult:
    error = ScriptCancelledError(reason=reason).to_document()
    return ScriptResult(script_id=call.script_id, status="skipped", error=error)
