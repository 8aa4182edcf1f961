"""Errors of the gate: refusals, closed states, broken journals, divergence.

Owns every stable code that the room raises or hands to a guest.
Invariants:
- a refusal reaches the guest as data (`EffectError`), made from one of these classes, so that the
  message a guest sees and the one a host logs are the same;
- a message that a guest can cause is recorded, so it is the same on every host: no `repr`, whose
  escapes follow the Unicode version of the host's Python;
- a journal error names the record index where reading stopped; records before it were valid.

It does not decide anything.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cloche.errors import Blame, ClocheError


class PolicyDeniedError(ClocheError):
    """The policy of this run does not allow the effect. State: nothing was performed."""

    code = "POLICY_DENIED"
    blame = "guest"

    def __init__(self, *, kind: str, target: str, reason: str) -> None:
        super().__init__(
            f"policy denies {kind} '{target}': {reason}", kind=kind, target=target, reason=reason
        )


class PolicyInvalidError(ClocheError):
    """A policy or its document breaks a rule. State: no policy was made."""

    code = "POLICY_INVALID"
    blame = "caller"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"policy is invalid at {where}: {problem}", where=where, problem=problem)


class ApprovalUnavailableError(ClocheError):
    """The policy asks a person and nobody can answer: closed. State: nothing was performed."""

    code = "APPROVAL_UNAVAILABLE"
    blame = "environment"

    def __init__(self, *, kind: str, target: str, who: str) -> None:
        super().__init__(
            f"policy asks '{who}' before {kind} '{target}', and no approver is connected: "
            "the effect was not performed. Allow it in the policy or connect an approver",
            kind=kind,
            target=target,
            who=who,
        )


class EffectInvalidError(ClocheError):
    """A request cannot be an effect (kind, target or args). State: nothing was performed."""

    code = "EFFECT_INVALID"
    blame = "guest"

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"effect request is invalid: {problem}", problem=problem)


class BudgetExhaustedError(ClocheError):
    """A run used up one of its budgets; a retry in the same run cannot help."""

    code = "BUDGET_EXHAUSTED"
    blame = "limit"

    def __init__(self, *, budget: str, limit: int, used: int) -> None:
        super().__init__(
            f"budget {budget} is used up: {used} of {limit}. Raise it, or ask for less",
            budget=budget,
            limit=limit,
            used=used,
        )


class BudgetConcurrencyError(ClocheError):
    """Too many effects are in flight; a retry helps as soon as one of them is complete."""

    code = "BUDGET_CONCURRENCY"
    blame = "limit"
    retryable = True

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"{limit} effects are in flight, which is the limit gate.effect_concurrency_max. "
            "Retry when one of them is complete",
            limit=limit,
        )


class GateClosedError(ClocheError):
    """The run has ended or was stopped: the gate answers nothing more. State: absorbing."""

    code = "GATE_CLOSED"
    blame = "guest"

    def __init__(self, *, reason: str) -> None:
        super().__init__(
            f"the gate is closed ({reason}): the effect was not performed and not recorded",
            reason=reason,
        )


class GateMisuseError(ClocheError):
    """The host called the gate out of order. State: the call changed nothing."""

    code = "GATE_MISUSE"
    blame = "cloche"

    def __init__(self, *, call: str, problem: str) -> None:
        super().__init__(f"{call}: {problem}", call=call, problem=problem)


class ValueInvalidError(ClocheError):
    """A value is not plain JSON, too deep or too large. `reason` says which."""

    code = "VALUE_INVALID"
    blame = "caller"

    def __init__(self, *, path: str, problem: str, reason: str) -> None:
        super().__init__(f"value at {path} {problem}", path=path, problem=problem, reason=reason)


class JournalError(ClocheError):
    """Base of every journal error."""

    code = "JOURNAL_ERROR"
    blame: ClassVar[Blame] = "caller"


class JournalCorruptError(JournalError):
    """Bytes are not the journal that was written. Records before `index` are valid."""

    code = "JOURNAL_CORRUPT"

    def __init__(self, *, index: int, problem: str) -> None:
        super().__init__(
            f"journal is corrupt at record {index}: {problem}", index=index, problem=problem
        )


class JournalTruncatedError(JournalError):
    """The bytes end inside a header or a record. Records before `index` are valid."""

    code = "JOURNAL_TRUNCATED"

    def __init__(self, *, index: int, missing_bytes: int) -> None:
        super().__init__(
            f"journal ends inside record {index}: at least {missing_bytes} bytes are missing",
            index=index,
            missing_bytes=missing_bytes,
        )


class JournalVersionError(JournalError):
    """The file is a journal of another format version."""

    code = "JOURNAL_VERSION"

    def __init__(self, *, found: int, expected: int) -> None:
        super().__init__(
            f"journal has format version {found}, this cloche reads version {expected}",
            found=found,
            expected=expected,
        )


class JournalValueTooLargeError(JournalError):
    """A record or value is over its limit. It is never truncated. State: nothing was recorded."""

    code = "JOURNAL_VALUE_TOO_LARGE"
    blame = "limit"

    def __init__(self, *, what: str, limit: str, limit_bytes: int, size_bytes: int) -> None:
        super().__init__(
            f"{what} has {size_bytes} bytes or more, over {limit} = {limit_bytes}; recorded values "
            "are never truncated. Make it smaller or raise the limit",
            what=what,
            limit=limit,
            limit_bytes=limit_bytes,
            size_bytes=size_bytes,
        )


class JournalTooLargeError(JournalError):
    """The whole journal is over its limit of bytes or records."""

    code = "JOURNAL_TOO_LARGE"
    blame = "limit"

    def __init__(self, *, limit: str, limit_value: int) -> None:
        super().__init__(
            f"journal is over {limit} = {limit_value}. Raise the limit or end the run earlier",
            limit=limit,
            limit_value=limit_value,
        )


class JournalUnfinishedError(JournalError):
    """A journal stops before the run finished, so it cannot be replayed to its end."""

    code = "JOURNAL_UNFINISHED"

    def __init__(self, *, record_count: int) -> None:
        super().__init__(
            f"journal stops after {record_count} records, before the run finished: it can be shown "
            "but not replayed",
            record_count=record_count,
        )


class JournalExistsError(JournalError):
    """A journal file would overwrite an existing file. State: that file is untouched."""

    code = "JOURNAL_EXISTS"

    def __init__(self, *, path: str) -> None:
        super().__init__(f"{path} exists: a journal never overwrites a file", path=path)


class JournalStorageError(JournalError):
    """The place of a journal could not be read or written. A sink that failed takes no more."""

    code = "JOURNAL_STORAGE"
    blame = "environment"

    def __init__(self, *, action: str, path: str, reason: str) -> None:
        super().__init__(
            f"cannot {action} the journal {path}: {reason}",
            action=action,
            path=path,
            reason=reason,
        )


class DivergenceError(ClocheError):
    """A replayed run did something else than the recorded one. State: the gate is closed.

    `recorded` and `requested` are the two sides as JSON-ready documents, or None for "nothing".
    """

    code = "DIVERGENCE"
    blame = "guest"

    def __init__(
        self,
        *,
        index: int,
        reason: str,
        recorded: dict[str, Any] | None,
        requested: dict[str, Any] | None,
    ) -> None:
        super().__init__(
            f"replay diverges from record {index}: {reason}\n"
            f"  recorded:  {_side(recorded)}\n"
            f"  requested: {_side(requested)}",
            index=index,
            reason=reason,
            recorded=recorded,
            requested=requested,
        )


def _side(document: dict[str, Any] | None) -> str:
    if document is None:
        return "nothing"
    return ", ".join(f"{name}={value!r}" for name, value in document.items())
