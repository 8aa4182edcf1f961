"""Every way in which a script fails: one taxonomy.

Eighteen codes are those of seed 002; the others are for what a program throws itself, and for tools
that are switched off.

Owns the codes that a model, an application and a person see.
Invariants:
- each code has one class, and `TAXONOMY` lists them all;
- `retryable` says whether the model can do better by writing another script; it never means that
  running the same script again would help;
- a message says what the model should do next, in words that fit into its next turn;
- no message holds a path or a frame of the host.

It does not decide when an error occurs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from cloche.errors import Blame, ClocheError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TagProblem = Literal["unclosed", "unopened", "nested", "empty", "attribute", "encoding", "count"]

STDERR_LIMIT_CHARACTERS: Final = 2048  # of a failed tool; a model reads the end of it
NAMES_SHOWN_MAX: Final = 20  # tools that a message lists


class ScriptError(ClocheError):
    """Base of the taxonomy."""

    blame: ClassVar[Blame] = "guest"
    retryable = True


class ScriptSyntaxError(ScriptError):
    """The program is none. State: nothing ran.

    Args:
        problem: what is wrong, in words.
        line: of the program, from 1; None where no line can be named.
        column: in that line, from 1.
        snippet: the line itself.
    """

    code = "SCRIPT_SYNTAX"

    def __init__(
        self, problem: str, *, line: int | None = None, column: int | None = None, snippet: str = ""
    ) -> None:
        at = "" if column is None else f", column {column}"
        place = "" if line is None else f" (line {line}{at})"
        shown = f": {snippet.strip()}" if snippet.strip() else ""
        super().__init__(
            f"the script cannot be read{place}: {problem}{shown}. Nothing ran; correct it and "
            "send it again",
            problem=problem,
            line=line,
            column=column,
            snippet=snippet,
        )


class ScriptTagError(ScriptSyntaxError):
    """The tags around a program are wrong. State: nothing of this block ran.

    Args:
        problem: which way.
        line: of the message, from 1, where the block begins.
        advice: what to do.
    """

    def __init__(self, problem: TagProblem, *, line: int, advice: str) -> None:
        ClocheError.__init__(
            self,
            f"the script at line {line} of the message did not run: {advice}",
            problem=problem,
            line=line,
        )


class ScriptTooLargeError(ScriptError):
    """A program, or the message around it, is longer than its limit. State: nothing ran."""

    code = "SCRIPT_TOO_LARGE"
    blame = "limit"

    def __init__(self, *, what: str, limit: str, limit_bytes: int, found_bytes: int) -> None:
        super().__init__(
            f"the {what} has {found_bytes} bytes; {limit} allows {limit_bytes}. Nothing ran; send "
            "shorter scripts, one after the other",
            what=what,
            limit=limit,
            limit_bytes=limit_bytes,
            found_bytes=found_bytes,
        )


class ScriptRuntimeError(ScriptError):
    """The program threw something that it did not catch. State: completed calls stay done.

    Args:
        problem: what it threw.
        line: of the program, where it did.
        stack: its own calls that led there, the innermost first.
    """

    code = "SCRIPT_RUNTIME"

    def __init__(self, problem: str, *, line: int | None = None, stack: Sequence[str] = ()) -> None:
        place = "" if line is None else f" at line {line}"
        super().__init__(
            f"the script failed{place}: {problem}", problem=problem, line=line, stack=list(stack)
        )


class BannedIdentifierError(ScriptError):
    """The program uses something that scripts have not, and that is known before it runs."""

    code = "SCRIPT_BANNED_IDENTIFIER"

    def __init__(self, *, name: str, line: int, column: int, advice: str) -> None:
        super().__init__(
            f"line {line}, column {column}: scripts have no {name!r}. {advice}",
            name=name,
            line=line,
            column=column,
        )


class ScriptTimeoutError(ScriptError):
    """The script's active time is over. State: completed calls stay done."""

    code = "SCRIPT_TIMEOUT"
    blame = "limit"

    def __init__(
        self,
        *,
        timeout_ms: int,
        elapsed_ms: int,
        completed: Sequence[str] = (),
        pending: Sequence[str] = (),
    ) -> None:
        super().__init__(
            f"the script was stopped after {elapsed_ms} ms; scripts.timeout_ms allows {timeout_ms}."
            f" Completed calls: {_listed(completed)}. Unfinished: {_listed(pending)}. Go on from "
            "there with a script that does less",
            timeout_ms=timeout_ms,
            elapsed_ms=elapsed_ms,
            completed=list(completed),
            pending=list(pending),
        )


