"""Whether an effect may be asked for at all: its form and the policy.

Invariants: nothing that a guest says is trusted to have a type; a decision depends on kind and
target alone and is cached, so asking again costs a lookup; the cache is bounded.
It neither charges nor records.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from cloche.gate.effect import EffectError
from cloche.gate.errors import ApprovalUnavailableError, EffectInvalidError, PolicyDeniedError
from cloche.gate.policy import KIND_PATTERN, Allow, Ask, Deny, Policy, decide

if TYPE_CHECKING:
    from cloche.errors import ClocheError
    from cloche.limits import Limits

# A guest with more different targets than this pays for its decisions again.
DECISION_CACHE_COUNT_MAX = 4096

# Control characters, line ends and halves of surrogate pairs. Not `str.isprintable`: its answer
# depends on the Unicode version of the host's Python, and a replay must not.
_NOT_IN_TARGETS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")

_INVALID_TYPES = EffectError.from_error(
    EffectInvalidError(problem="kind and target must be strings")
)


class Admission:
    """The decisions of one run."""

    __slots__ = ("_limits", "_policy", "_refusals")

    def __init__(self, policy: Policy, limits: Limits) -> None:
        self._policy = policy
        self._limits = limits.gate
        self._refusals: dict[tuple[str, str], EffectError | None] = {}

    def refusal(self, kind: str, target: str) -> EffectError | None:
        """Return why policy or form forbid the effect, None if they do not; cached."""
        if type(kind) is not str or type(target) is not str:
            return _INVALID_TYPES
        key = (kind, target)
        try:
            return self._refusals[key]
        except KeyError:
            if len(self._refusals) >= DECISION_CACHE_COUNT_MAX:
                self._refusals.clear()
            error = self._decide(kind, target)
            refusal = None if error is None else EffectError.from_error(error)
            self._refusals[key] = refusal
            return refusal

    def _decide(self, kind: str, target: str) -> ClocheError | None:
        if not kind_is_valid(kind):
            return EffectInvalidError(problem=f"kind must match {KIND_PATTERN.pattern}")
        if not self.target_is_valid(target):
            limit_bytes = self._limits.target_limit_bytes
            problem = f"target must be text of 1 to {limit_bytes} bytes, no control characters"
            return EffectInvalidError(problem=problem)
        decision = decide(self._policy, kind, target)
        match decision:
            case Allow():
                return None
            case Deny():
                return PolicyDeniedError(kind=kind, target=target, reason=decision.reason)
            case Ask():
                return ApprovalUnavailableError(kind=kind, target=target, who=decision.who)
        assert_never(decision)

    def target_is_valid(self, target: object) -> bool:
        """Return whether something is a target within the limits."""
        if not isinstance(target, str) or not target or _NOT_IN_TARGETS.search(target):
            return False
        return len(target.encode()) <= self._limits.target_limit_bytes

    def args_too_large(self) -> EffectError:
        """Return the refusal of args over their limit, for a host that knows only their size."""
        limit_bytes = self._limits.args_limit_bytes
        problem = f"args: value at $ makes the text longer than {limit_bytes} bytes"
        return EffectError.from_error(EffectInvalidError(problem=problem))


def kind_is_valid(kind: object) -> bool:
    """Return whether something has the form of a kind."""
    return isinstance(kind, str) and KIND_PATTERN.fullmatch(kind) is not None
