"""Runs the scripts of a model's message and says what became of them.

Owns the modes, and what is offered to an application; `runs` owns the life of a run. Invariants:
- what a script does wrong, and what a person decides, is data in a `ScriptResult`;
- scripts run in the order of the message; the first that does not complete skips the rest, unless
  `go_on` says otherwise;
- without somebody to ask, a call that must be asked about waits; it never happens.

Runs and approvals live as long as their store: any process that has it, and the tools, goes on.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.gate.canonical import encode_plain
from cloche.limits.adapters.settings import load_limits
from cloche.script.adapters.jobs import jobs_in, prune_jobs
from cloche.script.adapters.shelf import Asked
from cloche.script.checks import check
from cloche.script.errors import (
    ScriptRunStateError,
    SnippetError,
)
from cloche.script.events import Metrics, Teller
from cloche.script.finder import BYTE_ORDER_MARK_WARNING, program_error
from cloche.script.items import History, ScriptCall, ScriptResult, ToolCall, ToolResult
from cloche.script.message_errors import RequestInvalidError
from cloche.script.messages import check_calls, read_message
from cloche.script.policy import ToolPolicy
from cloche.script.programs import (
    FILENAMES,
    banned_word,
    wrap,
)
from cloche.script.runs import ScriptRuns
from cloche.script.snippets import SNIPPET_KIND, Snippet, check_name
from cloche.script.stream import ScriptStream
from cloche.script.tools import ToolSet
from cloche.script.turn import Turn, skipped
from cloche.store.adapters.memory import MemoryStore
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.errors import ErrorDocument
    from cloche.exec.adapters.effects import CancelToken
    from cloche.limits import Limits
    from cloche.script.adapters.jobs import JobRecord
    from cloche.script.approvals import Approval, AuditEntry, Made
    from cloche.script.events import ScriptEvent
    from cloche.script.finder import Language
    from cloche.script.inbox import Answer
    from cloche.script.items import Api
    from cloche.script.work import Approver
    from cloche.store.ports import Store

Mode = Literal["disabled", "dry-run", "enabled"]

MODES: Final = ("disabled", "dry-run", "enabled")
NS_PER_MS: Final = 1_000_000


def mode_of(*modes: Mode | None, default: Mode = "disabled") -> Mode:
    """Return the first mode that is given: of the turn, then of the provider, then of everything.

    Raises:
        RequestInvalidError: something that is no mode.
    """
    for mode in modes:
        if mode is not None:
            if mode not in MODES:
                raise RequestInvalidError(f"{mode!r} is no mode; it is one of {', '.join(MODES)}")
            return mode
    return default


class ScriptHarness:
    """Runs scripts with tools and approvals. Callable from one thread at a time.

    Args:
        tools: what scripts may call.
        packs: which packs of tools are on; see `ToolSet`.
        policy: rules about calls; without one each tool decides.
        mode: of everything; `modes` holds those of providers, by their names.
        approver: sync or async, asked about calls that wait; without one, or with an answer of
            None, they keep waiting.
        limits: None for the configured ones.
        default: the language of a script that names none.
        go_on: whether scripts behind a failed one still run.
        session_id: what lasting decisions hold for; without one, this harness alone.
        store: where runs and approvals are kept; None: in memory, as long as the harness.
        context: what scripts may know: `workingDirectory`, `turnId`, `model`, `provider`, …; JSON.
        on_progress: gets the progress messages of scripts, as text and "info" or "warn".
        on_event: is told when a run begins, waits, goes on and is over.
        provider_limits: of providers, by their names: changes of the group `scripts`.
        clock_ms: wall clock; only approvals know the time of day.

    Raises:
        RequestInvalidError: a mode, language, store or policy is none.
    """

    def __init__(
        self,
        *tools: Any,
        packs: Mapping[str, bool] | None = None,
        policy: ToolPolicy | None = None,
        mode: Mode = "enabled",
        modes: Mapping[str, Mode] | None = None,
        approver: Approver | None = None,
        limits: Limits | None = None,
        default: Language = "typescript",
        go_on: bool = False,
        session_id: str = "",
        store: Store | None = None,
        context: Mapping[str, Any] | None = None,
        on_progress: Callable[[str, str], None] | None = None,
        on_event: Callable[[ScriptEvent], None] | None = None,
        provider_limits: Mapping[str, Mapping[str, int]] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // NS_PER_MS,
    ) -> None:
        _check_language(default)
        if isinstance(store, str | Path):
            raise RequestInvalidError("store is a path; give cloche.store.open.open_store(path)")
        if policy is not None and not isinstance(policy, ToolPolicy):
            found = f"policy is {type(policy).__name__}"
            raise RequestInvalidError(f"{found}; give ToolPolicy.from_document(rules, limits=…)")
        self.tools = ToolSet(*tools, packs=packs)
        self.policy = policy or ToolPolicy()
        self.limits = limits or load_limits()
        self._provider_limits = {
            name: self._own_limits(own) for name, own in (provider_limits or {}).items()
        }
        self.metrics = Metrics()
        self._mode = mode_of(mode)
        self._modes = {name: mode_of(one) for name, one in (modes or {}).items()}
        self._default: Language = default
        self._go_on = go_on
        # Without a name a session is this harness, in whatever store.
        self._session_id = session_id or uuid.uuid4().hex
        self.context = dict(context or {})
        self.store = store or MemoryStore(self.limits)
        self._runs = ScriptRuns(
            self.tools,
            self.policy,
            self.store,
            approver=approver,
            limits=self.limits,
            clock_ms=clock_ms,
            program=self._program,
            on_progress=on_progress,
            teller=Teller(on_event, self.metrics),
            forgets=store is None,
        )
        self._new_run_id: Callable[[], str] = _new_run_id

    def for_session(
        self, session_id: str, *, new_run_id: Callable[[], str] | None = None
    ) -> ScriptHarness:
        """Return a harness for another session, with the tools and the runs of this one.

        Harnesses that share a store that was given to the first may be called from as many threads
        as there are of them.

        Args:
            session_id: what lasting decisions hold for.
            new_run_id: draws the id of a run before it begins; None for random ones.
        """
        other = copy.copy(self)
        other._session_id = session_id
        other._new_run_id = new_run_id or _new_run_id
        return other

    # --- a message ---

    def handle(
        self,
        message: Any,
        *,
        api: Api,
        mode: Mode | None = None,
        provider: str = "",
        limits: Mapping[str, int] | None = None,
        structured: bool = False,
        cancel: CancelToken | None = None,
    ) -> History:
        """Run the scripts of a message.

        Args:
            message: as `messages.read_message` takes it.
            api: whose form it has.
            mode: of this turn.
            provider: whose mode and limits hold if the turn has none.
            limits: of the group `scripts`, for this turn.
            structured: make the calls, too, that the API itself knows: each is a run with the
                checks and the record of a script's call. Else they are left to the caller.
            cancel: stops the script that runs, and those behind it.

        Raises:
            ApiUnknownError: there is no such API.
            LimitError: there is no such limit, or it is out of range.
            MessageInvalidError: the message has another form.
        """
        turn = self._turn(mode, provider, limits, cancel)
        read = read_message(message, api=api, limits=turn.limits, default=self._default)
        if structured:
            check_calls(read)
        results: list[ScriptResult | ToolResult] = []
        for item in read.items:
            if isinstance(item, ScriptCall):
                results.append(turn.script(item))
            elif isinstance(item, ToolCall) and structured:
                results.append(turn.call(item))
        return read.with_results(*results)

    def stream(
        self,
        *,
        mode: Mode | None = None,
        provider: str = "",
        limits: Mapping[str, int] | None = None,
        cancel: CancelToken | None = None,
    ) -> ScriptStream:
        """Return what takes a model's text as it arrives, and runs each script when it is complete.

        For the arguments and errors see `handle`.
        """
        turn = self._turn(mode, provider, limits, cancel)
        return ScriptStream(turn, limits=turn.limits, default=self._default)

    def _turn(
        self,
        mode: Mode | None,
        provider: str,
        limits: Mapping[str, int] | None,
        cancel: CancelToken | None,
    ) -> Turn:
        chosen = mode_of(mode, self._modes.get(provider), self._mode)
        own = {**self._provider_limits.get(provider, {}), **self._own_limits(limits)}

        def run(
            call: ScriptCall, params: dict[str, Any] | None, limits: dict[str, int]
        ) -> ScriptResult:
            given = None if params is None else encode_plain(params).decode()
            return self._one(call, chosen, cancel, given, limits=limits)

        return Turn(
            mode=chosen,
            go_on=self._go_on,
            tools=self.tools,
            limits=self.limits.replace({"scripts": own}),
            own=own,
            run=run,
            count=lambda result: self._counted(chosen, result),
        )

    def run(
        self,
        source: str,
        *,
        language: Language | None = None,
        mode: Mode | None = None,
        params: Mapping[str, Any] | None = None,
        limits: Mapping[str, int] | None = None,
        cancel: CancelToken | None = None,
    ) -> ScriptResult:
        """Run one script that is there without a message around it.

        Args:
            source: the script.
            language: of it; None for the default one.
            mode: of this run.
            params: plain JSON that the script finds in `context.params`.
            limits: of the group `scripts`, for this run.
            cancel: stops it.

        Raises:
            RequestInvalidError: there is no such language, the source is no text, or the
                parameters are no object.
            ValueInvalidError: the parameters are no plain JSON.
            LimitError: there is no such limit, or it is out of range.
        """
        language = language or self._default
        _check_language(language)
        if not isinstance(source, str):
            raise RequestInvalidError(f"the source is {type(source).__name__}, expected a text")
        _check_params(params)
        # A byte order mark of the file that it came from.
        warnings = (BYTE_ORDER_MARK_WARNING,) if source.startswith("\ufeff") else ()
        source = source.removeprefix("\ufeff")
        call = ScriptCall(
            slot=0,
            raw="",
            script_id="script_1",
            language=language,
            source=source,
            sha256=hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(),
            line=1,
            warnings=warnings,
        )
        chosen = mode_of(mode, self._mode)
        if chosen == "disabled":
            return self._counted(chosen, skipped(call, "scripts are disabled"))
        given = None if params is None else encode_plain(dict(params)).decode()
        return self._one(call, chosen, cancel, given, limits=self._own_limits(limits))

    # --- approvals ---

    @property
    def pending(self) -> tuple[Approval, ...]:
        """What waits for a decision in the store, the oldest first."""
        return self._runs.desk.pending()

    @property
    def audit(self) -> tuple[AuditEntry, ...]:
        """What was asked and decided in the store, in order, verified.

        Raises:
            AuditBrokenError: it was changed.
        """
        return tuple(self._runs.desk.audit())

    def decide(self, approval_id: str, made: Made) -> Answer:
        """Decide about a call; the run goes on with `resume`.

        Raises:
            ToolValidationError: changed arguments do not fit; nothing was decided.
        """
        return self._runs.decide(approval_id, made)

    def resume(self, run_id: str, *, cancel: CancelToken | None = None) -> ScriptResult:
        """Go on with a run of the store that was put away, or that a dead process left.

        A run that is over gives its result again; one that still waits stays "suspended".

        Raises:
            ScriptRunUnknownError: there is none.
            ScriptRunBusyError: somebody works on it.
            ScriptRunStateError: tools that it used are not given here; nothing happened.
            DivergenceError: the program does something else than it did.
        """
        return self._runs.resume(run_id, cancel=cancel)

    def result(self, run_id: str) -> ScriptResult:
        """Return what is known of a run, "suspended" if it is not over.

        Raises:
            ScriptRunUnknownError: there is none.
        """
        return self._runs.result(run_id)

    def cancel(self, run_id: str) -> ScriptResult:
        """End a run that nobody works on; one that is over stays as it is.

        Raises:
            ScriptRunUnknownError: there is none. ScriptRunBusyError: somebody works on it.
        """
        return self._runs.cancel(run_id)

    # --- an ended run ---

    def replay(self, run_id: str, *, source: str | None = None) -> ScriptResult:
        """Run an ended run again from its journal; nothing is called.

        Args:
            run_id: of a run that ended.
            source: another script instead, to see where it does something else.

        Raises:
            DivergenceError: it did something else, or is another script; both sides are shown.
            ScriptRunUnknownError, ScriptRunStateError: there is nothing to replay.
        """
        return self._runs.replay(run_id, source=source)

    def fork(self, run_id: str, *, calls: int, cancel: CancelToken | None = None) -> ScriptResult:
        """Begin a run that takes the answers of the first calls from another, and goes on anew.

        Args:
            run_id: of any run.
            calls: how many.
            cancel: stops the new run.

        Raises:
            ScriptRunUnknownError, ScriptRunStateError: there are no such calls to share.
        """
        new_id = self._new_run_id()
        return self._runs.fork(run_id, calls=calls, new_id=new_id, cancel=cancel)

    def rollback(self, run_id: str) -> ScriptResult:
        """Undo the completed calls of a run whose tools have a `revert`, the last one first.

        A run that waits is ended. Asked again, what could not be undone is tried again.

        Returns:
            "rolled_back", or "failed" with `ROLLBACK_PARTIAL` and what stays done.

        Raises:
            ScriptRunUnknownError: there is none. ScriptRunBusyError: somebody works on it.
        """
        return self._runs.rollback(run_id)

    def prune(self) -> int:
        """Remove runs that ended, as `scripts.kept_run_count_max` and `scripts.kept_run_ms` say.

        Returns:
            How many; the audit keeps what was decided about them.
        """
        oldest_ms = self._runs.desk.clock_ms() - self.limits.scripts.kept_run_ms
        prune_jobs(self.store, ended_before_ms=oldest_ms)
        return self._runs.prune()

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        """Detached work in the store, of all processes, the oldest first."""
        return jobs_in(self.store)

    # --- snippets ---

    def save(self, run_id: str, name: str) -> Snippet:
        """Keep the script of a completed run by a name; one that has the name is replaced.

        Raises:
            ScriptRunUnknownError: there is no such run.
            ScriptRunStateError: it has not completed, or what it did was undone.
            SnippetError: the name is none.
        """
        check_name(name)
        status = self.result(run_id).status
        if status != "completed":
            problem = f"is {status}; only what completed is worth a name"
            raise ScriptRunStateError(run_id=run_id, problem=problem)
        asked = self._runs.shelf.asked(self._runs.shelf.row(run_id))
        snippet = Snippet(
            name=name,
            language=asked.language,
            source=asked.source,
            sha256=asked.sha256,
            params={} if asked.params is None else json.loads(asked.params),
            run_id=run_id,
            saved_ms=self._runs.desk.clock_ms(),
        )
        kept = self.store.documents.get(SNIPPET_KIND, name)
        document = Document(
            kind=SNIPPET_KIND,
            name=name,
            data=msgspec.json.encode(snippet),
            revision=1 if kept is None else kept.revision + 1,
        )
        self.store.documents.put(document)
        return snippet

    @property
    def snippets(self) -> tuple[Snippet, ...]:
        """The snippets of the store, by name, at most a page of them."""
        limit = self.limits.store.page_count_max
        found = self.store.documents.list(SNIPPET_KIND, limit=limit)
        return tuple(msgspec.json.decode(one.data, type=Snippet) for one in found)

    def run_snippet(
        self, name: str, params: Mapping[str, Any] | None = None, **options: Any
    ) -> ScriptResult:
        """Run a snippet; for `options` see `run`.

        Raises:
            SnippetError: there is none, or it takes other parameters; nothing ran.
        """
        check_name(name)
        _check_params(params)
        kept = self.store.documents.get(SNIPPET_KIND, name)
        if kept is None:
            raise SnippetError(name=name, problem="there is none")
        snippet = msgspec.json.decode(kept.data, type=Snippet)
        given = snippet.fill(params or {})
        return self.run(snippet.source, language=snippet.language, params=given, **options)

    # --- one script ---

    def _one(
        self,
        call: ScriptCall,
        mode: Mode,
        cancel: CancelToken | None,
        params: str | None = None,
        *,
        limits: dict[str, int],
    ) -> ScriptResult:
        whole = self.limits.replace({"scripts": limits})
        known = self._without_a_run(call, mode, whole)
        if known is not None or call.language is None:
            return self._counted(mode, known or _failed(call, call.error))
        asked = Asked(
            script_id=call.script_id,
            language=call.language,
            source=call.source,
            sha256=call.sha256,
            session_id=self._session_id,
            params=params,
            limits=limits,
        )
        result = self._runs.start(self._new_run_id(), asked, cancel=cancel)
        return msgspec.structs.replace(result, warnings=(*result.warnings, *call.warnings))

    def _counted(self, mode: Mode, result: ScriptResult) -> ScriptResult:
        self.metrics.count(result, mode=mode)
        return result

    def _own_limits(self, limits: Mapping[str, int] | None) -> dict[str, int]:
        """Return limits of the group `scripts`, each of them checked."""
        own = dict(limits or {})
        self.limits.replace({"scripts": own})
        return own

    def _without_a_run(self, call: ScriptCall, mode: Mode, limits: Limits) -> ScriptResult | None:
        """Return the result of a script that does not run: it is broken, or is only looked at."""
        if call.error is not None or call.language is None:
            return _failed(call, call.error)
        error = program_error(call.source, call.language, limits=limits)
        error = error or banned_word(call.source, call.language)
        if error is not None:
            return _failed(call, error.to_document())
        if mode != "dry-run":
            return None
        request = self._runs.request
        return check(call, call.language, tools=self.tools, request=request, limits=limits)

    def _program(self, asked: Asked, run_id: str) -> str:  # noqa: ARG002 - as runs call it
        return wrap(
            asked.source,
            asked.language,
            names=(*self.tools, "search", "describe"),
            context=self._context_of(asked),
            limits=self._runs.limits_of(asked),
        )

    def _context_of(self, asked: Asked) -> dict[str, Any]:
        """Return what a script may know of its run: nothing that no other run has.

        So an equal script is an equal program, and its types are taken off once.
        """
        scripts = self._runs.limits_of(asked).scripts
        outlook = {name: self.policy.outlook(one) for name, one in self.tools.items()}
        params = {} if asked.params is None else {"params": json.loads(asked.params)}
        return {
            **self.context,
            **params,
            "sessionId": asked.session_id,
            "scriptId": asked.script_id,
            "sandbox": {
                "mode": "enabled",
                "timeoutMs": scripts.timeout_ms,
                "memoryBytes": scripts.memory_limit_bytes,
                "toolBudget": scripts.call_count_max,
                "maxConcurrentToolCalls": scripts.call_concurrency_max,
            },
            "capabilities": {"tools": [name for name, can in outlook.items() if can != {"deny"}]},
            "approvals": {"asked": any("ask" in can for can in outlook.values())},
        }


def _check_language(language: object) -> None:
    if not isinstance(language, str) or language not in FILENAMES:
        known = ", ".join(FILENAMES)
        raise RequestInvalidError(f"{language!r} is no language; it is one of {known}")


def _check_params(params: Mapping[str, Any] | None) -> None:
    if params is not None and not isinstance(params, Mapping):
        raise RequestInvalidError(f"params is {type(params).__name__}, expected an object")


def _new_run_id() -> str:
    return uuid.uuid4().hex


def _failed(call: ScriptCall, error: ErrorDocument | None) -> ScriptResult:
    return ScriptResult(script_id=call.script_id, status="failed", error=error)