class ScriptMemoryError(ScriptError):
    """The script needs more memory than it may have."""

    code = "SCRIPT_MEMORY"
    blame = "limit"

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(
            f"the script needs more memory than scripts.memory_limit_bytes allows ({limit_bytes} "
            "bytes). Work on smaller pieces",
            limit_bytes=limit_bytes,
        )


class ScriptStackOverflowError(ScriptError):
    """The script calls itself too deep."""

    code = "SCRIPT_STACK_OVERFLOW"
    blame = "limit"

    def __init__(self, *, detail: str = "") -> None:
        super().__init__(
            "the script's functions call each other too deep. Use a loop, or end the recursion",
            detail=detail,
        )


class ScriptCancelledError(ScriptError):
    """Somebody stopped the script. State: completed calls stay done, nothing else will happen."""

    code = "SCRIPT_CANCELLED"
    blame = "caller"
    retryable = False

    def __init__(self, *, reason: str = "") -> None:
        because = f": {reason}" if reason else ""
        super().__init__(f"the script was cancelled{because}", reason=reason)


class ToolNotFoundError(ScriptError):
    """There is no such tool. State: nothing was called."""

    code = "TOOL_NOT_FOUND"

    def __init__(self, *, tool: str, suggestions: Sequence[str] = ()) -> None:
        if suggestions:
            hint = f"Did you mean {' or '.join(suggestions)}?"
        else:
            hint = "tools.search(words) finds tools."
        super().__init__(
            f"there is no tool '{tool}'. {hint}", tool=tool, suggestions=list(suggestions)
        )


class ToolNotAllowedError(ScriptError):
    """The tool is there, and its pack is switched off. State: nothing was called."""

    code = "TOOL_NOT_ALLOWED"
    blame = "caller"

    def __init__(self, *, tool: str, pack: str, allowed: Sequence[str] = ()) -> None:
        super().__init__(
            f"the tool '{tool}' is not allowed: the pack '{pack}' is switched off. "
            f"Allowed: {_listed(allowed)}",
            tool=tool,
            pack=pack,
            allowed=list(allowed)[:NAMES_SHOWN_MAX],
        )


class ToolValidationError(ScriptError):
    """Arguments, or a tool's result, do not fit their schema. State: `arguments`: not called."""

    code = "TOOL_VALIDATION"

    def __init__(self, *, tool: str, subject: Literal["arguments", "result"], problem: str) -> None:
        said = "were" if subject == "arguments" else "was"
        super().__init__(
            f"the {subject} of '{tool}' {said} not valid: {problem}. "
            f"tools.describe('{tool}') shows what is",
            tool=tool,
            subject=subject,
            problem=problem,
        )


class ToolExecutionError(ScriptError):
    """A tool was called and failed. State: what it did until then is done."""

    code = "TOOL_EXECUTION"
    blame = "remote"

    def __init__(
        self, *, tool: str, problem: str, stderr: str = "", exit_code: int | None = None
    ) -> None:
        cut = stderr[-STDERR_LIMIT_CHARACTERS:]
        shown = cut if len(cut) == len(stderr) else f"<truncated>{cut}"
        super().__init__(
            f"tool '{tool}' failed: {problem}",
            tool=tool,
            problem=problem,
            stderr=shown,
            exit_code=exit_code,
        )


class ToolBudgetExceededError(ScriptError):
    """The script has called as many tools as it may. State: this call did not happen."""

    code = "TOOL_BUDGET_EXCEEDED"
    blame = "limit"
    retryable = False

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"a script may call {limit} tools (scripts.call_count_max); this call did not happen. "
            "Return what is there and go on in another script",
            limit=limit,
        )


class ConcurrencyLimitError(ScriptError):
    """More calls wait than may wait. State: this call did not happen."""

    code = "TOOL_CONCURRENCY"
    blame = "limit"

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"{limit} calls are under way or wait, and no more may. Await some of them first",
            limit=limit,
        )


class DetachedPromiseError(ScriptError):
    """The script ended while calls that it did not await were under way. State: stopped."""

    code = "SCRIPT_DETACHED_PROMISE"

    def __init__(self, *, calls: Sequence[str]) -> None:
        super().__init__(
            f"the script ended without awaiting {_listed(calls)}. Await every call, or start it "
            "with tools.spawn to let it outlive the script",
            calls=list(calls),
        )


class ApprovalDeniedError(ScriptError):
    """A policy or a person said no to a call. State: the call did not happen."""

    code = "APPROVAL_DENIED"
    retryable = False

    def __init__(self, *, tool: str, reason: str, who: str = "") -> None:
        by = f" by {who}" if who else ""
        super().__init__(
            f"the call of '{tool}' was denied{by}: {reason}. Do not try it again in another way",
            tool=tool,
            reason=reason,
            who=who,
        )


class ApprovalTimeoutError(ScriptError):
    """Nobody decided in time. State: the call did not happen, and the script is over."""

    code = "APPROVAL_TIMEOUT"
    blame = "environment"
    retryable = False

    def __init__(self, *, tool: str, expires_ms: int) -> None:
        super().__init__(
            f"nobody decided about the call of '{tool}' within {expires_ms} ms",
            tool=tool,
            expires_ms=expires_ms,
        )


_AWAITABLES: Final = (" a Promise", " a Future", " a Task", " a coroutine")


class SerializationError(ScriptError):
    """A value cannot leave the script: it is no plain JSON."""

    code = "SCRIPT_SERIALIZATION"

    def __init__(self, *, path: str, problem: str) -> None:
        advice = (
            "the call was not awaited: write `await` before it"
            if problem.endswith(_AWAITABLES)
            else "only plain JSON leaves a script"
        )
        super().__init__(
            f"the value at {path} {problem}; {advice}",
            path=path,
            problem=problem,
        )


class ReturnValueTooLargeError(ScriptError):
    """The script returns more than it may. State: all calls are done; `preview` is its start."""

    code = "SCRIPT_RETURN_TOO_LARGE"
    blame = "limit"

    def __init__(self, *, limit_bytes: int, found_bytes: int, preview: str) -> None:
        super().__init__(
            f"the script returned {found_bytes} bytes; scripts.return_limit_bytes allows "
            f"{limit_bytes}. Return less: filter, count, or the first items",
            limit_bytes=limit_bytes,
            found_bytes=found_bytes,
            preview=preview,
        )


class ReturnValueTooDeepError(ReturnValueTooLargeError):
    """The value that a script returns is nested too deep. State: all calls are done."""

    def __init__(self, *, depth_max: int, found: int, preview: str) -> None:
        ClocheError.__init__(
            self,
            f"the script returned {found} levels of lists and objects; scripts.return_depth_max "
            f"allows {depth_max}. Return something flatter",
            depth_max=depth_max,
            found=found,
            preview=preview,
        )


class HarnessInternalError(ScriptError):
    """A rule of cloche itself was broken. Please report it with the message."""

    code = "HARNESS_INTERNAL"
    blame = "cloche"

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"the script harness failed: {problem}", problem=problem)


TAXONOMY: Final[tuple[type[ScriptError], ...]] = (
    ScriptSyntaxError,
    ScriptTimeoutError,
    ScriptMemoryError,
    ScriptStackOverflowError,
    ApprovalDeniedError,
    ApprovalTimeoutError,
    ToolExecutionError,
    ToolNotFoundError,
    ToolNotAllowedError,
    ToolValidationError,
    DetachedPromiseError,
    HarnessInternalError,
    SerializationError,
    ScriptTooLargeError,
    ReturnValueTooLargeError,
    ToolBudgetExceededError,
    ConcurrencyLimitError,
    BannedIdentifierError,
    ScriptCancelledError,
    ScriptRuntimeError,
)


_PHASES: Final = {
    "SCRIPT_SYNTAX": "read",
    "SCRIPT_TOO_LARGE": "read",
    "SCRIPT_BANNED_IDENTIFIER": "read",
    "APPROVAL_DENIED": "approval",
    "APPROVAL_TIMEOUT": "approval",
    "SCRIPT_SERIALIZATION": "return",
    "SCRIPT_RETURN_TOO_LARGE": "return",
    "SCRIPT_DETACHED_PROMISE": "return",
    "HARNESS_INTERNAL": "harness",
}


def phase_of(code: str) -> str:
    """Return where an error belongs: read, run, tool, approval, return or harness."""
    return _PHASES.get(code, "tool" if code.startswith("TOOL_") else "run")


def error_of(document: Mapping[str, Any]) -> ScriptError:
    """Return the error of the taxonomy that a document (see `to_document`) stands for."""
    by_code = {cls.code: cls for cls in reversed(TAXONOMY)}
    cls = by_code.get(document["code"], ToolExecutionError)
    error = cls.__new__(cls)
    ClocheError.__init__(error, document["message"], **document.get("fields", {}))
    return error


class ToolDeclarationError(ClocheError):
    """A tool, a tool set or a policy is declared wrongly. State: nothing was declared."""

    code = "TOOL_DECLARATION_INVALID"
    blame = "caller"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}", where=where, problem=problem)


class ScriptRunUnknownError(ClocheError):
    """There is no run of a script with this id. State: nothing happened."""

    code = "SCRIPT_RUN_UNKNOWN"
    blame = "caller"

    def __init__(self, *, run_id: str, store: str) -> None:
        super().__init__(
            f"there is no script run {run_id!r} in the store {store}", run_id=run_id, store=store
        )


class ScriptRunBusyError(ClocheError):
    """Somebody else is at work on the run. State: nothing happened; try again later."""

    code = "SCRIPT_RUN_BUSY"
    blame = "environment"
    retryable = True

    def __init__(self, *, run_id: str, until_ms: int) -> None:
        super().__init__(
            f"script run {run_id} is under way elsewhere; if that process is dead, the run can be "
            f"taken over from {until_ms} (ms of the Unix epoch) on",
            run_id=run_id,
            until_ms=until_ms,
        )


class ScriptRunStateError(ClocheError):
    """A run is not in a state in which this can be done. State: nothing happened."""

    code = "SCRIPT_RUN_STATE"
    blame = "caller"

    def __init__(self, *, run_id: str, problem: str) -> None:
        super().__init__(f"script run {run_id} {problem}", run_id=run_id, problem=problem)


class RollbackPartialError(ClocheError):
    """Some calls could not be undone. State: those that could are; ask again to try the rest.

    Args:
        run_id: of the script.
        failed: which calls, and why.
    """

    code = "ROLLBACK_PARTIAL"
    blame = "remote"
    retryable = True

    def __init__(self, *, run_id: str, failed: Sequence[dict[str, Any]]) -> None:
        names = ", ".join(f"{one['tool']} ({one['problem']})" for one in failed)
        super().__init__(
            f"run {run_id} was undone in part; these calls stay done: {names}",
            run_id=run_id,
            failed=list(failed),
        )


class SnippetError(ClocheError):
    """A snippet is unknown, or is given other parameters than it takes. State: nothing ran."""

    code = "SNIPPET_INVALID"
    blame = "caller"

    def __init__(self, *, name: str, problem: str) -> None:
        super().__init__(f"snippet {name!r}: {problem}", name=name, problem=problem)


class ApprovalPendingError(ClocheError):
    """A structured call waits for a person. State: it has not happened; its run goes on later."""

    code = "APPROVAL_PENDING"
    blame = "environment"
    retryable = False

    def __init__(self, *, tool: str, run_id: str) -> None:
        super().__init__(
            f"the call of '{tool}' waits for a person to decide; it has not happened",
            tool=tool,
            run_id=run_id,
        )


class ApprovalTamperedError(ClocheError):
    """What is kept of an approval is not what was decided. State: the run does not go on."""

    code = "APPROVAL_TAMPERED"
    blame = "environment"

    def __init__(self, *, approval_id: str, run_id: str, problem: str) -> None:
        super().__init__(
            f"the approval {approval_id} of run {run_id} was changed in the store: {problem}. "
            "The run does not go on; cancel it, and find out who did that",
            approval_id=approval_id,
            run_id=run_id,
            problem=problem,
        )


class ApprovalUnknownError(ClocheError):
    """No approval, or more than one, has an id that begins so. State: nothing was decided."""

    code = "APPROVAL_UNKNOWN"
    blame = "caller"

    def __init__(self, *, approval_id: str, found: int = 0) -> None:
        what = "there is no approval" if not found else "more than one approval has an id"
        super().__init__(
            f"{what} that begins with {approval_id!r}; `cloche approvals list` shows them",
            approval_id=approval_id,
            found=found,
        )


class AuditBrokenError(ClocheError):
    """The audit is not what was written. State: read-only; `index` is the first wrong row."""

    code = "AUDIT_BROKEN"
    blame = "environment"

    def __init__(self, *, index: int, problem: str) -> None:
        super().__init__(
            f"the audit of approvals was changed at row {index}: {problem}",
            index=index,
            problem=problem,
        )


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(names[:NAMES_SHOWN_MAX])
    more = len(names) - NAMES_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown
